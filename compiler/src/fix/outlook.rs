//! What the analyses say of a model, to be compared before and after a repair.

use crate::analysis::liveness::{Liveness, Wake};
use crate::analysis::signal::{Signal, Statistics};
use crate::compile::Options;
use crate::elaborate::{Settings, elaborate};
use crate::ir::Graph;
use crate::program::Program;
use archc_grammar::{Edit, Span};
use std::collections::BTreeMap;

/// A model or preset as the analyses see it.
#[derive(Clone, Debug)]
pub struct Outlook {
    pub name: String,
    pub graph: Graph,
    /// Parameters that never move.
    pub never: usize,
    /// How many parameters first move at each step.
    pub steps: BTreeMap<u32, usize>,
    /// Mean square of the first output, where it is predicted.
    pub output: Option<f64>,
}

/// Those of all models and presets of a program.
pub fn outlooks(program: &Program, settings: &Settings, options: &Options) -> Vec<Outlook> {
    let inputs = options.given.inputs.statistics();
    let mut targets = program.targets();
    targets.retain(|target| !program.is_template(target, settings));
    let graphs = targets.into_iter().filter_map(|target| {
        let graph = elaborate(program, &target, settings, options.budget).graph?;
        Some(outlook(target.name.to_string(), graph, &inputs))
    });
    graphs.collect()
}

fn outlook(name: String, graph: Graph, inputs: &Statistics) -> Outlook {
    let liveness = Liveness::of(&graph);
    let (mut never, mut steps) = (0, BTreeMap::new());
    for id in graph.parameter_ids() {
        match liveness.wake(id) {
            Wake::Step(step) => *steps.entry(step).or_insert(0) += 1,
            Wake::Never(_) => never += 1,
            Wake::Frozen => {}
        }
    }
    let output = graph.outputs.first().and_then(|output| Signal::with(&graph, inputs).square(output.node));
    Outlook { name, graph, never, steps, output }
}

/// Mean squares of the value that is made at a place, before and after some edits.
pub(super) fn squares(
    before: &[Outlook],
    after: &[Outlook],
    inputs: &Statistics,
    span: Span,
    edits: &[Edit],
) -> Option<(f64, f64)> {
    let moved = moved(span, edits);
    before.iter().zip(after).find_map(|(old, new)| {
        let old = square_at(&old.graph, inputs, &[span])?;
        Some((old, square_at(&new.graph, inputs, &moved)?))
    })
}

/// Where a span may lie after some edits: insertions at its ends may belong to it or not.
fn moved(span: Span, edits: &[Edit]) -> Vec<Span> {
    let own = edits.iter().filter(|edit| edit.span.file == span.file);
    let delta = |edit: &Edit| edit.text.len() as i64 - i64::from(edit.span.end - edit.span.start);
    let (mut start, mut end, mut at_start, mut at_end) = (0, 0, 0, 0);
    for edit in own {
        if edit.span.start == edit.span.end && edit.span.start == span.start {
            at_start += delta(edit);
        } else if edit.span.end <= span.start {
            start += delta(edit);
        } else if edit.span.start == edit.span.end && edit.span.start == span.end {
            at_end += delta(edit);
        } else if edit.span.start < span.end {
            end += delta(edit);
        }
    }
    let place = |from: i64, to: i64| Span {
        start: u32::try_from(i64::from(span.start) + from).unwrap_or(span.start),
        end: u32::try_from(i64::from(span.end) + to).unwrap_or(span.end),
        file: span.file,
    };
    let all = start + at_start + end;
    vec![
        place(start, all),
        place(start, all + at_end),
        place(start + at_start, all),
        place(start + at_start, all + at_end),
    ]
}

fn square_at(graph: &Graph, inputs: &Statistics, places: &[Span]) -> Option<f64> {
    let node = graph.node_ids().find(|id| places.contains(&graph.node(*id).span))?;
    // The last value of an expression is what it comes to.
    let span = graph.node(node).span;
    let last = graph.node_ids().filter(|id| graph.node(*id).span == span).take_while(|id| id.0 < node.0 + 64).last()?;
    Signal::with(graph, inputs).square(last)
}
