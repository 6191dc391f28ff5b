//! `archc run`

use crate::args::{Device, Run};
use crate::{Outcome, output, render, target};
use archc_compiler::analysis::cost::{Costs, Unbound};
use archc_compiler::analysis::liveness::Liveness;
use archc_compiler::dim::Sizes;
use archc_compiler::ir::{Graph, NodeId};
use archc_compiler::suggest::did_you_mean;
use archc_compiler::words::short;
use archc_runtime::bench::peak_memory;
use archc_runtime::memory::Need;
use archc_runtime::plan::{Bindings, Plan};
use archc_runtime::tensors::{self, TensorFile};
use archc_runtime::{HostTensor, Passes, Request, Response, RunError, Weights, init, open_as};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

pub fn run(options: &Run) -> Result<Outcome, String> {
    let Some((compiled, graph)) = target::graph(&options.target)? else { return Ok(Outcome::Findings) };
    render::pretty_to_stdout(&compiled.diagnostics, &compiled.program.sources);
    if compiled.diagnostics.is_empty() {
        output::line(format!("checked: nothing to report in {}\n", graph.name()));
    }
    if let Some(path) = &options.output {
        can_write(path)?;
    }
    let graph = Arc::new(graph);
    let plan = Plan::new(graph.clone());
    let kept = values_to_keep(&graph, &options.mid)?;
    let inputs = match &options.inputs {
        Some(path) => read_inputs(&graph, path).map_err(|error| error.to_string())?,
        None => {
            let need = Need::of_evaluation(&graph, &graph.typical, options.batch as usize, !options.no_opt);
            fits_memory(options.device, need)?;
            draw_inputs(&graph, &plan, options.batch, options.seed)?
        }
    };
    let bindings = plan.bind(&inputs).map_err(|error| error.to_string())?;
    let need = Need::of_evaluation(&graph, &bindings.sizes, bindings.batch, !options.no_opt);
    fits_memory(options.device, need.clone())?;
    output::print(&summary(&graph, &bindings.sizes));

    let weights = options.weights.as_deref().map(TensorFile::open).transpose().map_err(|error| error.to_string())?;
    let source = weights.as_ref().map_or(Weights::Seed(options.seed), Weights::File);
    let start = Instant::now();
    let session = open_as(&graph, options.device.into(), source, passes(options.no_opt), options.dtype.into())
        .map_err(|error| error.to_string())?;
    session.materialize();
    let what = if weights.is_some() { "loaded" } else { "initialised" };
    // The file is mapped into memory while it is open.
    drop(weights);
    output::line(format!("{what} in {:.2} s, batch {}", start.elapsed().as_secs_f64(), bindings.batch));

    let request = Request {
        inputs,
        gradients: options.gradients,
        keep: kept.iter().flat_map(|(_, nodes)| nodes.iter().copied()).collect(),
    };
    let response = session.run(&request).map_err(|error| error.to_string())?;
    output::line(format!("forward pass in {:.1} ms", response.time.as_secs_f64() * 1e3));
    // Gradients and values that are kept are not part of the prediction.
    if let (Ok(need), false, []) = (need, options.gradients, &*kept) {
        output::line(memory(need, peak_memory()));
    }
    output::line(String::new());
    output::print(&statistics(&graph, &response));
    output::print(&zero_remark(&graph, &response));
    if let Some(path) = &options.output {
        let tensors = collect(&graph, &response, &kept);
        tensors::write(path, &tensors).map_err(|error| error.to_string())?;
        output::line(format!("{} tensors written to {}", tensors.len(), path.display()));
    }
    Ok(Outcome::Clean)
}

/// The passes that `--no-opt` leaves.
pub fn passes(no_opt: bool) -> Passes {
    if no_opt { Passes::None } else { Passes::All }
}

/// Refuses what there is too little memory for before any of it is allocated. Sizes that nothing says are asked for where
/// inputs are drawn.
pub fn fits_memory(device: Device, need: Result<Need, Unbound>) -> Result<(), String> {
    match (device, need) {
        (Device::Cpu, Ok(need)) => need.check().map_err(|error| error.to_string()),
        _ => Ok(()),
    }
}

