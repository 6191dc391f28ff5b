//! The diffusion transformer over sets of Gaussians treats them as a set: permuted Gaussians give permuted results, what
//! only fills up a batch is seen by no one, and any number of Gaussians is taken.

#![expect(clippy::indexing_slicing, reason = "an index out of range is a failure of the test")]

use archc_compiler::source::{SourceError, Sources};
use archc_compiler::{FileId, Options, compile};
use archc_runtime::tensors::{self, TensorFile};
use archc_runtime::{Device, HostTensor, Request, Weights, init, open};
use rand_distr::{Distribution, StandardNormal};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const CHANNELS: usize = 14;
const CONTEXT: usize = 10;
const WORDS: usize = 5;
/// What reordering sums in f32 costs.
const TOLERANCE: f32 = 2e-5;

struct Specs;

impl Sources for Specs {
    fn read(&self, name: &str) -> Result<String, SourceError> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs").join(name);
        std::fs::read_to_string(path).map_err(|_| SourceError::NotFound)
    }
}

fn normal(name: &str, count: usize) -> Vec<f32> {
    StandardNormal.sample_iter(&mut init::stream(1, name)).take(count).collect()
}

/// A small model with no parameter at zero, so that no gate is closed.
struct Model {
    session: Box<dyn archc_runtime::Session>,
}

impl Model {
    fn new(in_context: bool) -> Self {
        let settings = [
            ("dim", "32".to_owned()),
            ("depth", "2".to_owned()),
            ("heads", "2".to_owned()),
            ("context_dim", CONTEXT.to_string()),
            ("in_context", in_context.to_string()),
        ];
        let settings: Vec<_> = settings
            .into_iter()
            .map(|(name, value)| {
                let value = archc_grammar::parse_expression(&value, FileId(0)).expect("an expression");
                (Arc::from(name), value)
            })
            .collect();
        let compiled = compile("gaussians.arch", None, &settings, &Specs, &Options::default()).expect("a spec");
        let graph = Arc::new(compiled.graph.expect("a graph"));
        let weights: BTreeMap<String, HostTensor> = graph
            .parameters
            .iter()
            .map(|parameter| {
                let shape: Vec<usize> = parameter.shape.iter().map(|size| *size as usize).collect();
                let drawn = normal(&parameter.path, shape.iter().product());
                let scale = 1.0 / (parameter.fans.fan_in as f32).sqrt();
                (parameter.path.to_string(), HostTensor::f32(shape, drawn.into_iter().map(|x| x * scale).collect()))
            })
            .collect();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("weights.safetensors");
        tensors::write(&path, &weights).expect("written");
        let file = TensorFile::open(&path).expect("a file");
        Self { session: open(&graph, Device::Cpu, Weights::File(&file)).expect("weights that fit") }
    }

    /// One sample: its Gaussians, which of them are there, and the words that count.
    fn run(&self, gaussians: &[Vec<f32>], present: &[f32], words: &[f32]) -> Vec<Vec<f32>> {
        let count = gaussians.len();
        let inputs = vec![
            HostTensor::f32(vec![1, count, CHANNELS], gaussians.concat()),
            HostTensor::f32(vec![1, count], present.to_vec()),
            HostTensor::f32(vec![1], vec![321.0]),
            HostTensor::f32(vec![1, WORDS, CONTEXT], normal("context", WORDS * CONTEXT)),
            HostTensor::f32(vec![1, WORDS], words.to_vec()),
        ];
        let response = self.session.run(&Request { inputs, ..Request::default() }).expect("a run");
        let out = response.outputs.first().expect("an output").to_f32();
        out.chunks(CHANNELS).map(<[f32]>::to_vec).collect()
    }
}

fn some_gaussians(count: usize) -> Vec<Vec<f32>> {
    normal("gaussians", count * CHANNELS).chunks(CHANNELS).map(<[f32]>::to_vec).collect()
}

fn difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.concat().iter().zip(b.concat()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn permuted_gaussians_give_permuted_results() {
    for in_context in [false, true] {
        let model = Model::new(in_context);
        for count in [1, 2, 7, 33] {
            let gaussians = some_gaussians(count);
            let present: Vec<f32> = (0..count).map(|at| if at % 5 == 3 { 0.0 } else { 1.0 }).collect();
            // Every place once, since 5 divides none of the counts.
            let order: Vec<usize> = (0..count).map(|at| (5 * at + 2) % count).collect();
            let permuted: Vec<Vec<f32>> = order.iter().map(|at| gaussians[*at].clone()).collect();
            let permuted_present: Vec<f32> = order.iter().map(|at| present[*at]).collect();

            let out = model.run(&gaussians, &present, &[1.0; WORDS]);
            let expected: Vec<Vec<f32>> = order.iter().map(|at| out[*at].clone()).collect();
            let found = model.run(&permuted, &permuted_present, &[1.0; WORDS]);
            let largest = out.concat().iter().fold(0.0_f32, |most, x| most.max(x.abs()));
            assert!(largest > 0.1, "the output says nothing: {largest}");
            let off = difference(&found, &expected);
            assert!(off <= TOLERANCE * largest, "{count} Gaussians, in context {in_context}: differs by {off}");
        }
    }
}

#[test]
fn what_only_fills_up_is_seen_by_no_one() {
    for in_context in [false, true] {
        let model = Model::new(in_context);
        let gaussians = some_gaussians(6);
        let alone = model.run(&gaussians, &[1.0; 6], &[1.0; WORDS]);
        let mut filled = gaussians.clone();
        filled.extend(some_gaussians(3).into_iter().map(|gaussian| gaussian.iter().map(|x| 7.0 * x).collect()));
        let present: Vec<f32> = (0..9).map(|at| if at < 6 { 1.0 } else { 0.0 }).collect();
        let among = model.run(&filled, &present, &[1.0; WORDS]);
        let off = difference(&alone, &among[..6]);
        assert!(off <= 1e-4, "in context {in_context}: differs by {off}");
    }
}

#[test]
fn the_condition_matters_and_its_mask_too() {
    for in_context in [false, true] {
        let model = Model::new(in_context);
        let gaussians = some_gaussians(4);
        let all = model.run(&gaussians, &[1.0; 4], &[1.0; WORDS]);
        let fewer = model.run(&gaussians, &[1.0; 4], &[1.0, 1.0, 0.0, 0.0, 0.0]);
        assert!(difference(&all, &fewer) > 1e-3, "in context {in_context}: the words are not read");
    }
}
