//! Specs of published networks against the released implementations: names and shapes of all parameters at full size,
//! and outputs, intermediate values, gradients and initialisation of a small configuration of the same code. What
//! `archc import` makes of the configurations themselves is compared in the same way. Variants that were never released
//! follow.
//!
//! The figures under `tests/reference` were measured with the implementations named in each `config.json`.

mod figures;
mod variants;

use archc_compiler::import::{classes, import};
use archc_compiler::init::Init;
use archc_compiler::ir::{Graph, NodeId};
use archc_compiler::ops::Storage;
use archc_compiler::source::Files;
use archc_compiler::types::Kind;
use archc_compiler::{FileId, Options, compile};
use archc_runtime::plan::Plan;
use archc_runtime::tensors::{self, TensorFile, Tensors};
use archc_runtime::verify::verify;
use archc_runtime::{Device, GraphModule, HostTensor, Request, Weights, constraint, init, open};
use burn::backend::Flex;
use libtest_mimic::{Arguments, Trial};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest difference of outputs and intermediate values, relative to the largest magnitude. What f32 costs the
/// reference itself is 1.3e-6; a sinusoid near t = 1000 is uncertain by 1.4e-5, and the wrong GELU differs by 6e-5.
const OUTPUT: f64 = 3e-5;
/// The same for gradients and for the run with small signals, in which the eps of a norm is 3e-4 and more.
const GRADIENT: f64 = 1e-4;
/// What the reference calls weights after forced weight normalisation.
const FORCED: &str = "aux.forced_norm.";
/// Constructions of the small model to draw statistics of initialisers from.
const DRAWS: u64 = 12;

/// `tests/reference/tiny/<id>/spec.yaml`: which spec describes the network. The preset has the id as its name.
#[derive(Deserialize)]
struct Case {
    #[serde(skip)]
    id: String,
    spec: String,
    /// Hyperparameters of the small configuration.
    tiny: BTreeMap<String, String>,
    /// More of them for what `init.tsv` shows, where that was measured with another implementation than trained it.
    #[serde(default)]
    init: BTreeMap<String, String>,
}

/// A configuration as the released code has it.
#[derive(Deserialize)]
struct Published {
    class: String,
    config: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Full {
    total_parameters: u64,
    frozen_parameters: u64,
}

#[derive(Deserialize)]
struct Config {
    small_signal: SmallSignal,
    zero_gradient_parameters: Vec<String>,
    near_zero_gradient_parameters: Vec<String>,
}

#[derive(Deserialize)]
struct SmallSignal {
    factor: f32,
    scaled_tensors: Vec<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn reference() -> PathBuf {
    root().join("tests/reference")
}

fn text(path: &str) -> String {
    let path = reference().join(path);
    std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display())).expect("a reference file")
}

fn cases() -> Vec<Case> {
    let folders = std::fs::read_dir(reference().join("tiny")).expect("the reference");
    let mut ids: Vec<String> =
        folders.map(|entry| entry.expect("a folder").file_name().to_string_lossy().into_owned()).collect();
    ids.sort();
    let case = |id: String| {
        let case: Case = serde_yaml::from_str(&text(&format!("tiny/{id}/spec.yaml"))).expect("a description");
        Case { id, ..case }
    };
    ids.into_iter().map(case).collect()
}

/// One test for each network and each kind of comparison.
fn main() {
    let arguments = Arguments::from_args();
    let mut tests = vec![];
    for case in cases().into_iter().map(Arc::new) {
        let mut test = |what: &str, check: fn(&Case)| {
            let (name, case) = (format!("{}::{what}", case.id), case.clone());
            tests.push(Trial::test(name, move || {
                check(&case);
                Ok(())
            }));
        };
        test("parameters", parameters_have_the_published_names_shapes_order_and_count);
        test("outputs", outputs_and_gradients_are_those_of_the_released_code);
        test("steps", a_sampler_sees_what_a_run_gives);
        test("operators", kernels_give_what_operations_of_burn_give);
        test("small_signals", small_signals_show_the_eps_of_every_norm);
        if classes().any(|class| class == case.published("full").class) {
            test("imported", imports_are_the_published_network);
        }
        if reference().join("tiny").join(&case.id).join("init.tsv").exists() {
            test("initialisers", initialisers_draw_from_the_published_distributions);
        }
        if case.file("io.safetensors").tensors().expect("tensors").names().iter().any(|name| name.starts_with(FORCED)) {
            test("forced_normalisation", forced_normalisation_is_that_of_the_released_code);
        }
    }
    tests.extend(variants::tests());
    let conclusion = libtest_mimic::run(&arguments, tests);
    if std::env::var_os("UPDATE_PAGES").is_some() {
        figures::write();
    }
    conclusion.exit();
}

