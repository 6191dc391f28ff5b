//! Every mechanism by itself, forward and backward, against what PyTorch gives: `tests/reference/mechanisms`.

use archc_compiler::source::Files;
use archc_compiler::{Options, compile};
use archc_runtime::tensors::{self, TensorFile, Tensors};
use archc_runtime::{Device, HostTensor, Request, Weights, open};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Relative to the largest magnitude of a tensor; PyTorch's numbers are those of f64.
const TOLERANCE: f32 = 2e-5;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/mechanisms")
}

/// The tensors below a name, by the rest of their names.
fn below(tensors: &Tensors<'_>, prefix: &str) -> BTreeMap<String, HostTensor> {
    let own = tensors.names().into_iter().filter_map(|name| {
        let rest = name.strip_prefix(prefix)?.strip_prefix('/')?.to_owned();
        Some((rest, tensors.read(&name).expect("it is there")))
    });
    own.collect()
}

fn largest(tensor: &HostTensor) -> f32 {
    tensor.to_f32().into_iter().fold(0.0, |most, x| most.max(x.abs()))
}

/// How far a tensor is off, relative to the largest magnitude of what is expected, or to `least`.
fn error(found: &HostTensor, expected: &HostTensor, least: f32) -> f32 {
    let difference: Vec<f32> = found.to_f32().iter().zip(expected.to_f32()).map(|(a, b)| a - b).collect();
    assert_eq!(difference.len(), expected.to_f32().len());
    largest(&HostTensor::f32(vec![difference.len()], difference)) / largest(expected).max(least)
}

/// Runs a case, and says what is off.
fn failures(case: &str, tensors: &Tensors<'_>) -> Vec<String> {
    let model = case.split('/').next().unwrap_or(case);
    let path = folder().join("cases.arch").to_string_lossy().into_owned();
    let compiled = compile(&path, Some(model), &[], &Files::default(), &Options::default()).expect("it exists");
    let graph = Arc::new(compiled.graph.expect("nothing is wrong with it"));

    let own = tempfile::tempdir().expect("a folder").keep().join("weights.safetensors");
    tensors::write(&own, &below(tensors, &format!("{case}/weight"))).expect("written");
    let weights = TensorFile::open(&own).expect("a file");
    let session = open(&graph, Device::Cpu, Weights::File(&weights)).expect("weights that fit");
    let given = below(tensors, &format!("{case}/in"));
    let inputs = graph.inputs.iter().map(|input| given[&*input.name].clone()).collect();
    let response = session.run(&Request { inputs, gradients: true, ..Request::default() }).expect("a run");
    std::fs::remove_dir_all(own.parent().expect("its folder")).expect("removed");

    let mut weights = below(tensors, &format!("{case}/grad_weight"));
    let mut given = below(tensors, &format!("{case}/grad_in"));
    // What is far below the other gradients is what is left of terms that cancel: the bias of keys moves no score against
    // another.
    let least = 0.05 * weights.values().chain(given.values()).map(largest).fold(0.0, f32::max);
    let mut off = vec![];
    let mut compare = |what: String, found: &HostTensor, expected: &HostTensor| {
        let error = error(found, expected, least);
        if error.is_nan() || error > TOLERANCE {
            off.push(format!("{case}: {what} is off by {error:.1e}"));
        }
    };
    let expected = tensors.read(&format!("{case}/out")).expect("an output");
    let out = response.outputs.first().expect("an output");
    assert_eq!(out.shape, expected.shape, "{case}");
    compare("the output".to_owned(), out, &expected);
    for (name, gradient) in &response.parameter_gradients {
        let expected = weights.remove(name).expect("a parameter of the same name");
        compare(format!("the gradient of `{name}`"), gradient, &expected);
    }
    assert!(weights.is_empty(), "{case}: no gradient of {:?}", weights.keys());
    for (index, gradient) in &response.input_gradients {
        let name = &graph.inputs[*index].name;
        let expected = given.remove(&**name).expect("an input of the same name");
        compare(format!("the gradient of `{name}`"), gradient, &expected);
    }
    assert!(given.is_empty(), "{case}: no gradient of {:?}", given.keys());
    off
}

#[test]
fn mechanisms_agree_with_pytorch() {
    let file = TensorFile::open(&folder().join("cases.safetensors")).expect("recorded by record.py");
    let tensors = file.tensors().expect("a header");
    let names = tensors.names();
    let cases: Vec<&str> = names.iter().filter_map(|name| name.strip_suffix("/out")).collect();
    let models = std::fs::read_to_string(folder().join("cases.arch")).expect("cases");
    let models = models.lines().filter(|line| line.starts_with("model ")).count();
    assert_eq!(cases.len(), 2 * models, "every model is recorded with two sizes");
    let off: Vec<String> = cases.iter().flat_map(|case| failures(case, &tensors)).collect();
    assert!(off.is_empty(), "\n{}", off.join("\n"));
}
