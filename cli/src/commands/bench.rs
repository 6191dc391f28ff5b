//! `archc bench`

use super::run::{draw_inputs, fits_memory, memory, passes, read_inputs};
use crate::args::{Bench, ReportFormat};
use crate::{Outcome, output, target};
use archc_compiler::analysis::cost::{Costs, Unbound};
use archc_compiler::dim::Sizes;
use archc_compiler::ir::Graph;
use archc_runtime::memory::Need;
use archc_runtime::plan::Plan;
use archc_runtime::tensors::TensorFile;
use archc_runtime::{Request, Weights, bench, open_as};
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Operations of a backward pass are about twice those of the forward pass: one product for the input of each layer,
/// one for its weight.
const TRAINING: f64 = 3.0;

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    work: &'static str,
    batch: usize,
    parameters: u64,
    /// Seconds until the parameters were there.
    load_s: f64,
    /// Seconds of each counted run.
    runs_s: Vec<f64>,
    median_s: f64,
    min_s: f64,
    max_s: f64,
    samples_per_s: f64,
    /// Operations of one run, a multiply-add counting as two; three times the forward pass for a training step.
    flop: f64,
    flop_per_s: f64,
    /// What a product of two matrices of 1024 x 1024 reaches here.
    matmul_flop_per_s: f64,
    /// Bytes in f32: parameters, and for training what AdamW keeps of them.
    predicted_parameters: u64,
    /// The most values alive at once, or for training all of them.
    predicted_values: u64,
    /// Bytes the whole process has had at most, where the system tells.
    measured_memory: Option<u64>,
}

pub fn run(options: &Bench) -> Result<Outcome, String> {
    if let Some(threads) = options.threads {
        bench::use_threads(threads as usize).map_err(|error| error.to_string())?;
    }
    let Some((_, graph)) = target::graph(&options.target)? else { return Ok(Outcome::Findings) };
    let graph = Arc::new(graph);
    let plan = Plan::new(graph.clone());
    let inputs = match &options.inputs {
        Some(path) => read_inputs(&graph, path).map_err(|error| error.to_string())?,
        None => {
            fits_memory(options.device, least(options, &graph, &graph.typical, options.batch as usize))?;
            draw_inputs(&graph, &plan, options.batch, options.seed)?
        }
    };
    let bindings = plan.bind(&inputs).map_err(|error| error.to_string())?;
    fits_memory(options.device, least(options, &graph, &bindings.sizes, bindings.batch))?;
    let unknown = |_| "a size of the inputs is unknown".to_owned();
    let costs = Costs::of(&graph, &bindings.sizes).map_err(unknown)?;
    let need = if options.train {
        Need::of_training(&graph, &bindings.sizes, bindings.batch)
    } else {
        Need::of_evaluation(&graph, &bindings.sizes, bindings.batch, !options.no_opt)
    };
    let need = need.map_err(unknown)?;

    let weights = options.weights.as_deref().map(TensorFile::open).transpose().map_err(|error| error.to_string())?;
    let source = weights.as_ref().map_or(Weights::Seed(options.seed), Weights::File);
    let start = Instant::now();
    let mut session = open_as(&graph, options.device.into(), source, passes(options.no_opt), options.dtype.into())
        .map_err(|error| error.to_string())?;
    session.materialize();
    let load = start.elapsed();
    // The file is mapped into memory while it is open.
    drop(weights);

    let (warmup, repeats) = (options.warmup as usize, options.repeats as usize);
    let times: Vec<Duration> = if options.train {
        session.training_steps(&inputs, warmup + repeats).map_err(|error| error.to_string())?
    } else {
        let request = Request { inputs, ..Request::default() };
        let run = |_| session.run(&request).map(|response| response.time).map_err(|error| error.to_string());
        (0..warmup + repeats).map(run).collect::<Result<_, _>>()?
    };
    // Before the products of the ceiling, which need memory too.
    let measured_memory = bench::peak_memory();
    let runs: Vec<f64> = times.iter().skip(warmup).map(Duration::as_secs_f64).collect();
    let mut sorted = runs.clone();
    sorted.sort_by(f64::total_cmp);
    let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
    let median = (at(sorted.len().saturating_sub(1) / 2) + at(sorted.len() / 2)) / 2.0;
    let batch = bindings.batch;
    let flop = costs.total().flops as f64 * batch as f64 * if options.train { TRAINING } else { 1.0 };
    let parameters = costs.total().parameters;
    let report = Report {
        model: graph.name().to_owned(),
        work: if options.train { "training step" } else { "forward pass" },
        batch,
        parameters,
        load_s: load.as_secs_f64(),
        median_s: median,
        min_s: at(0),
        max_s: at(sorted.len().saturating_sub(1)),
        runs_s: runs,
        samples_per_s: batch as f64 / median,
        flop,
        flop_per_s: flop / median,
        matmul_flop_per_s: session.matmul_ceiling(),
        predicted_parameters: need.parameters,
        predicted_values: need.values,
        measured_memory,
    };
    match options.format {
        ReportFormat::Json => {
            output::line(serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?);
        }
        ReportFormat::Pretty => output::print(&text(&report)),
    }
    Ok(Outcome::Clean)
}

/// What the run needs at least.
fn least(options: &Bench, graph: &Graph, sizes: &Sizes, batch: usize) -> Result<Need, Unbound> {
    if options.train {
        Need::least_of_training(graph, sizes, batch)
    } else {
        Need::of_evaluation(graph, sizes, batch, !options.no_opt)
    }
}

fn text(report: &Report) -> String {
    let milliseconds = |seconds: f64| format!("{:.1} ms", seconds * 1e3);
    let need = Need { parameters: report.predicted_parameters, values: report.predicted_values };
    format!(
        "{}, batch {}, {} parameters, there after {:.2} s\n\
         {}: {} (median of {}, {} to {}), {:.1} samples/s\n\
         {}FLOP/s, {:.0} % of the {}FLOP/s of a matrix product\n\
         {}\n",
        report.model,
        report.batch,
        output::count(report.parameters),
        report.load_s,
        report.work,
        milliseconds(report.median_s),
        report.runs_s.len(),
        milliseconds(report.min_s),
        milliseconds(report.max_s),
        report.samples_per_s,
        output::count(report.flop_per_s as u64),
        100.0 * report.flop_per_s / report.matmul_flop_per_s,
        output::count(report.matmul_flop_per_s as u64),
        memory(need, report.measured_memory),
    )
}