impl Case {
    fn graph(&self, settings: &BTreeMap<String, String>) -> Arc<Graph> {
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, value)| {
                let value = archc_grammar::parse_expression(value, FileId(0)).expect("an expression");
                (Arc::from(&**name), value)
            })
            .collect();
        let specs = Files::under(root().join("specs"));
        let compiled = compile(&self.spec, Some(&self.id), &settings, &specs, &Options::default()).expect("a model");
        // A small configuration has heads of a few channels, and other things no one would publish.
        if settings.is_empty() {
            let findings: Vec<&str> = compiled.diagnostics.iter().map(|finding| &*finding.message).collect();
            assert_eq!(findings, Vec::<&str>::new(), "{}: a published network has findings", self.id);
        }
        Arc::new(compiled.graph.expect("a graph"))
    }

    fn published(&self, size: &str) -> Published {
        let path = match size {
            "full" => format!("full/{}.json", self.id),
            _ => format!("tiny/{}/config.json", self.id),
        };
        serde_json::from_str(&text(&path)).expect("a configuration")
    }

    /// What `archc import` makes of the configuration.
    fn imported(&self, size: &str) -> Arc<Graph> {
        let Published { class, mut config } = self.published(size);
        config.insert("_class_name".to_owned(), class.into());
        let config = serde_json::to_string(&config).expect("JSON");
        let imported = import("config.json", &config, "imported");
        let said: Vec<&str> = imported.diagnostics.iter().map(|problem| &*problem.message).collect();
        assert_eq!(said, Vec::<&str>::new(), "{}: the configuration cannot be imported", self.id);
        let spec = imported.spec.expect("a spec").text;
        let compiled = compile("imported.arch", None, &[], &[("imported.arch", &*spec)], &Options::default());
        Arc::new(compiled.expect("a preset").graph.expect("a graph"))
    }

    fn file(&self, name: &str) -> TensorFile {
        TensorFile::open(&reference().join("tiny").join(&self.id).join(name)).expect("a reference file")
    }

    fn config(&self) -> Config {
        serde_json::from_str(&text(&format!("tiny/{}/config.json", self.id))).expect("a configuration")
    }
}

fn parameter_table(graph: &Graph) -> Vec<String> {
    let shape = |shape: &[u64]| match shape {
        [] => "scalar".to_owned(),
        shape => shape.iter().map(u64::to_string).collect::<Vec<_>>().join("x"),
    };
    graph.parameters.iter().map(|parameter| format!("{}\t{}", parameter.path, shape(&parameter.shape))).collect()
}

fn published_table(table: &str) -> Vec<String> {
    table.lines().map(|line| line.trim_end_matches("\tparam").trim_end_matches("\tbuffer").to_owned()).collect()
}

fn parameters_have_the_published_names_shapes_order_and_count(case: &Case) {
    let graph = case.graph(&BTreeMap::new());
    assert_eq!(parameter_table(&graph), published_table(&text(&format!("full/{}.tsv", case.id))), "{}", case.id);
    let full: Full = serde_json::from_str(&text(&format!("full/{}.json", case.id))).expect("counts");
    let frozen = graph.parameters.iter().filter(|parameter| parameter.storage == Storage::Frozen);
    assert_eq!(graph.parameter_elements(), full.total_parameters, "{}", case.id);
    assert_eq!(frozen.map(|parameter| parameter.elements()).sum::<u64>(), full.frozen_parameters, "{}", case.id);
    let tiny = case.graph(&case.tiny);
    let published = published_table(&text(&format!("tiny/{}/tensors.tsv", case.id)));
    assert_eq!(parameter_table(&tiny), published, "{}, small", case.id);
    fixed_tables_are_the_published_ones(case, &tiny);
}

