//! `archc probe`

use super::predict::{figure, has_numbers};
use crate::args::{Probe, ReportFormat};
use crate::{Outcome, output, target};
use archc_compiler::analysis::moments::{Class, Estimate};
use archc_compiler::analysis::signal::Signal;
use archc_compiler::analysis::signal::backward::cotangents;
use archc_compiler::analysis::signal::blocks::{covering, disjoint};
use archc_compiler::ir::Graph;
use archc_compiler::settings::Inputs;
use archc_compiler::types::Kind;
use archc_runtime::plan::{Bindings, Plan};
use archc_runtime::probe::{self, Figure};
use archc_runtime::{HostData, HostTensor, init};
use serde::Serialize;
use std::sync::Arc;

/// Standard errors of a mean over so many draws that a claim is not held to: what one mean in a thousand is off by, since
/// a model makes hundreds of claims. Student's t, expanded around the normal distribution (Fisher & Cornish 1960).
fn sampling(draws: u64) -> f64 {
    const NORMAL: f64 = 3.2905;
    let (z, freedom) = (NORMAL, draws.max(2) as f64 - 1.0);
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    z + first / freedom + second / (freedom * freedom)
}

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    seeds: u64,
    forward: Summary,
    /// Mean squares of means over positions.
    shared: Summary,
    backward: Summary,
    /// Everything that was compared.
    claims: Vec<Claim>,
    #[serde(skip)]
    broken: Vec<Claim>,
}

#[derive(Debug, Default, Serialize)]
struct Summary {
    compared: usize,
    unknown: usize,
    /// Of what is not zero, in prediction and measurement.
    median_error: f64,
    error_95: f64,
    broken: usize,
}

/// A figure beside its prediction.
#[derive(Clone, Debug, Serialize)]
struct Claim {
    place: String,
    what: &'static str,
    predicted: f64,
    measured: f64,
    standard_error: f64,
    error: f64,
    class: Class,
    held: bool,
}

pub fn run(options: &Probe) -> Result<Outcome, String> {
    let Some((_, graph, declared)) = target::declared_graph(&options.target)? else {
        return Ok(Outcome::Findings);
    };
    let given: Vec<f64> = options.sigma.into_iter().collect();
    let declared = super::predict::inputs(&declared.inputs, &options.images, &given)?;
    let graph = Arc::new(graph);
    let missing: Vec<String> = super::run::open_sizes(&graph);
    if !missing.is_empty() {
        return Err(format!("the inputs need sizes: give {}", missing.join(" ")));
    }
    if options.wake_up {
        return super::wake::run(options, &graph);
    }
    let signal = Signal::with(&graph, &declared.statistics());
    let blocks = options.depth.map_or_else(|| covering(&graph), |depth| disjoint(&graph, depth));
    let predicted = cotangents(&graph, &signal, |scope| blocks.contains(scope));
    let request = probe::Probe { seeds: options.seeds, batch: options.batch as usize, blocks };
    let inputs = |seed, plan: &Plan, bindings: &Bindings| draw(&graph, plan, bindings, seed, &declared);
    let measured = probe::measure(&graph, &request, inputs).map_err(|error| error.to_string())?;

    let mut forward = Comparison::new(options.seeds);
    for (node, figure) in &measured.values {
        if has_numbers(&graph, *node) && graph.node(*node).op().is_some() {
            forward.compare(|| graph.place(*node), "value", signal.at(*node), *figure);
        }
    }
    let mut shared = Comparison::new(options.seeds);
    for (node, figure) in &measured.shared {
        if has_numbers(&graph, *node) && graph.node(*node).op().is_some() {
            let predicted = signal.shared(&graph, *node);
            shared.compare(|| graph.place(*node), "shared", &predicted, *figure);
        }
    }
    let mut backward = Comparison::new(options.seeds);
    for (scope, own) in &predicted {
        for input in own.arriving().iter().chain(own.members()) {
            if let (Some(figure), true) = (measured.gradients.get(&(*scope, *input)), has_numbers(&graph, *input)) {
                let place = || format!("{} <- {}", graph.scope(*scope).path, graph.place(*input));
                backward.compare(place, "gain", own.at(*input), *figure);
            }
        }
    }
    let mut broken: Vec<Claim> = forward.claims.iter().chain(&backward.claims).filter(|c| !c.held).cloned().collect();
    broken.sort_by(|a, b| b.error.total_cmp(&a.error));
    let report = Report {
        model: graph.name().to_owned(),
        seeds: options.seeds,
        forward: forward.summary(),
        shared: shared.summary(),
        backward: backward.summary(),
        claims: forward.claims.into_iter().chain(shared.claims).chain(backward.claims).collect(),
        broken,
    };
    match options.format {
        ReportFormat::Json => {
            output::line(serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?);
        }
        ReportFormat::Pretty => output::print(&text(&report)),
    }
    Ok(if report.broken.is_empty() { Outcome::Clean } else { Outcome::Findings })
}

