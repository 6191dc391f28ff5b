//! Variants of published networks, `tests/variants`: configurations that were never released, measured with the public
//! implementations. Weights are no part of the data: both sides make them from the names and shapes of the tensors.

use super::{Comparison, GRADIENT, OUTPUT, parameter_table, root};
use archc_compiler::import::import;
use archc_compiler::init::Init;
use archc_compiler::ir::{Graph, Parameter};
use archc_compiler::source::Files;
use archc_compiler::{FileId, Options, compile};
use archc_runtime::tensors::{self, TensorFile};
use archc_runtime::{Device, HostTensor, Request, Weights, init, open};
use libtest_mimic::Trial;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `spec.yaml`: which spec describes a variant that is not imported.
#[derive(Deserialize)]
struct Described {
    spec: String,
    model: String,
    settings: BTreeMap<String, String>,
}

fn folder() -> PathBuf {
    root().join("tests/variants")
}

/// One test for each variant.
pub fn tests() -> Vec<Trial> {
    let entries = std::fs::read_dir(folder()).expect("the variants");
    let mut ids: Vec<String> = entries
        .map(|entry| entry.expect("a folder").path())
        .filter(|path| path.join("io.safetensors").exists())
        .map(|path| path.file_name().expect("a name").to_string_lossy().into_owned())
        .collect();
    ids.sort();
    assert!(ids.len() > 30, "only {} variants", ids.len());
    let test = |id: String| {
        Trial::test(format!("{id}::variant"), move || {
            is_what_the_public_implementation_makes_of_it(&id);
            Ok(())
        })
    };
    ids.into_iter().map(test).collect()
}

fn is_what_the_public_implementation_makes_of_it(id: &str) {
    let path = folder().join(id);
    let graph = graph(id, &path);
    let table = read(&path.join("tensors.tsv"));
    assert_eq!(parameter_table(&graph), table.lines().collect::<Vec<_>>(), "{id}");

    let weights: BTreeMap<String, HostTensor> =
        graph.parameters.iter().map(|own| (own.path.to_string(), weight(&graph, own))).collect();
    let scratch = tempfile::tempdir().expect("a folder");
    let file = scratch.path().join("weights.safetensors");
    tensors::write(&file, &weights).expect("written");
    let file = TensorFile::open(&file).expect("a file");
    let session = open(&graph, Device::Cpu, Weights::File(&file)).expect("weights that fit");

    let io = TensorFile::open(&path.join("io.safetensors")).expect("a file");
    let io = io.tensors().expect("tensors");
    let inputs = graph.inputs.iter().map(|input| {
        let name = published_input(&input.name);
        let tensor = io.read(&format!("in.{name}")).expect("an input");
        // What is no class is a vector here, also if it is one number.
        match tensor.shape.as_slice() {
            [batch] if name != &*input.name => HostTensor::f32(vec![*batch, 1], tensor.to_f32()),
            _ => tensor,
        }
    });
    let request = Request { inputs: inputs.collect(), gradients: true, keep: vec![] };
    let response = session.run(&request).expect("a run");

    let mut comparison = Comparison::default();
    for name in io.names() {
        let expected = io.read(&name).expect("a tensor");
        if let Some(input) = name.strip_prefix("grad.in.") {
            let at = graph.inputs.iter().position(|own| published_input(&own.name) == input);
            let found = response.input_gradients.iter().find(|(index, _)| Some(*index) == at);
            let (_, found) = found.expect("a gradient");
            let found = HostTensor::f32(expected.shape.clone(), found.to_f32());
            comparison.check(&name, &found, &expected, GRADIENT);
        } else if !name.starts_with("in.") {
            let output = name.strip_prefix("out.").unwrap_or(&name);
            let at = graph.outputs.iter().position(|own| &*own.name == output).expect("an output");
            comparison.check(&name, response.outputs.get(at).expect("an output"), &expected, OUTPUT);
        }
    }
    comparison.conclude(id, 1);
}

fn graph(id: &str, path: &Path) -> Arc<Graph> {
    let described = path.join("spec.yaml");
    let compiled = if described.exists() {
        let own: Described = serde_yaml::from_str(&read(&described)).expect("a description");
        let setting = |(name, value): (&String, &String)| {
            (Arc::from(&**name), archc_grammar::parse_expression(value, FileId(0)).expect("an expression"))
        };
        let settings: Vec<_> = own.settings.iter().map(setting).collect();
        let specs = Files::under(root().join("specs"));
        compile(&own.spec, Some(&own.model), &settings, &specs, &Options::default())
    } else {
        let imported = import("config.json", &read(&path.join("config.json")), "imported");
        let said: Vec<&str> = imported.diagnostics.iter().map(|problem| &*problem.message).collect();
        assert_eq!(said, Vec::<&str>::new(), "{id} cannot be imported");
        let spec = imported.spec.expect("a spec").text;
        compile("imported.arch", None, &[], &[("imported.arch", &*spec)], &Options::default())
    };
    Arc::new(compiled.expect("a model").graph.expect("a graph"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display())).expect("a file")
}

/// diffusers has one name for classes and for conditions that are none.
fn published_input(name: &str) -> &str {
    if name == "class_features" { "class_labels" } else { name }
}

/// `weight` of `tests/variants/generate.py`; what is fixed keeps its values.
fn weight(graph: &Graph, parameter: &Parameter) -> HostTensor {
    let shape: Vec<usize> = parameter.shape.iter().map(|size| *size as usize).collect();
    if matches!(parameter.init, Init::SinCos2d(_) | Init::Values(_) | Init::Filter { .. }) {
        return HostTensor::f32(shape, init::parameter(graph, parameter, 0));
    }
    let (factor, middle) = match shape.as_slice() {
        [] | [_] => (0.2, if parameter.path.ends_with("weight") { 1.0 } else { 0.0 }),
        [_, fans @ ..] => ((3.0 / fans.iter().product::<usize>() as f64).sqrt(), 0.0),
    };
    let values = noise(&parameter.path, shape.iter().product());
    HostTensor::f32(shape, values.map(|value| (value * factor + middle) as f32).collect())
}

/// Numbers from -1 to 1, uniform: splitmix64 from the FNV-1a hash of the name, the upper 24 bits of each.
fn noise(name: &str, count: usize) -> impl Iterator<Item = f64> {
    let seed = init::name_hash(name);
    (1..=count as u64).map(move |at| {
        let z = seed.wrapping_add(at.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 23) - 1.0
    })
}