/// What was predicted to be in memory at once, beside what was.
pub fn memory(need: Need, measured: Option<u64>) -> String {
    format!(
        "memory: {} predicted, {} for parameters and {} for values; {} measured for the process",
        output::bytes(need.total()),
        output::bytes(need.parameters),
        output::bytes(need.values),
        measured.map_or("unknown".to_owned(), output::bytes),
    )
}

/// Says before a long run that its result could not be written.
pub fn can_write(path: &Path) -> Result<(), String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_dir() {
        return Err(format!("{}: this is a folder", path.display()));
    }
    if !folder.is_dir() {
        return Err(format!("{}: there is no folder {}", path.display(), folder.display()));
    }
    Ok(())
}

/// The values behind paths, with the names they are written under.
fn values_to_keep(graph: &Graph, paths: &[String]) -> Result<Vec<(String, Vec<NodeId>)>, String> {
    let mut kept = vec![];
    for path in paths {
        if path == "all" {
            kept.extend(all_paths(graph).into_iter().map(|path| (path.clone(), graph.find(&path))));
            continue;
        }
        kept.push((path.clone(), values_behind(graph, path)?));
    }
    Ok(kept)
}

/// The values behind a path, at least one.
pub fn values_behind(graph: &Graph, path: &str) -> Result<Vec<NodeId>, String> {
    let nodes = graph.find(path);
    if nodes.is_empty() {
        let known = all_paths(graph);
        let hint = did_you_mean(path, known.iter().map(String::as_str)).map(|hint| format!("; {hint}"));
        return Err(RunError::UnknownPath { path: path.to_owned(), hint: hint.unwrap_or_default() }.to_string());
    }
    Ok(nodes)
}

/// The paths of all scopes and labelled calls, in order of first appearance.
fn all_paths(graph: &Graph) -> Vec<String> {
    let mut paths: Vec<String> = vec![];
    let mut seen = std::collections::BTreeSet::new();
    let scopes = graph.scope_ids().map(|scope| graph.scope(scope)).filter(|scope| !scope.outputs.is_empty());
    let scopes = scopes.map(|scope| scope.path.to_string());
    let nodes = graph.node_ids().filter_map(|node| graph.node(node).path.as_ref().map(|path| path.to_string()));
    for path in scopes.chain(nodes) {
        if !path.is_empty() && seen.insert(path.clone()) {
            paths.push(path);
        }
    }
    paths
}

pub fn read_inputs(graph: &Graph, path: &Path) -> Result<Vec<HostTensor>, RunError> {
    let file = TensorFile::open(path)?;
    let tensors = file.tensors()?;
    let names = tensors.names();
    let mut inputs = vec![];
    let mut problems = vec![];
    for input in &graph.inputs {
        let candidates = [input.name.to_string(), format!("in.{}", input.name)];
        match candidates.iter().find(|name| names.contains(name)) {
            Some(name) => inputs.push(tensors.read(name)?),
            None => {
                let ty = &graph.node(input.node).ty;
                problems.push(format!("  {}: there is no `{}` ({ty})", path.display(), input.name));
            }
        }
    }
    if problems.is_empty() { Ok(inputs) } else { Err(RunError::Inputs { problems }) }
}

/// Sizes that nothing says, as arguments to say them with.
pub fn open_sizes(graph: &Graph) -> Vec<String> {
    let open = graph.symbols().into_iter().filter(|symbol| !graph.typical.contains_key(symbol));
    open.map(|symbol| format!("--set {symbol}=..")).collect()
}

/// Inputs of the sizes that are typical, with normal features.
pub fn draw_inputs(graph: &Graph, plan: &Plan, batch: u32, seed: u64) -> Result<Vec<HostTensor>, String> {
    let missing = open_sizes(graph);
    if !missing.is_empty() {
        let list = missing.join(" ");
        return Err(format!("the inputs need sizes: give {list}, or the inputs themselves with --inputs"));
    }
    let bindings = Bindings { batch: batch as usize, sizes: graph.typical.clone() };
    let draw = |input: &archc_compiler::ir::Input| {
        let ty = &graph.node(input.node).ty;
        init::input(ty.kind, init::classes(ty), plan.shape_of(ty, &bindings), seed, &input.name)
    };
    Ok(graph.inputs.iter().map(draw).collect())
}

