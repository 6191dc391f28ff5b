//! Blends of a value with what is added to it, `w a + (1 - w) b` with `a = b + f` or `b = a + f`.
//!
//! The weight has the gradient `dy a - dy b`, two paths that cancel but for `dy f`: while the branch f is zero, as that of a
//! temporal layer which starts as its spatial one, the weight does not move. So its gradient is taken from f.

use crate::ir::{Graph, NodeId};
use crate::ops::Op;
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

/// The gradient of a weight, as a product.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blend {
    pub weight: NodeId,
    /// `w a`, and the operand of it that is the weight.
    pub product: NodeId,
    pub slot: usize,
    /// What one of the two has more than the other; none where they are the same value.
    pub difference: Option<NodeId>,
}

#[derive(Debug, Default)]
pub(super) struct Blends {
    by_sum: FxHashMap<NodeId, Blend>,
    by_difference: FxHashMap<NodeId, SmallVec<[NodeId; 1]>>,
    /// Nodes that do not pass their gradient on to the weight.
    replaced: FxHashSet<(NodeId, NodeId)>,
}

impl Blends {
    pub fn of(graph: &Graph) -> Self {
        let mut own = Self::default();
        for sum in graph.node_ids() {
            let Some((blend, rest)) = blend(graph, sum) else { continue };
            own.replaced.extend([(blend.product, blend.weight), (rest, blend.weight)]);
            if let Some(difference) = blend.difference {
                own.by_difference.entry(difference).or_default().push(sum);
            }
            own.by_sum.insert(sum, blend);
        }
        own
    }

    /// The blend that a sum is.
    pub fn at(&self, sum: NodeId) -> Option<&Blend> {
        self.by_sum.get(&sum)
    }

    /// Sums whose weight sees a value.
    pub fn seeing(&self, difference: NodeId) -> &[NodeId] {
        self.by_difference.get(&difference).map_or(&[], SmallVec::as_slice)
    }

    /// Whether the gradient that a node sends to an operand is part of that of a blend.
    pub fn replaces(&self, node: NodeId, operand: NodeId) -> bool {
        self.replaced.contains(&(node, operand))
    }
}

/// A sum as a blend, and the node that is `1 - w`.
fn blend(graph: &Graph, sum: NodeId) -> Option<(Blend, NodeId)> {
    let (Op::Add(_), first, second) = (graph.node(sum).op()?, graph.operand(sum, 0)?, graph.operand(sum, 1)?) else {
        return None;
    };
    [(first, second), (second, first)].into_iter().find_map(|(product, other)| {
        let is_product = |node| matches!(graph.node(node).op(), Some(Op::Multiply(_))) && read_once(graph, node);
        if product == other || !is_product(product) || !is_product(other) {
            return None;
        }
        let slots = [(0, 1), (1, 0)];
        slots.into_iter().find_map(|(slot, beside)| {
            let (weight, a) = (graph.operand(product, slot)?, graph.operand(product, beside)?);
            let (rest, b) = slots.into_iter().find_map(|(slot, beside)| {
                let (rest, b) = (graph.operand(other, slot)?, graph.operand(other, beside)?);
                is_rest_of(graph, rest, weight).then_some((rest, b))
            })?;
            let difference = difference(graph, a, b)?;
            Some((Blend { weight, product, slot: slot.into(), difference }, rest))
        })
    })
}

/// Whether a node is `1 - w`, for one blend alone.
fn is_rest_of(graph: &Graph, node: NodeId, weight: NodeId) -> bool {
    let is_rest = matches!(graph.node(node).op(), Some(Op::Affine(own)) if own.scale == -1.0 && own.shift == 1.0);
    is_rest && graph.operand(node, 0) == Some(weight) && read_once(graph, node)
}

fn read_once(graph: &Graph, node: NodeId) -> bool {
    graph.users(node).count() == 1 && !graph.outputs.iter().any(|output| output.node == node)
}

/// What `a` has more than `b`, or `b` more than `a`, if one of them is the other and something: nothing, or a summand.
fn difference(graph: &Graph, a: NodeId, b: NodeId) -> Option<Option<NodeId>> {
    let summand = |sum: NodeId, part: NodeId| match (graph.node(sum).op(), graph.operands(sum).as_slice()) {
        (Some(Op::Add(_)), [x, y]) if *x == part => Some(*y),
        (Some(Op::Add(_)), [x, y]) if *y == part => Some(*x),
        _ => None,
    };
    if a == b {
        return Some(None);
    }
    summand(a, b).or_else(|| summand(b, a)).map(Some)
}
