//! Residual stacks: sums of one stream that follow each other at one width and one resolution.
//!
//! What a deep network does to a signal is decided by what one block does to it, as often as there are blocks. A stack
//! lists its blocks with what decides that: the factors on both ways, and where norms stand. Time is linear in the graph.

use super::streams::{Merge, MergeKind, Streams};
use crate::ir::{Graph, NodeId};
use crate::ops::activation::Function;
use crate::ops::{Op, Passage};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::{SmallVec, smallvec};

/// Operations between a sum and the next fork, at most.
const MAX_BETWEEN: usize = 8;
/// Nodes of a branch that are looked at, at most; the branches of published networks have fewer than forty.
const MAX_BRANCH: usize = 128;

/// One residual sum: `trunk * x + scale * f(x)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    pub sum: NodeId,
    /// Where the branch starts.
    pub fork: NodeId,
    /// The operand that is brought along, and the one that went through the branch.
    pub carry: NodeId,
    pub branch: NodeId,
    /// Constant factor at the end of the branch.
    pub scale: f64,
    /// Constant factor on what is brought along.
    pub trunk: f64,
    /// Whether the branch is multiplied by a value at its end: a gate, or a learned factor.
    pub gated: bool,
    /// Whether the size of what the branch gives does not depend on the size of what it is fed.
    pub normalized: bool,
    /// Whether the sum is normalised before the next block.
    pub post_norm: bool,
}

/// Blocks in the order in which a stream passes them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stack {
    pub blocks: Vec<Block>,
}

/// All stacks, in the order of their first sums.
#[derive(Debug, Default)]
pub struct Stacks(pub Vec<Stack>);

impl Stacks {
    pub fn of(graph: &Graph, streams: &Streams) -> Self {
        let mut stacks: Vec<Stack> = vec![];
        // The stack and the place in it of each sum.
        let mut places: FxHashMap<NodeId, (usize, usize)> = FxHashMap::default();
        for merge in streams.merges.iter().filter(|merge| merge.kind == MergeKind::Residual) {
            let before = previous(graph, streams, merge, &places);
            let mut block = block(graph, streams, merge);
            // A norm between the last sum of a stack and what is no block any more counts as well.
            block.post_norm = is_normalized_next(graph, merge.node);
            let place = match before {
                Some((stack, at)) if stacks.get(stack).is_some_and(|stack| stack.blocks.len() == at + 1) => {
                    (stack, at + 1)
                }
                _ => {
                    stacks.push(Stack::default());
                    (stacks.len() - 1, 0)
                }
            };
            places.insert(merge.node, place);
            if let Some(stack) = stacks.get_mut(place.0) {
                stack.blocks.push(block);
            }
        }
        Self(stacks)
    }
}

/// The place of the sum that a block follows.
fn previous(
    graph: &Graph,
    streams: &Streams,
    merge: &Merge,
    places: &FxHashMap<NodeId, (usize, usize)>,
) -> Option<(usize, usize)> {
    let mut at = merge.fork;
    for _ in 0..MAX_BETWEEN {
        if let Some(place) = places.get(&at) {
            let same = graph.node(at).ty == graph.node(merge.node).ty;
            return same.then_some(*place);
        }
        match passage(graph, at)? {
            Passage::Keep | Passage::Scale | Passage::Gate | Passage::Normalize => at = streams.main_operand(at)?,
            Passage::Source
            | Passage::Resample
            | Passage::Project
            | Passage::Transform
            | Passage::Add
            | Passage::Join
            | Passage::Cut => return None,
        }
    }
    None
}

fn block(graph: &Graph, streams: &Streams, merge: &Merge) -> Block {
    let (scale, gated) = factor(graph, streams, merge.branch);
    let trunk = merge.bypass.iter().filter_map(|node| constant(graph, *node)).product();
    Block {
        sum: merge.node,
        fork: merge.fork,
        carry: merge.carry,
        branch: merge.branch,
        scale,
        trunk,
        gated,
        normalized: is_normalized(graph, merge),
        post_norm: false,
    }
}

/// The constant factor at the end of a value, and whether another value multiplies it as well.
pub fn factor(graph: &Graph, streams: &Streams, branch: NodeId) -> (f64, bool) {
    let (mut factor, mut gated, mut at) = (1.0, false, branch);
    for _ in 0..MAX_BETWEEN {
        match passage(graph, at) {
            Some(Passage::Scale) => factor *= constant(graph, at).unwrap_or(1.0),
            Some(Passage::Gate) => gated = true,
            Some(Passage::Keep) => {}
            _ => break,
        }
        match streams.main_operand(at) {
            Some(operand) => at = operand,
            None => break,
        }
    }
    (factor, gated)
}

/// The number that a value is multiplied by, where that is all that is done to it.
pub fn constant(graph: &Graph, node: NodeId) -> Option<f64> {
    match graph.node(node).op() {
        Some(Op::Affine(affine)) if affine.shift == 0.0 => Some(affine.scale),
        _ => None,
    }
}

/// Whether every way from the fork to the end of a branch passes something that forgets magnitude.
fn is_normalized(graph: &Graph, merge: &Merge) -> bool {
    let mut open = vec![merge.branch];
    let mut seen = FxHashSet::default();
    while let Some(at) = open.pop() {
        if at == merge.fork {
            return false;
        }
        if at < merge.fork || forgets_magnitude(graph, at) || !seen.insert(at) {
            continue;
        }
        if seen.len() > MAX_BRANCH {
            return false;
        }
        let operands = graph.operands(at);
        // Attention takes means of its values, whatever queries and keys are.
        let skipped = if matches!(graph.node(at).op(), Some(Op::Attention(_))) { 2 } else { 0 };
        open.extend(operands.into_iter().skip(skipped));
    }
    true
}

fn forgets_magnitude(graph: &Graph, node: NodeId) -> bool {
    match graph.node(node).op() {
        Some(Op::Activation(activation)) => matches!(activation.function, Function::Sigmoid | Function::Tanh),
        Some(Op::Softmax(_)) => true,
        Some(op) => op.as_operator().passage() == Passage::Normalize,
        None => false,
    }
}

/// Whether all that reads a value normalises it first, up to factors.
pub fn is_normalized_next(graph: &Graph, node: NodeId) -> bool {
    let readers = readers(graph, node);
    !readers.is_empty() && readers.iter().all(|reader| passage(graph, *reader) == Some(Passage::Normalize))
}

/// What reads a value, behind constant factors and whatever leaves elements as they are.
pub fn readers(graph: &Graph, node: NodeId) -> SmallVec<[NodeId; 3]> {
    let mut open: SmallVec<[NodeId; 3]> = smallvec![node];
    let mut found = SmallVec::new();
    let mut steps = 0;
    while let Some(at) = open.pop() {
        steps += 1;
        for (user, _) in graph.users(at) {
            match passage(graph, user) {
                Some(Passage::Keep | Passage::Scale) if steps < MAX_BETWEEN => open.push(user),
                _ => found.push(user),
            }
        }
    }
    found
}

/// Whether a sum is a norm with a shift: `(1 + scale) * norm(x) + shift`.
pub fn is_modulated(graph: &Graph, at: NodeId) -> bool {
    let gated = |operand: &NodeId| passage(graph, *operand) == Some(Passage::Gate);
    passage(graph, at) == Some(Passage::Add) && graph.operands(at).iter().any(gated)
}

/// What an operation does to a stream; none for an input.
pub fn passage(graph: &Graph, node: NodeId) -> Option<Passage> {
    graph.node(node).op().map(|op| op.as_operator().passage())
}