/// Tables of positions keep their upstream values in the reference, where all that is trained has been replaced by noise.
fn fixed_tables_are_the_published_ones(case: &Case, graph: &Graph) {
    let weights = case.file("weights.safetensors");
    let weights = weights.tensors().expect("tensors");
    for parameter in graph.parameters.iter().filter(|parameter| matches!(parameter.init, Init::SinCos2d(_))) {
        let shape = parameter.shape.iter().map(|size| *size as usize).collect();
        let own = HostTensor::f32(shape, init::parameter(graph, parameter, 0));
        let mut comparison = Comparison::default();
        comparison.check(&parameter.path, &own, &weights.read(&parameter.path).expect("a table"), 1e-6);
        comparison.conclude(&case.id, 1);
    }
}

/// Differences of one run.
#[derive(Default)]
struct Comparison {
    compared: usize,
    /// Largest relative errors of outputs with intermediate values, and of gradients.
    errors: [f64; 2],
    problems: Vec<String>,
}

impl Comparison {
    fn check(&mut self, name: &str, found: &HostTensor, expected: &HostTensor, tolerance: f64) {
        self.compared += 1;
        if found.shape != expected.shape {
            self.problems.push(format!("{name}: {:?} instead of {:?}", found.shape, expected.shape));
            return;
        }
        let largest = expected.to_f32().iter().fold(0.0, |most: f64, value| most.max(f64::from(value.abs())));
        let differences = found.to_f32().into_iter().zip(expected.to_f32()).map(|(a, b)| f64::from(a - b).abs());
        // `f64::max` would drop a NaN.
        let off = differences.fold(0.0, |most: f64, off| if off > most || off.is_nan() { off } else { most });
        let [outputs, gradients] = &mut self.errors;
        let error = if name.starts_with("grad.") { gradients } else { outputs };
        *error = error.max(if largest > 0.0 { off / largest } else { 0.0 });
        if off.is_nan() || off > tolerance * largest {
            self.problems.push(format!("{name}: differs by {:.1e} of the largest magnitude", off / largest));
        }
    }

    fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    fn conclude(self, what: &str, at_least: usize) {
        assert!(self.problems.is_empty(), "{what}:\n{}", self.problems.join("\n"));
        assert!(self.compared >= at_least, "{what}: only {} tensors were compared", self.compared);
    }
}

/// An intermediate value in the layout of the reference. Networks of videos hold `[batch * frames, channels, height, width]`
/// in their spatial parts and `[batch, channels, frames, height, width]` in their temporal ones.
fn as_published<'t>(found: &'t HostTensor, expected: &HostTensor) -> Cow<'t, HostTensor> {
    let [batch, frames, channels, height, width] = found.shape.as_slice() else { return Cow::Borrowed(found) };
    if expected.shape.len() == 4 {
        return Cow::Owned(HostTensor::f32(vec![batch * frames, *channels, *height, *width], found.to_f32()));
    }
    let (data, pixels) = (found.to_f32(), height * width);
    let mut moved = Vec::with_capacity(data.len());
    for sample in 0..*batch {
        for channel in 0..*channels {
            for frame in 0..*frames {
                let start = ((sample * frames + frame) * channels + channel) * pixels;
                moved.extend(data.iter().skip(start).take(pixels));
            }
        }
    }
    Cow::Owned(HostTensor::f32(vec![*batch, *channels, *frames, *height, *width], moved))
}

