//! What is predicted of a model, by block and by line of the source, for one noise level or several.

use super::has_numbers;
use super::precision::InFewBits;
use archc_compiler::analysis::moments::{Class, Estimate};
use archc_compiler::analysis::preconditioning::{Identities, identities};
use archc_compiler::analysis::signal::Signal;
use archc_compiler::analysis::signal::backward::{Gain, cotangents, gains};
use archc_compiler::analysis::signal::blocks::covering;
use archc_compiler::ir::{Graph, NodeId, ScopeId};
use archc_compiler::source::SourceMap;
use archc_grammar::Span;
use archc_grammar::diagnostic::Diagnostic;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Debug, Serialize)]
pub struct Prediction {
    pub model: String,
    /// Noise levels, in the order of all lists of figures; null where inputs are white noise of unit variance.
    pub sigmas: Vec<Option<f64>>,
    /// Values of which nothing can be said, with the reason.
    pub unknown: Vec<Missing>,
    pub values: usize,
    pub blocks: Vec<Block>,
    pub lines: Vec<Line>,
    /// What is to be 1 at every level of noise, of a preconditioned network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preconditioning: Option<Identities>,
    /// For each noise level, if it was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub precision: Vec<InFewBits>,
}

#[derive(Debug, Serialize)]
pub struct Missing {
    pub reason: String,
    pub values: usize,
}

/// A block with what goes in and comes out.
#[derive(Debug, Serialize)]
pub struct Block {
    pub path: String,
    pub name: String,
    /// Whether what it is followed by has positions: it is part of the stream, and no embedding.
    pub stream: bool,
    pub levels: Vec<Level>,
    /// Rules that have found something in it.
    pub findings: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Level {
    /// Mean squares, of what the block is given first and of what it makes.
    pub input: Option<f64>,
    pub output: Option<f64>,
    /// How many times larger the mean square of a gradient is behind it, on its way back.
    pub gain: Option<f64>,
    pub class: Option<Class>,
}

/// A line of the source with the mean squares of what it makes, and of the gradients of that for unit cotangents at the
/// end of the block, over all its instances and noise levels.
#[derive(Debug, Serialize)]
pub struct Line {
    pub file: String,
    pub line: usize,
    pub forward: Range,
    pub backward: Option<Range>,
    pub class: Class,
    pub text: String,
    /// Rules that have found something in it.
    pub findings: Vec<String>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Range {
    pub least: f64,
    pub most: f64,
}

impl Range {
    const NOTHING: Range = Range { least: f64::INFINITY, most: f64::NEG_INFINITY };

    fn add(&mut self, value: f64) {
        (self.least, self.most) = (self.least.min(value), self.most.max(value));
    }

    fn some(self) -> Option<Range> {
        (self.least <= self.most).then_some(self)
    }
}

/// A model with what its source is and what rules say of it.
pub struct Subject<'a> {
    pub graph: &'a Graph,
    pub sources: &'a SourceMap,
    pub findings: &'a [Diagnostic],
}

impl Subject<'_> {
    /// Puts together what has been found for each noise level, of the blocks that are wanted.
    pub fn predict(&self, signals: &[(Option<f64>, Signal)], wanted: &dyn Fn(&ScopeId) -> bool) -> Prediction {
        let graph = self.graph;
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        for id in graph.node_ids().filter(|id| has_numbers(graph, *id)) {
            if let Some(Err(reason)) = signals.iter().map(|(_, signal)| signal.at(id)).find(|own| own.is_err()) {
                *reasons.entry(reason.to_string()).or_default() += 1;
            }
        }
        let mut reasons: Vec<Missing> =
            reasons.into_iter().map(|(reason, values)| Missing { reason, values }).collect();
        reasons.sort_by_key(|missing| std::cmp::Reverse(missing.values));
        Prediction {
            model: graph.name().to_owned(),
            sigmas: signals.iter().map(|(sigma, _)| *sigma).collect(),
            unknown: reasons,
            values: graph.node_ids().filter(|id| has_numbers(graph, *id)).count(),
            blocks: self.blocks(signals, wanted),
            lines: self.lines(signals),
            preconditioning: identities(graph),
            precision: vec![],
        }
    }

    fn blocks(&self, signals: &[(Option<f64>, Signal)], wanted: &dyn Fn(&ScopeId) -> bool) -> Vec<Block> {
        let (mut blocks, mut scopes): (Vec<Block>, Vec<ScopeId>) = (vec![], vec![]);
        for (level, (_, signal)) in signals.iter().enumerate() {
            for (at, (scope, gains)) in gains(self.graph, signal, wanted).into_iter().enumerate() {
                if level == 0 {
                    blocks.push(self.block(scope));
                    scopes.push(scope);
                }
                if let Some(block) = blocks.get_mut(at) {
                    block.levels.push(figures(self.graph, signal, scope, &gains));
                }
            }
        }
        for (block, found) in blocks.iter_mut().zip(self.found_in(&scopes)) {
            block.findings = found;
        }
        blocks
    }

