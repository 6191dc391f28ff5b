//! Running an operator on given tensors, and comparing what comes out.

use archc_compiler::{Options, compile};
use archc_runtime::tensors::{self, TensorFile};
use archc_runtime::{Device, HostTensor, Request, Weights, init, open};
use rand_distr::{Distribution, StandardNormal};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Relative to the largest magnitude: a few roundings of f32.
const TOLERANCE: f64 = 2e-6;

pub fn normal(name: &str, shape: &[usize]) -> HostTensor {
    let count = shape.iter().product();
    HostTensor::f32(shape.to_vec(), StandardNormal.sample_iter(&mut init::stream(7, name)).take(count).collect())
}

pub fn floats(tensor: &HostTensor) -> Vec<f64> {
    tensor.to_f32().into_iter().map(f64::from).collect()
}

/// Runs a model on inputs; parameters have the given values, or their starts.
pub fn run(source: &str, inputs: Vec<HostTensor>, weights: &[(&str, HostTensor)]) -> HostTensor {
    let compiled = compile("a.arch", None, &[], &[("a.arch", source)], &Options::default()).expect("it exists");
    let problems: Vec<String> = compiled.diagnostics.iter().map(|problem| problem.message.clone()).collect();
    let graph = Arc::new(compiled.graph.ok_or(problems).expect("a graph"));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("weights.safetensors");
    let weights: BTreeMap<String, HostTensor> =
        weights.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect();
    tensors::write(&path, &weights).expect("written");
    let file = TensorFile::open(&path).expect("a file");
    let source = if weights.is_empty() { Weights::Seed(3) } else { Weights::File(&file) };
    let session = open(&graph, Device::Cpu, source).expect("weights that fit");
    let response = session.run(&Request { inputs, ..Request::default() }).expect("a run");
    response.outputs.into_iter().next().expect("an output")
}

pub fn check(what: &str, found: &HostTensor, shape: &[usize], expected: &[f64]) {
    assert_eq!(found.shape, shape, "{what}");
    let largest = expected.iter().fold(1e-3, |most: f64, x| most.max(x.abs()));
    for (found, expected) in floats(found).iter().zip(expected) {
        let off = (found - expected).abs();
        assert!(off <= TOLERANCE * largest, "{what}: {found} instead of {expected}");
    }
}
