//! `archc predict`

mod precision;
mod report;
mod svg;
mod text;

use crate::args::{self, Predict, PredictFormat};
use crate::{Outcome, output, target};
use archc_compiler::analysis::precision::{Format, precision};
use archc_compiler::analysis::signal::Signal;
use archc_compiler::analysis::signal::blocks::covering;
use archc_compiler::ir::{Graph, NodeId, ScopeId};
use archc_compiler::settings::{Autocorrelation, Data, Inputs};
use archc_compiler::types::Kind;
use precision::InFewBits;
use report::Subject;
#[cfg(feature = "run")]
pub use text::figure;

/// What is declared of inputs, with what the command line says of images and noise levels.
pub fn inputs(declared: &Inputs, images: &args::Images, sigmas: &[f64]) -> Result<Inputs, String> {
    let mut inputs = declared.clone();
    if !sigmas.is_empty() {
        inputs.sigma = Some(sigmas.to_vec());
    }
    if images.sigma_data.is_none() && images.correlation.is_none() {
        return Ok(inputs);
    }
    if inputs.sigma.is_none() {
        return Err(
            "`--sigma-data` and `--correlation` go with `--sigma`, or with noise levels in archc.yaml".to_owned()
        );
    }
    let data = inputs.data.unwrap_or_default();
    inputs.data = Some(Data {
        std: images.sigma_data.unwrap_or(data.std),
        autocorrelation: images.correlation.map_or(data.autocorrelation, Autocorrelation::Neighbours),
    });
    Ok(inputs)
}

pub fn run(options: &Predict) -> Result<Outcome, String> {
    let Some((compiled, graph, declared)) = target::declared_graph(&options.target)? else {
        return Ok(Outcome::Findings);
    };
    let inputs = inputs(&declared.inputs, &options.images, &options.sigma)?;
    let sigmas = match &inputs.sigma {
        None => vec![None],
        Some(given) => given.iter().copied().map(Some).collect(),
    };
    let signals: Vec<(Option<f64>, Signal)> =
        sigmas.into_iter().map(|sigma| (sigma, Signal::with(&graph, &inputs.at(sigma)))).collect();
    let subject = Subject { graph: &graph, sources: &compiled.program.sources, findings: &compiled.diagnostics };
    let (cut, depth) = (covering(&graph), options.depth);
    // A picture follows the stream from block to block; a table may show blocks within blocks.
    let wanted = |scope: &ScopeId| match (depth, options.format) {
        (None, PredictFormat::Svg) => cut.contains(scope),
        _ => level(&graph, *scope) <= depth.unwrap_or(1),
    };
    let mut prediction = subject.predict(&signals, &wanted);
    if let Some(format) = options.dtype.map(Format::from).or(declared.dtype) {
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
