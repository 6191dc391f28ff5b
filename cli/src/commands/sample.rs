//! `archc sample`

mod pipeline;

use crate::args::{Sample, Settings, Target};
use crate::run_folder::{self, Manifest};
use crate::{Outcome, output, target};
use archc_compiler::ir::Graph;
use archc_compiler::types::Kind;
use archc_runtime::data::read_image;
use archc_runtime::sample::{Method, Order, Start, Window, draw};
use archc_runtime::tensors::{self, TensorFile};
use archc_runtime::{Device, HostTensor, Interface, Weights, open_with, picture};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Samples that are drawn where nothing says how many.
const USUAL: i64 = 16;

pub fn run(options: &Sample) -> Result<Outcome, String> {
    super::run::can_write(&options.out)?;
    let folder = Path::new(&options.spec);
    let is_run = run_folder::manifest(folder).is_file();
    let found = if is_run { None } else { pipeline::find(options)? };
    if let Some(found) = found {
        return pipeline::run(options, found);
    }
    if options.prompt.is_some() || options.negative.is_some() {
        return Err("texts are for pipelines, and this is a model: leave out --prompt and --negative".to_owned());
    }
    let (graph, shape) = if is_run {
        let manifest = Manifest::read(folder)?;
        let compiled = manifest.compiled()?;
        let graph = compiled.graph.ok_or_else(|| format!("{}: its spec does not compile any more", options.spec))?;
        (graph, Some(manifest.shape))
    } else {
        let settings = Settings { set: options.set.clone(), budget: None, config: None };
        let Some((_, graph)) = target::graph(&Target { spec: options.spec.clone(), settings })? else {
            return Ok(Outcome::Findings);
        };
        (graph, None)
    };
    let explain = |error: archc_runtime::RunError| error.to_string();
    let graph = Arc::new(graph);
    let interface = Interface::of(&graph).map_err(explain)?;
    let shape = match shape {
        Some(shape) => shape,
        None => interface.sample_shape(&graph, &graph.typical).map_err(explain)?,
    };
    let weights = match &options.weights {
        Some(path) => path.clone(),
        None if is_run => run_folder::weights(folder),
        None => return Err("a spec by itself has no weights: give them with --weights".to_owned()),
    };
    let weights = TensorFile::open(&weights).map_err(explain)?;
    let order = Order {
        method: method(options),
        labels: labels(options, &interface)?,
        guidance: options.guidance.unwrap_or(1.0),
        first_guidance: None,
        rescale: options.rescale.unwrap_or(0.0),
        seed: options.seed,
        start: Start::Seed,
        window: Window::default(),
        shape,
        batch: options.batch as usize,
        conditions: conditions(options, Some(&graph))?,
    };
    // Options are looked at before the weights are loaded.
    order.method.name(&interface.process).map_err(explain)?;
    let passes = super::run::passes(options.no_opt);
    let session = open_with(&graph, Device::from(options.device), Weights::File(&weights), passes).map_err(explain)?;
    let start = Instant::now();
    let bar = progress("sampling");
    let watch = |done: usize, total: usize| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    };
    let samples = draw(&*session, &graph, &order, watch).map_err(explain)?;
    bar.finish_and_clear();
    report(options, &graph, &interface, &order, &samples, start.elapsed().as_secs_f64())?;
    Ok(Outcome::Clean)
}

fn report(
    options: &Sample,
    graph: &Graph,
    interface: &Interface,
    order: &Order,
    samples: &HostTensor,
    seconds: f64,
) -> Result<(), String> {
    let explain = |error: archc_runtime::RunError| error.to_string();
    let name = order.method.name(&interface.process).map_err(explain)?;
    let (count, steps) = (order.labels.len(), order.method.steps);
    output::line(format!("{count} samples of {} by {name} in {steps} steps: {seconds:.1} s", graph.name()));
    let mut tensors = BTreeMap::from([(SAMPLES.to_owned(), samples.clone())]);
    if interface.label.is_some() {
        tensors.insert("labels".to_owned(), HostTensor::i64(vec![count], order.labels.clone()));
    }
    write(options, tensors)
}

/// The tensor that is shown.
const SAMPLES: &str = "samples";

