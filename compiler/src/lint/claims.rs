//! What becomes of the claims of a spec: proved, refused, or open.

use super::Context;
use crate::analysis::ranges::Trend;
use crate::dim::Dim;
use crate::ir::{Claim, Graph, NodeId, NodeKind};
use crate::ops::softmax::SoftmaxAxis;
use crate::ops::{Op, Passage};
use rustc_hash::FxHashMap;

/// What is known of a claim about a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Proved,
    /// The value does not depend on the number at all.
    Independent,
    /// It provably goes the other way.
    Opposite,
    /// Its elements are shares of this softmax, which add up to one: they cannot all go one way.
    Shares(NodeId),
    /// Up to this node the direction is known.
    Open(NodeId),
}

/// Numbers along which directions are looked for, at most: each costs a walk over the graph.
const MAX_NUMBERS: usize = 64;

/// Claims about directions, with what is known of them.
pub(crate) fn verdicts<'c>(context: &'c Context<'_>) -> Vec<(&'c Claim, Verdict)> {
    let graph = context.graph;
    let mut known: FxHashMap<NodeId, Vec<Trend>> = FxHashMap::default();
    let judged = graph.claims.iter().filter_map(|claim| {
        let (direction, number) = claim.along?;
        if !known.contains_key(&number) && known.len() < MAX_NUMBERS {
            known.insert(number, context.ranges().along(graph, number));
        }
        let verdict = match known.get(&number) {
            Some(trends) => verdict(graph, trends, claim.node, Trend::of(direction)),
            None => Verdict::Open(claim.node),
        };
        Some((claim, verdict))
    });
    judged.collect()
}

fn verdict(graph: &Graph, trends: &[Trend], gate: NodeId, wanted: Trend) -> Verdict {
    let of = |node: NodeId| trends.get(node.index()).copied().unwrap_or(Trend::Unknown);
    match of(gate) {
        Trend::Constant => Verdict::Independent,
        trend if trend == wanted => Verdict::Proved,
        Trend::Unknown => match shares(graph, gate) {
            Some(softmax) => Verdict::Shares(softmax),
            None => Verdict::Open(first_unknown(graph, gate, of)),
        },
        Trend::Rising | Trend::Falling => Verdict::Opposite,
    }
}

/// The node at which a direction gets lost: the first of unknown trend whose operands are all known.
fn first_unknown(graph: &Graph, mut at: NodeId, of: impl Fn(NodeId) -> Trend) -> NodeId {
    while let Some(before) = graph.operands(at).into_iter().find(|operand| of(*operand) == Trend::Unknown) {
        at = before;
    }
    at
}

/// The softmax over channels that all elements of a value are shares of, up to order and factor.
fn shares(graph: &Graph, mut at: NodeId) -> Option<NodeId> {
    loop {
        let op = graph.node(at).op()?;
        if let Op::Softmax(softmax) = op {
            let logits = graph.operand(at, 0)?;
            let several = softmax.size(&graph.node(logits).ty).into_iter().any(|size| *size != Dim::Known(1));
            return (several && softmax.over == SoftmaxAxis::Channels).then_some(at);
        }
        match op.as_operator().passage() {
            Passage::Keep | Passage::Scale => at = graph.operand(at, 0)?,
            Passage::Source
            | Passage::Gate
            | Passage::Normalize
            | Passage::Resample
            | Passage::Project
            | Passage::Transform
            | Passage::Add
            | Passage::Join
            | Passage::Cut => return None,
        }
    }
}

/// The name of a value as the spec has it, or what it is.
pub(crate) fn name_of(graph: &Graph, id: NodeId) -> String {
    let node = graph.node(id);
    let named = match &node.kind {
        NodeKind::Input(at) => graph.inputs.get(*at as usize).map(|input| input.name.clone()),
        NodeKind::Op(_) => node.name.clone(),
    };
    named.map_or_else(|| "this number".to_owned(), |name| format!("`{name}`"))
}