/// Runs a small model on the inputs of a reference file and compares every tensor in it that is not an input.
fn compare(case: &Case, graph: &Arc<Graph>, weights: &TensorFile, io: &Tensors<'_>, tolerance: f64) -> Comparison {
    let config = case.config();
    let session = open(graph, Device::Cpu, Weights::File(weights)).expect("weights that fit");
    let inputs: Vec<HostTensor> =
        graph.inputs.iter().map(|input| io.read(&format!("in.{}", input.name)).expect("an input")).collect();
    let optimized = session.run(&Request { inputs: inputs.clone(), ..Request::default() }).expect("a run");
    let names = io.names();
    let gradients = names.iter().any(|name| name.starts_with("grad."));
    let kept: BTreeMap<&str, _> = names
        .iter()
        .filter_map(|name| name.strip_prefix("mid."))
        .filter_map(|path| Some((path, value_behind(graph, path)?)))
        .collect();
    let request = Request { inputs, gradients, keep: kept.values().copied().collect() };
    let response = session.run(&request).expect("a run");
    let found_gradients: BTreeMap<&str, &HostTensor> =
        response.parameter_gradients.iter().map(|(name, tensor)| (&**name, tensor)).collect();
    let largest_gradient = found_gradients
        .values()
        .map(|tensor| tensor.statistics())
        .fold(0.0, |most: f32, gradient| most.max(gradient.max).max(-gradient.min));

    let mut comparison = Comparison::default();
    for (found, expected) in optimized.outputs.iter().zip(&response.outputs) {
        comparison.check("the output of the optimised graph", found, expected, tolerance);
    }
    for name in &names {
        let expected = io.read(name).expect("a tensor");
        let found = if let Some(path) = name.strip_prefix("mid.") {
            let found = kept.get(path).and_then(|node| response.kept.get(node));
            found.map(|found| as_published(found, &expected))
        } else if let Some(input) = name.strip_prefix("grad.in.") {
            let at = graph.inputs.iter().position(|own| &*own.name == input);
            let found = response.input_gradients.iter().find(|(index, _)| Some(*index) == at);
            found.map(|(_, tensor)| Cow::Borrowed(tensor))
        } else if let Some(parameter) = name.strip_prefix("grad.") {
            found_gradients.get(parameter).copied().map(Cow::Borrowed)
        } else if name == "loss" {
            let loss = response.loss.expect("a loss");
            comparison.check(name, &HostTensor::f32(expected.shape.clone(), vec![loss]), &expected, tolerance);
            continue;
        } else if name.starts_with("in.") || name.starts_with("aux.") {
            continue;
        } else {
            let output = name.strip_prefix("out.").unwrap_or(name);
            let at = graph.outputs.iter().position(|own| &*own.name == output);
            at.and_then(|at| response.outputs.get(at)).map(Cow::Borrowed)
        };
        let parameter = name.strip_prefix("grad.").unwrap_or_default();
        let is_gradient = !parameter.is_empty();
        // Attention ignores key biases: what arrives there is rounding, in the reference too.
        if config.near_zero_gradient_parameters.iter().any(|near_zero| near_zero == parameter) {
            let size =
                found.as_deref().map(|tensor| tensor.statistics().max.max(-tensor.statistics().min)).unwrap_or(0.0);
            if size > 1e-5 * largest_gradient {
                comparison.problem(format!("{name}: {size:e} instead of nothing"));
            }
            continue;
        }
        match found {
            Some(found) => {
                comparison.check(name, &found, &expected, if is_gradient { GRADIENT } else { tolerance });
            }
            None => comparison.problem(format!("{name}: the spec has no such value")),
        }
    }
    for parameter in &config.zero_gradient_parameters {
        let gradient = found_gradients.get(&**parameter).map(|tensor| tensor.statistics());
        if gradient.is_some_and(|gradient| gradient.min != 0.0 || gradient.max != 0.0) {
            comparison.problem(format!("{parameter}: it has a gradient, and cannot have one"));
        }
    }
    comparison
}

/// `path#n` is the n-th of several results, and without a number the first is meant.
fn value_behind(graph: &Graph, path: &str) -> Option<NodeId> {
    let (path, at) = match path.rsplit_once('#') {
        Some((path, at)) => (path, at.parse().ok()?),
        None => (path, 0),
    };
    graph.find(path).get(at).copied()
}

fn outputs_and_gradients_are_those_of_the_released_code(case: &Case) {
    let (weights, io) = (case.file("weights.safetensors"), case.file("io.safetensors"));
    let graph = case.graph(&case.tiny);
    let comparison = compare(case, &graph, &weights, &io.tensors().expect("tensors"), OUTPUT);
    let errors = comparison.errors;
    comparison.conclude(&case.id, 12);
    figures::check(&case.id, errors);
}