/// Writes tensors, and a picture of the [`SAMPLES`] among them.
fn write(options: &Sample, tensors: BTreeMap<String, HostTensor>) -> Result<(), String> {
    let explain = |error: archc_runtime::RunError| error.to_string();
    let raw = options.out.with_extension("safetensors");
    tensors::write(&raw, &tensors).map_err(explain)?;
    output::line(format!("tensors written to {}", raw.display()));
    let Some(samples) = tensors.get(SAMPLES) else { return Ok(()) };
    if raw != options.out {
        let shown = pictures(samples);
        let count = shown.shape.first().copied().unwrap_or(1);
        picture::write_grid(&options.out, &shown, columns(count, options.columns)).map_err(explain)?;
        output::line(format!("picture written to {}", options.out.display()));
    }
    let broken = samples.statistics().not_finite;
    if broken > 0 {
        return Err(format!("{broken} values of the samples are not finite"));
    }
    Ok(())
}

/// Samples as pictures: videos as their frames, one after the other.
fn pictures(samples: &HostTensor) -> HostTensor {
    match samples.shape.as_slice() {
        [count, frames, channels, height, width] => {
            HostTensor { shape: vec![count * frames, *channels, *height, *width], data: samples.data.clone() }
        }
        _ => samples.clone(),
    }
}

/// Samples in a row of the picture.
pub fn columns(count: usize, asked: Option<u32>) -> usize {
    asked.map_or_else(|| (count as f64).sqrt().ceil() as usize, |columns| columns as usize)
}

fn method(options: &Sample) -> Method {
    let usual = Method::default();
    Method {
        sampler: options.sampler.clone(),
        steps: options.steps.map_or(usual.steps, |steps| steps as usize),
        spacing: options.spacing.clone(),
        offset: options.offset.map_or(usual.offset, |offset| offset as usize),
        eta: options.eta,
        churn: options.churn,
        karras: options.karras,
        clip: options.clip,
        ..usual
    }
}

/// One class for each sample: those that were asked for, each `--count` times; or all classes in turn.
fn labels(options: &Sample, interface: &Interface) -> Result<Vec<i64>, String> {
    let Some(label) = interface.label else {
        if !options.labels.is_empty() {
            return Err("this model has no classes, so there is no use for --labels".to_owned());
        }
        return Ok(vec![0; options.count.map_or(USUAL as usize, |count| count as usize)]);
    };
    if options.labels.is_empty() {
        let count = options.count.map_or(USUAL.max(label.classes.min(64)), i64::from);
        return Ok((0..count).map(|at| at % label.classes).collect());
    }
    let each = options.count.unwrap_or(1) as usize;
    Ok(options.labels.iter().flat_map(|label| std::iter::repeat_n(*label, each)).collect())
}

/// What is given by name: tensors of a file, and images.
fn conditions(options: &Sample, graph: Option<&Graph>) -> Result<BTreeMap<String, HostTensor>, String> {
    let mut given = BTreeMap::new();
    let explain = |error: archc_runtime::RunError| error.to_string();
    if let Some(path) = &options.inputs {
        let file = TensorFile::open(path).map_err(explain)?;
        let read = file.tensors().map_err(explain)?;
        for name in read.names() {
            let tensor = read.read(&name).map_err(explain)?;
            given.insert(name, tensor);
        }
    }
    for image in &options.images {
        let (name, path) = image.split_once('=').ok_or_else(|| format!("--image {image}: write NAME=FILE"))?;
        let channels = graph
            .and_then(|graph| channels(graph, name))
            .ok_or_else(|| format!("--image {image}: there is no image `{name}`"))?;
        let read = read_image(Path::new(path), channels as usize).map_err(explain)?;
        given.insert(name.to_owned(), read);
    }
    Ok(given)
}

/// Channels of the image that is an input of that name.
fn channels(graph: &Graph, name: &str) -> Option<u64> {
    let input = graph.inputs.iter().find(|input| *input.name == *name)?;
    let ty = &graph.node(input.node).ty;
    ty.channels().filter(|_| ty.kind == Kind::Image)
}

/// A bar on standard error, if that is a terminal.
pub fn progress(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} {msg} {eta_precise} left") {
        bar.set_style(style);
    }
    bar.set_prefix(what);
    bar
}
