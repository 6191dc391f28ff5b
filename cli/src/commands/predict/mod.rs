//! `archc predict`

mod precision;
mod report;
mod svg;
mod text;

use crate::args::{self, FloatFormat, Predict, PredictFormat};
use crate::{Outcome, output, target};
use archc_compiler::analysis::precision::{Format, precision};
use archc_compiler::analysis::signal::blocks::covering;
use archc_compiler::analysis::signal::{Signal, Statistics};
use archc_compiler::ir::{Graph, NodeId, ScopeId};
use archc_compiler::types::Kind;
use precision::InFewBits;
use report::Subject;
pub use text::figure;

/// What goes into the model at a noise level, from the command line.
pub fn statistics(options: &args::Images, sigma: Option<f64>) -> Statistics {
    match sigma {
        Some(sigma) => Statistics::noisy(sigma, options.sigma_data, options.correlation),
        None => Statistics::default(),
    }
}

pub fn run(options: &Predict) -> Result<Outcome, String> {
    let Some((compiled, graph)) = target::graph(&options.target)? else { return Ok(Outcome::Findings) };
    let sigmas = match options.sigma.as_slice() {
        [] => vec![None],
        given => given.iter().copied().map(Some).collect(),
    };
    let signals: Vec<(Option<f64>, Signal)> =
        sigmas.into_iter().map(|sigma| (sigma, Signal::with(&graph, &statistics(&options.images, sigma)))).collect();
    let subject = Subject { graph: &graph, sources: &compiled.program.sources, findings: &compiled.diagnostics };
    let (cut, depth) = (covering(&graph), options.depth);
    // A picture follows the stream from block to block; a table may show blocks within blocks.
    let wanted = |scope: &ScopeId| match (depth, options.format) {
        (None, PredictFormat::Svg) => cut.contains(scope),
        _ => level(&graph, *scope) <= depth.unwrap_or(1),
    };
    let mut prediction = subject.predict(&signals, &wanted);
    if let Some(format) = options.dtype {
        let format = match format {
            FloatFormat::F16 => Format::F16,
            FloatFormat::Bf16 => Format::Bf16,
            FloatFormat::F32 => Format::F32,
        };
        // What any noise level needs is what all of them together need: each is listed by itself.
        let of = |(_, signal): &(Option<f64>, Signal)| {
            InFewBits::of(&graph, &precision(&graph, signal, format, options.margin), options.margin)
        };
        prediction.precision = signals.iter().map(of).collect();
    }
    match options.format {
        PredictFormat::Json => {
            output::line(serde_json::to_string_pretty(&prediction).map_err(|error| error.to_string())?);
        }
        PredictFormat::Table => output::print(&text::table(&prediction)),
        PredictFormat::Lines => output::print(&text::lines(&prediction)),
        PredictFormat::Svg => output::print(&svg::draw(&prediction)),
    }
    Ok(Outcome::Clean)
}

/// Whether a value has elements that can be predicted; labels are indices.
pub fn has_numbers(graph: &Graph, id: NodeId) -> bool {
    let kind = graph.node(id).ty.kind;
    !matches!(kind, Kind::Label | Kind::Ids | Kind::Mask) && !kind.is_scalar()
}

/// How many blocks a scope lies in.
fn level(graph: &Graph, scope: ScopeId) -> usize {
    graph.enclosing(scope).count().saturating_sub(1)
}
