//! What a change of the source does to a network: nothing, its start, or its function; and whether weights still load.

use crate::ir::{Graph, NodeId};
use serde::Serialize;
use std::collections::BTreeSet;

/// What is different about a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Nothing that is computed.
    Nothing,
    /// How it is trained: its process.
    Training,
    /// What parameters start as. With weights that have been trained it computes the same.
    Start,
    /// What it computes from the same weights.
    Function,
}

/// How two graphs of one model differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Effect {
    pub change: Change,
    /// Whether names or shapes of parameters differ, so that weights of the one do not load into the other.
    pub breaks_weights: bool,
}

impl Effect {
    pub fn between(before: &Graph, after: &Graph) -> Self {
        Self { change: change(before, after), breaks_weights: stored(before) != stored(after) }
    }

    /// Both, one after the other.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { change: self.change.max(other.change), breaks_weights: self.breaks_weights || other.breaks_weights }
    }
}

fn change(before: &Graph, after: &Graph) -> Change {
    if before.node_count() != after.node_count()
        || before.parameters.len() != after.parameters.len()
        || !before.node_ids().all(|id| computes_the_same(before, after, id))
        || !before.outputs.iter().map(|output| output.node).eq(after.outputs.iter().map(|output| output.node))
    {
        return Change::Function;
    }
    if !before.parameters.iter().map(|own| &own.init).eq(after.parameters.iter().map(|own| &own.init)) {
        return Change::Start;
    }
    let [before, after] = [before, after].map(|graph| graph.process.as_ref().map(|declared| &declared.process));
    if before != after { Change::Training } else { Change::Nothing }
}

fn computes_the_same(before: &Graph, after: &Graph, id: NodeId) -> bool {
    let (a, b) = (before.node(id), after.node(id));
    a.kind == b.kind && a.ty == b.ty && a.parameters == b.parameters && before.operands(id) == after.operands(id)
}

/// Names and shapes of what a checkpoint holds.
fn stored(graph: &Graph) -> BTreeSet<(&str, &[u64])> {
    graph.parameters.iter().map(|own| (&*own.path, own.shape.as_slice())).collect()
}