/// What a sampler computes before its steps is what every run computes anew.
fn a_sampler_sees_what_a_run_gives(case: &Case) {
    let (weights, io) = (case.file("weights.safetensors"), case.file("io.safetensors"));
    let (graph, io) = (case.graph(&case.tiny), io.tensors().expect("tensors"));
    let session = open(&graph, Device::Cpu, Weights::File(&weights)).expect("weights that fit");
    let kind = |input: &archc_compiler::ir::Input| graph.node(input.node).ty.kind;
    let of = |told: f32| -> Vec<HostTensor> {
        let input = |input: &archc_compiler::ir::Input| {
            let tensor = io.read(&format!("in.{}", input.name)).expect("an input");
            let is_time = matches!(kind(input), Kind::Timestep | Kind::Sigma);
            if is_time { HostTensor::f32(tensor.shape.clone(), vec![told; tensor.len()]) } else { tensor }
        };
        graph.inputs.iter().map(input).collect()
    };
    let noisy = graph.noisy_input().and_then(|node| graph.inputs.iter().position(|input| input.node == node));
    let Some(noisy) = noisy else { return };
    let times = [0.75, 0.5, 0.25];
    let mut denoiser = session.denoiser(&of(0.0), times[..2].to_vec()).expect("a denoiser");
    let mut comparison = Comparison::default();
    for told in times {
        let inputs = of(told);
        let found = denoiser.denoise(inputs.get(noisy).expect("it"), told).expect("a step");
        let expected = session.run(&Request { inputs, ..Request::default() }).expect("a run").outputs;
        comparison.check("out", &found, expected.first().expect("an output"), OUTPUT);
    }
    comparison.conclude(&case.id, times.len());
}

/// Every operator in every shape of the small model, results and gradients.
fn kernels_give_what_operations_of_burn_give(case: &Case) {
    let graph = case.graph(&case.tiny);
    let io = case.file("io.safetensors");
    let io = io.tensors().expect("tensors");
    let inputs: Vec<HostTensor> =
        graph.inputs.iter().map(|input| io.read(&format!("in.{}", input.name)).expect("an input")).collect();
    let bindings = Plan::new(graph.clone()).bind(&inputs).expect("sizes");
    let found = verify(&graph, &bindings, Device::Cpu, 1, |_, _| ()).expect("a comparison");
    let differ: Vec<_> = found.iter().filter(|comparison| !comparison.holds).collect();
    assert!(differ.is_empty(), "{}: {differ:#?}", case.id);
    assert!(found.iter().filter(|comparison| comparison.gradients.is_some()).count() > 8, "{}: too few", case.id);
}

/// Parameters of the published size with their starts, and everything about the small one.
fn imports_are_the_published_network(case: &Case) {
    let full = case.imported("full");
    assert_eq!(parameter_table(&full), published_table(&text(&format!("full/{}.tsv", case.id))), "{}", case.id);
    let starts = |graph: &Graph| graph.parameters.iter().map(|own| own.init.clone()).collect::<Vec<_>>();
    assert_eq!(starts(&full), starts(&case.graph(&BTreeMap::new())), "{}", case.id);
    let tiny = case.imported("tiny");
    let (weights, io) = (case.file("weights.safetensors"), case.file("io.safetensors"));
    compare(case, &tiny, &weights, &io.tensors().expect("tensors"), OUTPUT).conclude(&case.id, 12);
}

/// What one forward pass in training mode made of some weights.
fn forced_normalisation_is_that_of_the_released_code(case: &Case) {
    let (weights, io) = (case.file("weights.safetensors"), case.file("io.safetensors"));
    let (weights, io) = (weights.tensors().expect("tensors"), io.tensors().expect("tensors"));
    let graph = case.graph(&case.tiny);
    let module = GraphModule::<Flex>::load(&graph, &Default::default(), |slot| {
        weights.read(&slot.path).map(|weight| weight.to_f32())
    });
    let forced = constraint::force_weight_normalization(&graph, module.expect("weights that fit"));
    let forced: BTreeMap<&str, HostTensor> =
        forced.published().map(|(slot, data)| (&*slot.path, HostTensor::f32(slot.shape.clone(), data))).collect();
    let mut comparison = Comparison::default();
    for name in io.names() {
        let Some(path) = name.strip_prefix(FORCED) else { continue };
        let found = forced.get(path).expect("a weight");
        comparison.check(&name, found, &io.read(&name).expect("a tensor"), 1e-6);
    }
    comparison.conclude(&case.id, 2);
}

fn small_signals_show_the_eps_of_every_norm(case: &Case) {
    let weights = case.file("weights.safetensors");
    let weights = weights.tensors().expect("tensors");
    let small = case.config().small_signal;
    let scaled = |name: String| {
        let mut tensor = weights.read(&name).expect("a weight");
        if small.scaled_tensors.contains(&name) {
            let data = tensor.to_f32().into_iter().map(|value| value * small.factor).collect();
            tensor = HostTensor::f32(tensor.shape, data);
        }
        (name, tensor)
    };
    let scaled: BTreeMap<String, HostTensor> = weights.names().into_iter().map(scaled).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("small.safetensors");
    tensors::write(&path, &scaled).expect("written");
    let (small, io) = (TensorFile::open(&path).expect("a file"), case.file("io_small.safetensors"));
    compare(case, &case.graph(&case.tiny), &small, &io.tensors().expect("tensors"), GRADIENT).conclude(&case.id, 5);
}

