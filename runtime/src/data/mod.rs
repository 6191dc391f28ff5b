//! Data sets: what a model is trained on, in the memory of the host.
//!
//! Images from folders (`folder`), arrays of NumPy (`numpy`) and of the IDX format of MNIST (`idx`). Bytes stay bytes until
//! a batch is made of them. Whatever is unreadable, of another size or out of range is reported by name before the first
//! step.

mod folder;
mod idx;
mod numpy;

use crate::error::RunError;
use crate::host::{HostTensor, picked};
use crate::interface::Interface;
use crate::train::checkpoint;
use archc_compiler::ir::Graph;
use archc_compiler::types::{Kind, Type};
use std::collections::BTreeMap;
use std::path::Path;
use xxhash_rust::xxh3::Xxh3;

/// Samples with what is known about each.
#[derive(Clone, Debug)]
pub struct DataSet {
    pub samples: Samples,
    /// The class of every sample, where they have classes.
    pub labels: Option<Vec<i64>>,
    /// Names of the classes, where they have names.
    pub classes: Vec<String>,
    /// Other inputs of the model, a row for each sample.
    pub conditions: BTreeMap<String, HostTensor>,
}

impl DataSet {
    /// What tells it from other data: a hash of all samples, labels and conditions, in their order.
    pub fn fingerprint(&self) -> String {
        let mut hash = Xxh3::new();
        match &self.samples.data {
            Elements::U8(data) => hash.update(data),
            Elements::F32(data) => data.iter().for_each(|value| hash.update(&value.to_le_bytes())),
        }
        for label in self.labels.iter().flatten() {
            hash.update(&label.to_le_bytes());
        }
        self.conditions.iter().for_each(|(name, tensor)| checkpoint::add(&mut hash, name, tensor));
        format!("{:016x}", hash.digest())
    }
}

/// Samples of one shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// Number of samples, then the shape of one.
    pub shape: Vec<usize>,
    pub data: Elements,
    /// What becomes -1 and 1; without it, values are taken as they are.
    pub range: Option<(f32, f32)>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Elements {
    U8(Vec<u8>),
    F32(Vec<f32>),
}