/// Hyperparameters and cost of the model, for one sample.
fn summary(graph: &Graph, sizes: &Sizes) -> String {
    let values: Vec<String> = graph.hyperparameters.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let colon = if values.is_empty() { "" } else { ": " };
    let mut text = format!("{}{colon}{}\n\n", graph.name(), values.join(", "));
    let Ok(costs) = Costs::of(graph, sizes) else { return text };
    let row = |name: &str, cost: archc_compiler::analysis::cost::Cost| {
        vec![
            name.to_owned(),
            output::count(cost.parameters),
            output::count(cost.flops),
            output::bytes(cost.activations),
        ]
    };
    let mut rows: Vec<Vec<String>> = costs.top_level(graph).iter().map(|(name, cost)| row(name, *cost)).collect();
    rows.push(row("total", costs.total()));
    text.push_str(&output::table(&["part", "parameters", "FLOPs", "activations"], &rows, &[1, 2, 3]));
    text.push_str(&format!("per sample, f32; at most {} of activations alive at once\n\n", output::bytes(costs.peak)));
    text
}

fn statistics(graph: &Graph, response: &Response) -> String {
    let row = |(output, tensor): (&archc_compiler::ir::Output, &HostTensor)| {
        let statistics = tensor.statistics();
        vec![
            output_name(&output.name),
            format!("{:?}", tensor.shape),
            figure(statistics.mean),
            figure(statistics.std),
            figure(f64::from(statistics.min)),
            figure(f64::from(statistics.max)),
            statistics.not_finite.to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = graph.outputs.iter().zip(&response.outputs).map(row).collect();
    let mut text =
        output::table(&["output", "shape", "mean", "std", "min", "max", "not finite"], &rows, &[2, 3, 4, 5, 6]);
    if let Some(loss) = response.loss {
        text.push_str(&format!("loss (mean square of the output) {}\n", figure(f64::from(loss))));
    }
    text
}

/// Four significant digits.
fn figure(value: f64) -> String {
    let rounded = format!("{value:.3e}");
    if value.abs() >= 1e6 { rounded } else { rounded.parse().map_or(rounded, short) }
}

/// A newcomer who sees zeros wonders what is broken; nothing is, if the spec says so.
fn zero_remark(graph: &Graph, response: &Response) -> String {
    let zero = |tensor: &HostTensor| tensor.statistics().min == 0.0 && tensor.statistics().max == 0.0;
    let liveness = Liveness::of(graph);
    let by_design = graph
        .outputs
        .iter()
        .zip(&response.outputs)
        .find(|(output, tensor)| zero(tensor) && liveness.starts_zero(output.node));
    match by_design {
        Some((output, _)) => {
            format!("`{}` is exactly zero: the spec initialises its last layer at zero\n", output_name(&output.name))
        }
        None => String::new(),
    }
}

/// `out` for the main output, `out.name` for the others.
fn output_name(name: &str) -> String {
    if name == "out" { name.to_owned() } else { format!("out.{name}") }
}

fn collect(graph: &Graph, response: &Response, kept: &[(String, Vec<NodeId>)]) -> BTreeMap<String, HostTensor> {
    let mut tensors = BTreeMap::new();
    for (output, tensor) in graph.outputs.iter().zip(&response.outputs) {
        tensors.insert(output_name(&output.name), tensor.clone());
    }
    for (path, nodes) in kept {
        for (at, node) in nodes.iter().enumerate() {
            let Some(tensor) = response.kept.get(node) else { continue };
            let name = if nodes.len() == 1 { format!("mid.{path}") } else { format!("mid.{path}#{at}") };
            tensors.insert(name, tensor.clone());
        }
    }
    if let Some(loss) = response.loss {
        tensors.insert("loss".to_owned(), HostTensor::f32(vec![], vec![loss]));
    }
    for (name, gradient) in &response.parameter_gradients {
        tensors.insert(format!("grad.{name}"), gradient.clone());
    }
    for (at, gradient) in &response.input_gradients {
        let name = graph.inputs.get(*at).map_or_else(String::new, |input| input.name.to_string());
        tensors.insert(format!("grad.in.{name}"), gradient.clone());
    }
    tensors
}
