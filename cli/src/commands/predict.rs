//! `archc predict`

use crate::args::{self, Predict, PredictFormat};
use crate::{Outcome, output, target};
use archc_compiler::analysis::moments::{Class, Estimate};
use archc_compiler::analysis::signal::backward::{Gain, gains};
use archc_compiler::analysis::signal::{Signal, Statistics};
use archc_compiler::ir::{Graph, NodeId, ScopeId};
use archc_compiler::source::SourceMap;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Debug, Serialize)]
struct Prediction {
    model: String,
    /// Values of which nothing can be said, with the reason.
    unknown: Vec<Missing>,
    values: usize,
    blocks: Vec<Block>,
    lines: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Missing {
    reason: String,
    values: usize,
}

/// A block with what goes in and comes out.
#[derive(Debug, Serialize)]
struct Block {
    path: String,
    name: String,
    /// Mean squares, of what it is given first and of what it makes.
    input: Option<f64>,
    output: Option<f64>,
    /// How many times larger the mean square of a gradient is behind it, on its way back.
    gain: Option<f64>,
    class: Option<Class>,
}

/// A line of the source with the mean squares of what it makes, over all its instances.
#[derive(Debug, Serialize)]
struct Line {
    file: String,
    line: usize,
    least: f64,
    most: f64,
    text: String,
}

/// What goes into the model, from the command line.
pub fn statistics(options: &args::Inputs) -> Statistics {
    match options.sigma {
        Some(sigma) => Statistics::noisy(sigma, options.sigma_data, options.correlation),
        None => Statistics::default(),
    }
}

pub fn run(options: &Predict) -> Result<Outcome, String> {
    let Some((compiled, graph)) = target::graph(&options.target)? else { return Ok(Outcome::Findings) };
    let signal = Signal::with(&graph, &statistics(&options.inputs));
    let prediction = prediction(&graph, &signal, &compiled.program.sources, options.depth);
    match options.format {
        PredictFormat::Json => {
            output::line(serde_json::to_string_pretty(&prediction).map_err(|error| error.to_string())?);
        }
        PredictFormat::Table => output::print(&table(&prediction)),
        PredictFormat::Lines => output::print(&lines(&prediction)),
    }
    Ok(Outcome::Clean)
}

fn prediction(graph: &Graph, signal: &Signal, sources: &SourceMap, depth: usize) -> Prediction {
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for id in graph.node_ids().filter(|id| has_numbers(graph, *id)) {
        if let Err(reason) = signal.at(id) {
            *reasons.entry(reason.to_string()).or_default() += 1;
        }
    }
    let mut reasons: Vec<Missing> = reasons.into_iter().map(|(reason, values)| Missing { reason, values }).collect();
    reasons.sort_by_key(|missing| std::cmp::Reverse(missing.values));
    let shown = |scope: &ScopeId| level(graph, *scope) <= depth;
    let found = gains(graph, signal, shown);
    Prediction {
        model: graph.name().to_owned(),
        unknown: reasons,
        values: graph.node_ids().filter(|id| has_numbers(graph, *id)).count(),
        blocks: found.iter().map(|(scope, gains)| block(graph, signal, *scope, gains)).collect(),
        lines: source_lines(graph, signal, sources),
    }
}

/// Whether a value has elements that can be predicted; labels are indices.
pub fn has_numbers(graph: &Graph, id: NodeId) -> bool {
    use archc_compiler::types::Kind;
    let kind = graph.node(id).ty.kind;
    !matches!(kind, Kind::Label | Kind::Ids | Kind::Mask) && !kind.is_scalar()
}

/// How many blocks a scope lies in.
fn level(graph: &Graph, scope: ScopeId) -> usize {
    graph.enclosing(scope).count().saturating_sub(1)
}

fn block(graph: &Graph, signal: &Signal, scope: ScopeId, gains: &[Gain]) -> Block {
    let own = graph.scope(scope);
    let square = |node: NodeId| signal.square(node);
    // The stream: the first declared input with positions that an output has the type of, else any.
    let ty = |node: NodeId| &graph.node(node).ty;
    let continues = |gain: &&Gain| own.outputs.iter().any(|output| ty(*output) == ty(gain.input));
    let declared = own.inputs.iter().filter_map(|(_, node)| gains.iter().find(|gain| gain.input == *node));
    let input = declared
        .chain(gains)
        .filter(|gain| ty(gain.input).kind.has_positions())
        .max_by_key(|gain| continues(gain))
        .or(gains.first());
    let same = input.and_then(|gain| own.outputs.iter().rfind(|output| ty(**output) == ty(gain.input)));
    let output = same.or(own.outputs.first()).copied();
    let class = |estimate: &Estimate| estimate.as_ref().ok().map(|moments| moments.class);
    Block {
        path: own.path.to_string(),
        name: own.name.to_string(),
        input: input.and_then(|gain| square(gain.input)),
        output: output.and_then(square),
        gain: input.and_then(|gain| gain.gain.as_ref().ok()).map(|moments| moments.square()),
        class: output.and_then(|node| class(signal.at(node))).max(input.and_then(|gain| class(&gain.gain))),
    }
}

fn source_lines(graph: &Graph, signal: &Signal, sources: &SourceMap) -> Vec<Line> {
    let mut lines: BTreeMap<(String, usize), (f64, f64, String)> = BTreeMap::new();
    for id in graph.node_ids() {
        let (Some(square), span) = (signal.square(id), graph.node(id).span) else { continue };
        if graph.node(id).op().is_none() || sources.is_library(span.file) {
            continue;
        }
        let Some(source) = sources.get(span.file) else { continue };
        let (line, _) = sources.line_column(span);
        let text = source.text.lines().nth(line - 1).unwrap_or("").trim().to_owned();
        let entry = lines.entry((source.name.to_string(), line)).or_insert((f64::INFINITY, 0.0, text));
        *entry = (entry.0.min(square), entry.1.max(square), std::mem::take(&mut entry.2));
    }
    let line = |((file, line), (least, most, text))| Line { file, line, least, most, text };
    lines.into_iter().map(line).collect()
}

fn table(prediction: &Prediction) -> String {
    let rows: Vec<Vec<String>> = prediction
        .blocks
        .iter()
        .map(|block| {
            let path = if block.path.is_empty() { "(model)" } else { &block.path };
            let class = block.class.map_or("", Class::name).to_owned();
            let cells = [block.input, block.output, block.gain].map(cell);
            let mut row = vec![path.to_owned(), block.name.clone()];
            row.extend(cells);
            row.push(class);
            row
        })
        .collect();
    let mut text = format!("{}: mean squares at initialisation\n\n", prediction.model);
    text.push_str(&output::table(&["block", "", "in", "-> out", "<- gain", "promise"], &rows, &[2, 3, 4]));
    for missing in &prediction.unknown {
        text.push_str(&format!("\n{} of {} values unknown: {}", missing.values, prediction.values, missing.reason));
    }
    text.push_str("\n`<- gain`: the mean square of a gradient before the block, for one behind it\n");
    text
}

fn lines(prediction: &Prediction) -> String {
    let mut text = String::new();
    let mut file = "";
    for line in &prediction.lines {
        if line.file != file {
            file = &line.file;
            text.push_str(&format!("{file}\n"));
        }
        let range = if line.most - line.least <= 0.005 * line.most {
            figure(line.most)
        } else {
            format!("{} .. {}", figure(line.least), figure(line.most))
        };
        text.push_str(&format!("{:>5}  {range:<16}  {}\n", line.line, line.text));
    }
    text
}

fn cell(value: Option<f64>) -> String {
    value.map_or("?".to_owned(), figure)
}

/// Three digits.
pub fn figure(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        _ if !(1e-3..1e5).contains(&value) => format!("{value:.1e}"),
        _ if value < 10.0 => format!("{value:.3}"),
        _ if value < 100.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}