impl Samples {
    pub fn len(&self) -> usize {
        self.shape.first().copied().unwrap_or(0)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Elements of one sample.
    pub fn width(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// Some samples as the network sees them, without noise.
    pub fn rows(&self, rows: &[usize]) -> Vec<f32> {
        let raw: Vec<f32> = match &self.data {
            Elements::U8(data) => picked(data, rows, self.width()).into_iter().map(f32::from).collect(),
            Elements::F32(data) => picked(data, rows, self.width()),
        };
        match self.range {
            Some((low, high)) => raw.into_iter().map(|value| (value - low) / (high - low) * 2.0 - 1.0).collect(),
            None => raw,
        }
    }
}

/// Where data comes from.
#[derive(Clone, Debug, Default)]
pub struct Source<'p> {
    /// Labels for arrays that come without them.
    pub labels: Option<&'p Path>,
    /// What becomes -1 and 1; bytes have 0 and 255 unless given.
    pub range: Option<(f32, f32)>,
}

/// What a file of arrays holds.
#[derive(Debug, Default)]
struct Arrays {
    samples: Option<(Vec<usize>, Elements)>,
    labels: Option<Vec<i64>>,
    conditions: BTreeMap<String, HostTensor>,
}

/// Reads a folder of images or a file of arrays for a model.
pub fn read(path: &Path, source: &Source<'_>, graph: &Graph, interface: &Interface) -> Result<DataSet, RunError> {
    let mut set = read_set(path, source.range, graph, interface.noisy)?;
    if let Some(labels) = source.labels {
        set.labels = Some(file(labels)?.into_labels(labels)?);
    }
    check(path, &set, graph, interface)?;
    Ok(set)
}

/// One image of a PNG or JPEG file, `[1, channels, height, width]` from -1 to 1.
pub fn read_image(path: &Path, channels: usize) -> Result<HostTensor, RunError> {
    let (shape, pixels) = folder::image(path, channels)?;
    let samples = Samples { shape, data: Elements::U8(pixels), range: Some(BYTES) };
    Ok(HostTensor::f32(samples.shape.clone(), samples.rows(&[0])))
}

/// What becomes -1 and 1 of bytes.
const BYTES: (f32, f32) = (0.0, 255.0);

/// Reads samples alone, for the only input of a model that has no process. `range` is that of [`Source`].
pub fn read_samples(path: &Path, range: Option<(f32, f32)>, graph: &Graph) -> Result<Samples, RunError> {
    let samples = read_set(path, range, graph, 0)?.samples;
    let problems = flaws(&samples);
    if problems.is_empty() { Ok(samples) } else { Err(RunError::file(path, problems.join("\n  "))) }
}

/// Everything there is, its samples in the layout of an input.
fn read_set(path: &Path, range: Option<(f32, f32)>, graph: &Graph, input: usize) -> Result<DataSet, RunError> {
    let ty = graph.inputs.get(input).map(|input| &graph.node(input.node).ty);
    let channels = ty.and_then(Type::channels).unwrap_or(1) as usize;
    let mut set = if path.is_dir() {
        folder::read(path, channels)?
    } else {
        let arrays = file(path)?;
        let (shape, data) = arrays.samples.ok_or_else(|| RunError::file(path, "there are no samples in it"))?;
        let samples = Samples { shape, data, range: None };
        DataSet { samples, labels: arrays.labels, classes: vec![], conditions: arrays.conditions }
    };
    set.samples.range = range.or(match set.samples.data {
        Elements::U8(_) => Some(BYTES),
        Elements::F32(_) => None,
    });
    if let Some((low, high)) = range.filter(|(low, high)| low >= high) {
        return Err(RunError::Unsupported(format!("the range {low}, {high} has to ascend")));
    }
    if ty.is_some_and(|ty| ty.kind == Kind::Image) {
        arrange(path, &mut set.samples, channels)?;
    }
    Ok(set)
}

fn file(path: &Path) -> Result<Arrays, RunError> {
    let bytes = std::fs::read(path).map_err(|error| RunError::file(path, error))?;
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension {
        "npz" => numpy::archive(path, bytes),
        "npy" => numpy::array(path, &bytes),
        _ if bytes.starts_with(&[0, 0]) => idx::read(path, &bytes),
        _ => {
            Err(RunError::file(path, "this is neither a folder of images nor a file in a known format (npz, npy, IDX)"))
        }
    }
}

impl Arrays {
    /// The array of a file that holds nothing but labels.
    fn into_labels(self, path: &Path) -> Result<Vec<i64>, RunError> {
        if let Some(labels) = self.labels {
            return Ok(labels);
        }
        match self.samples {
            Some((shape, Elements::U8(data))) if shape.len() == 1 => Ok(data.into_iter().map(i64::from).collect()),
            Some((shape, Elements::F32(data))) if shape.len() == 1 && data.iter().all(|value| value.fract() == 0.0) => {
                Ok(data.into_iter().map(|value| value as i64).collect())
            }
            _ => Err(RunError::file(path, "labels are one whole number for each sample")),
        }
    }
}

/// Brings images to the layout `[count, channels, height, width]`.
fn arrange(path: &Path, samples: &mut Samples, channels: usize) -> Result<(), RunError> {
    match *samples.shape.as_slice() {
        [count, height, width] if channels == 1 => samples.shape = vec![count, 1, height, width],
        [_, own, _, _] if own == channels => {}
        [count, height, width, own] if own == channels => {
            samples.data = match &samples.data {
                Elements::U8(data) => Elements::U8(channels_first(data, channels, height * width)),
                Elements::F32(data) => Elements::F32(channels_first(data, channels, height * width)),
            };
            samples.shape = vec![count, channels, height, width];
        }
        _ => {
            let shape = &samples.shape;
            return Err(RunError::file(
                path,
                format!("arrays of shape {shape:?} hold no images of {channels} channels"),
            ));
        }
    }
    Ok(())
}

fn channels_first<T: Copy>(data: &[T], channels: usize, pixels: usize) -> Vec<T> {
    data.chunks(channels * pixels)
        .flat_map(|image| (0..channels).flat_map(move |channel| image.iter().skip(channel).step_by(channels).copied()))
        .collect()
}

/// Everything about samples that fits no model.
fn flaws(samples: &Samples) -> Vec<String> {
    let mut problems = vec![];
    if samples.is_empty() {
        problems.push("it is empty".to_owned());
    }
    if let Elements::F32(data) = &samples.data
        && let Some(at) = data.iter().position(|value| !value.is_finite())
    {
        problems.push(format!("sample {} holds a value that is not finite", at / samples.width().max(1)));
    }
    problems
}

/// Everything about a data set that does not fit a model.
fn check(path: &Path, set: &DataSet, graph: &Graph, interface: &Interface) -> Result<(), RunError> {
    let mut problems = flaws(&set.samples);
    let count = set.samples.len();
    match (&set.labels, interface.label) {
        (Some(labels), _) if labels.len() != count => {
            problems.push(format!("there are {} labels for {count} samples", labels.len()));
        }
        (Some(labels), Some(label)) => {
            let wrong = |own: &&i64| **own < 0 || **own >= label.classes;
            if let Some((at, own)) = labels.iter().enumerate().find(|(_, own)| wrong(own)) {
                let (model, classes) = (graph.name(), label.classes);
                problems.push(format!("sample {at} has the label {own}; {model} has {classes} classes, from 0"));
            }
        }
        (None, Some(_)) => problems.push(format!("{} needs labels, and there are none", graph.name())),
        (_, None) => {}
    }
    for condition in &interface.conditions {
        match set.conditions.get(&condition.name) {
            Some(tensor) if tensor.shape.first() == Some(&count) => {}
            Some(tensor) => problems.push(format!("`{}` is {:?}, for {count} samples", condition.name, tensor.shape)),
            None => {
                let (name, ty) = (&condition.name, &condition.ty);
                problems.push(format!("there is no `{name}`, which the model needs ({ty}): an array of that name"));
            }
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(RunError::file(path, problems.join("\n  ")))
}