/// A row of `init.tsv`: what many constructions of the released model showed.
struct Measured {
    name: String,
    family: String,
    mean: f64,
    std: f64,
    largest: f64,
    samples: f64,
}

fn measured(table: &str) -> Vec<Measured> {
    let row = |line: &str| {
        let mut fields = line.split('\t');
        let mut next = || fields.next().unwrap_or_default().to_owned();
        let (name, _kind, _shape, family) = (next(), next(), next(), next());
        let mut number = || next().parse().expect("a number");
        Measured { name, family, mean: number(), std: number(), largest: number(), samples: number() }
    };
    table.lines().skip(1).map(row).collect()
}

fn initialisers_draw_from_the_published_distributions(case: &Case) {
    let table = measured(&text(&format!("tiny/{}/init.tsv", case.id)));
    assert!(table.len() > 10, "only {} tensors to compare", table.len());
    let graph =
        case.graph(&case.tiny.iter().chain(&case.init).map(|(name, value)| (name.clone(), value.clone())).collect());
    let fixed = case.file("weights.safetensors");
    let fixed = fixed.tensors().expect("tensors");
    for row in table {
        let what = format!("{}: {}", case.id, row.name);
        let parameter = graph.parameters.iter().find(|own| *own.path == *row.name).expect("a parameter");
        let drawn: Vec<f32> = (0..DRAWS).flat_map(|seed| init::parameter(&graph, parameter, seed)).collect();
        match row.family.as_str() {
            "zero" => assert!(drawn.iter().all(|value| *value == 0.0), "{what} is not zero"),
            family if family.starts_with("constant") => {
                assert!(drawn.iter().all(|value| f64::from(*value) == row.mean), "{what} is not {}", row.mean);
            }
            "fixed" => {
                let mut comparison = Comparison::default();
                let own = init::parameter(&graph, parameter, 0);
                let shape = parameter.shape.iter().map(|size| *size as usize).collect();
                let published = fixed.read(&row.name).expect("a table");
                comparison.check(&what, &HostTensor::f32(shape, own), &published, 1e-6);
                comparison.conclude(&what, 1);
            }
            family if family.starts_with("constant ") => {
                let value: f32 = family.trim_start_matches("constant ").parse().expect("a number");
                assert!(drawn.iter().all(|own| *own == value), "{what} is not {value}");
            }
            family => check_distribution(&what, family, &drawn, &row),
        }
    }
}

/// Mean, spread and shape within five standard errors of two samples.
fn check_distribution(what: &str, family: &str, drawn: &[f32], row: &Measured) {
    let count = drawn.len() as f64;
    let mean = drawn.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
    let moment = |power| drawn.iter().map(|value| (f64::from(*value) - mean).powi(power)).sum::<f64>() / count;
    let (std, kurtosis) = (moment(2).sqrt(), moment(4) / moment(2).powi(2));
    let expected_kurtosis = if family == "uniform" { 9.0 / 5.0 } else { 3.0 };
    let pooled = 1.0 / count + 1.0 / row.samples;
    let mean_error = row.std * pooled.sqrt();
    let std_error = row.std * ((expected_kurtosis - 1.0) / 4.0 * pooled).sqrt();
    assert!((mean - row.mean).abs() < 5.0 * mean_error, "{what}: mean {mean}, published {}", row.mean);
    assert!((std - row.std).abs() < 5.0 * std_error, "{what}: standard deviation {std}, published {}", row.std);
    // Upstream had too few elements to tell.
    if family == "random" {
        return;
    }
    let kurtosis_error = (24.0 / count).sqrt();
    assert!((kurtosis - expected_kurtosis).abs() < 5.0 * kurtosis_error, "{what}: kurtosis {kurtosis}, not {family}");
    let largest = drawn.iter().fold(0.0, |most: f64, value| most.max(f64::from(value.abs())));
    let bound = if family == "uniform" { row.largest * 1.01 } else { row.largest * 1.5 };
    assert!(largest < bound, "{what}: largest magnitude {largest}, published {}", row.largest);
}