    fn block(&self, scope: ScopeId) -> Block {
        let own = self.graph.scope(scope);
        Block {
            path: own.path.to_string(),
            name: own.name.to_string(),
            stream: own.outputs.iter().any(|node| self.graph.node(*node).ty.kind.has_positions()),
            levels: vec![],
            findings: vec![],
        }
    }

    /// What rules have found, for each of the blocks: in it, or between the block before and it.
    fn found_in(&self, scopes: &[ScopeId]) -> Vec<Vec<String>> {
        let graph = self.graph;
        let inside = |id: NodeId, block: ScopeId| graph.enclosing(graph.node(id).scope).any(|scope| scope == block);
        let start = |block: ScopeId| graph.node_ids().find(|id| inside(*id, block));
        let starts: Vec<Option<NodeId>> = scopes.iter().map(|scope| start(*scope)).collect();
        let mut found = vec![vec![]; scopes.len()];
        for finding in self.findings {
            let hit = |id: &NodeId| finding.labels.iter().any(|label| label.span == graph.node(*id).span);
            for id in graph.node_ids().filter(hit) {
                let at = scopes.iter().position(|scope| inside(id, *scope)).or_else(|| {
                    let later = starts.iter().enumerate().filter(|(_, start)| start.is_some_and(|start| start > id));
                    later.min_by_key(|(_, start)| **start).map(|(at, _)| at)
                });
                if let Some(rules) = at.and_then(|at| found.get_mut(at)) {
                    rules.push(finding.id.to_string());
                }
            }
        }
        for rules in &mut found {
            rules.sort();
            rules.dedup();
        }
        found
    }

    fn lines(&self, signals: &[(Option<f64>, Signal)]) -> Vec<Line> {
        let graph = self.graph;
        let mut lines: BTreeMap<(String, usize), (Range, Range, Class, Span)> = BTreeMap::new();
        let cut = covering(graph);
        for (_, signal) in signals {
            let back = cotangents(graph, signal, |scope| cut.contains(scope));
            for id in graph.node_ids().filter(|id| graph.node(*id).op().is_some()) {
                let (Ok(moments), span) = (signal.at(id), graph.node(id).span) else { continue };
                if self.sources.is_library(span.file) {
                    continue;
                }
                let Some(source) = self.sources.get(span.file) else { continue };
                let key = (source.name.to_string(), self.sources.line_column(span).0);
                let own = lines.entry(key).or_insert((Range::NOTHING, Range::NOTHING, Class::Exact, span));
                own.0.add(moments.square());
                own.2 = own.2.max(moments.class);
                let inside = |scope: &ScopeId| graph.enclosing(graph.node(id).scope).any(|outer| outer == *scope);
                if let Some(Ok(gradient)) = back.iter().find(|(scope, _)| inside(scope)).map(|(_, own)| own.at(id)) {
                    own.1.add(gradient.square());
                    own.2 = own.2.max(gradient.class);
                }
            }
        }
        let line =
            |((file, line), (forward, backward, class, span)): ((String, usize), (Range, Range, Class, Span))| {
                let text = self.sources.get(span.file).and_then(|source| source.text.lines().nth(line - 1));
                let here = |other: Span| other.file == span.file && self.sources.line_column(other).0 == line;
                Line {
                    file,
                    line,
                    forward,
                    backward: backward.some(),
                    class,
                    text: text.unwrap_or("").trim().to_owned(),
                    findings: self.found_at(here),
                }
            };
        lines.into_iter().map(line).collect()
    }

    /// Rules that point at something.
    fn found_at(&self, points: impl Fn(Span) -> bool) -> Vec<String> {
        let hit = self.findings.iter().filter(|finding| finding.labels.iter().any(|label| points(label.span)));
        let mut rules: Vec<String> = hit.map(|finding| finding.id.to_string()).collect();
        rules.sort();
        rules.dedup();
        rules
    }
}

fn figures(graph: &Graph, signal: &Signal, scope: ScopeId, gains: &[Gain]) -> Level {
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
    Level {
        input: input.and_then(|gain| square(gain.input)),
        output: output.and_then(square),
        gain: input.and_then(|gain| gain.gain.as_ref().ok()).map(|moments| moments.square()),
        class: output.and_then(|node| class(signal.at(node))).max(input.and_then(|gain| class(&gain.gain))),
    }
}
