//! Constant factors on a stream itself: by how much they alone have multiplied it since it was last normalised.
//!
//! `(x + f(x)) * a` and `a * x + f(x)` multiply what came in by `a` in every block, over all widths and resolutions until
//! a norm on the stream, whatever the branches add. Time is linear in the graph.

use super::stacks::{constant, passage};
use super::streams::{MergeKind, Streams};
use crate::ir::{Graph, NodeId};
use crate::ops::Passage;
use std::collections::BTreeMap;

/// A stream from where it was last normalised, or made, to a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stretch {
    /// What the first block is fed.
    pub first: NodeId,
    /// The last sum.
    pub last: NodeId,
    /// The first value that is multiplied by more than one, with its factor.
    pub cause: Option<(NodeId, f64)>,
    /// The product of all constant factors.
    pub factor: f64,
    /// Residual sums.
    pub sums: usize,
}

/// Of every value, what has happened to the stream that it is part of.
#[derive(Debug)]
pub struct Factors(Vec<Option<Stretch>>);

impl Factors {
    pub fn of(graph: &Graph, streams: &Streams) -> Self {
        let mut factors = Self(Vec::with_capacity(graph.node_count()));
        for id in graph.node_ids() {
            let stretch = factors.stretch(graph, streams, id);
            factors.0.push(stretch);
        }
        factors
    }

    /// The product of the factors up to a value.
    pub fn factor(&self, node: NodeId) -> f64 {
        self.at(node).map_or(1.0, |stretch| stretch.factor.abs())
    }

    /// Of all streams, the part up to the sum that is multiplied the most.
    pub fn most(&self) -> impl Iterator<Item = Stretch> {
        let mut most: BTreeMap<NodeId, Stretch> = BTreeMap::new();
        for stretch in self.0.iter().flatten() {
            let known = most.entry(stretch.first).or_insert(*stretch);
            if stretch.last > known.last && stretch.factor.abs() > known.factor.abs() {
                *known = *stretch;
            }
        }
        most.into_values()
    }

    fn at(&self, node: NodeId) -> Option<Stretch> {
        self.0.get(node.index()).copied().flatten()
    }

    fn stretch(&self, graph: &Graph, streams: &Streams, id: NodeId) -> Option<Stretch> {
        if let Some(merge) = streams.at(id).filter(|merge| merge.kind == MergeKind::Residual) {
            let start = Stretch { first: merge.fork, last: id, cause: None, factor: 1.0, sums: 0 };
            let before = self.at(merge.fork).unwrap_or(start);
            let normalizes = merge.bypass.iter().any(|at| passage(graph, *at) == Some(Passage::Normalize));
            let before = if normalizes { start } else { before };
            let trunk: f64 = merge.bypass.iter().filter_map(|at| constant(graph, *at)).product();
            let own = (trunk.abs() > 1.0).then_some((id, trunk));
            let (factor, sums, cause) = (before.factor * trunk, before.sums + 1, before.cause.or(own));
            return Some(Stretch { last: id, factor, sums, cause, ..before });
        }
        let before = self.at(streams.main_operand(id)?)?;
        match passage(graph, id)? {
            Passage::Scale => {
                let own = constant(graph, id).unwrap_or(1.0);
                let cause = before.cause.or((own.abs() > 1.0).then_some((id, own)));
                Some(Stretch { factor: before.factor * own, cause, ..before })
            }
            Passage::Keep
            | Passage::Gate
            | Passage::Resample
            | Passage::Project
            | Passage::Add
            | Passage::Join
            | Passage::Cut => Some(before),
            Passage::Source | Passage::Normalize | Passage::Transform => None,
        }
    }
}