/// Features with the declared statistics, everything else as the model would see it.
fn draw(graph: &Graph, plan: &Plan, bindings: &Bindings, seed: u64, declared: &Inputs) -> Vec<HostTensor> {
    let statistics = declared.statistics();
    let correlation = declared.data.unwrap_or_default().autocorrelation.of_neighbours();
    let scale = statistics.scale(graph);
    let share = statistics.sigma_data.powi(2) / statistics.total();
    let draw = |input: &archc_compiler::ir::Input| {
        let ty = &graph.node(input.node).ty;
        let shape = plan.shape_of(ty, bindings);
        if let (Some(own), false) = (declared.inputs.get(&*input.name), ty.kind.is_index()) {
            return init::in_common(ty.kind, shape, [own.mean, own.std, own.correlation], seed, &input.name);
        }
        let mut drawn = match (ty.kind, declared.highest()) {
            (Kind::Sigma, _) => {
                let count = shape.iter().product();
                return HostTensor::f32(shape, vec![statistics.sigma as f32; count]);
            }
            (Kind::Image, Some(_)) => init::noisy_image(shape, share, correlation, seed, &input.name),
            _ => init::input(ty.kind, init::classes(ty), shape, seed, &input.name),
        };
        if let (HostData::F32(values), true) = (&mut drawn.data, ty.kind.has_positions()) {
            values.iter_mut().for_each(|value| *value *= scale as f32);
        }
        drawn
    };
    graph.inputs.iter().map(draw).collect()
}

#[derive(Default)]
struct Comparison {
    /// Standard errors that a claim is not held to.
    sampling: f64,
    claims: Vec<Claim>,
    unknown: usize,
}

impl Comparison {
    fn new(seeds: u64) -> Self {
        Self { sampling: sampling(seeds), ..Self::default() }
    }

    fn compare(&mut self, place: impl Fn() -> String, what: &'static str, predicted: &Estimate, measured: Figure) {
        let Ok(moments) = predicted else {
            self.unknown += 1;
            return;
        };
        let predicted = moments.square();
        let off = (predicted - measured.mean).abs();
        let scale = predicted.max(measured.mean);
        let error = if scale == 0.0 { 0.0 } else { off / scale };
        let held = off <= moments.class.tolerance() * scale + self.sampling * measured.error;
        self.claims.push(Claim {
            place: place(),
            what,
            predicted,
            measured: measured.mean,
            standard_error: measured.error,
            error,
            class: moments.class,
            held,
        });
    }

    fn summary(&self) -> Summary {
        // That nothing is nothing is a claim too, but no closeness to boast of.
        let some = self.claims.iter().filter(|claim| claim.predicted != 0.0 || claim.measured != 0.0);
        let mut errors: Vec<f64> = some.map(|claim| claim.error).collect();
        errors.sort_by(f64::total_cmp);
        let quantile = |share: f64| {
            let at = ((errors.len() as f64 - 1.0).max(0.0) * share).round() as usize;
            errors.get(at).copied().unwrap_or(0.0)
        };
        Summary {
            compared: self.claims.len(),
            unknown: self.unknown,
            median_error: quantile(0.5),
            error_95: quantile(0.95),
            broken: self.claims.iter().filter(|claim| !claim.held).count(),
        }
    }
}

fn text(report: &Report) -> String {
    let row = |name: &str, summary: &Summary| {
        vec![
            name.to_owned(),
            summary.compared.to_string(),
            summary.unknown.to_string(),
            format!("{:.1} %", 100.0 * summary.median_error),
            format!("{:.1} %", 100.0 * summary.error_95),
            summary.broken.to_string(),
        ]
    };
    let rows = [row("forward", &report.forward), row("shared", &report.shared), row("backward", &report.backward)];
    let header = ["", "compared", "unknown", "median error", "95 %", "claims broken"];
    let mut text = format!("{}: mean squares over {} draws\n\n", report.model, report.seeds);
    text.push_str(&output::table(&header, &rows, &[1, 2, 3, 4, 5]));
    if !report.broken.is_empty() {
        let rows: Vec<Vec<String>> = report
            .broken
            .iter()
            .take(30)
            .map(|claim| {
                vec![
                    claim.place.clone(),
                    figure(claim.predicted),
                    figure(claim.measured),
                    format!("{:.0} %", 100.0 * claim.error),
                    claim.class.name().to_owned(),
                ]
            })
            .collect();
        text.push('\n');
        text.push_str(&output::table(
            &["claim broken", "predicted", "measured", "error", "promise"],
            &rows,
            &[1, 2, 3],
        ));
    }
    text
}
