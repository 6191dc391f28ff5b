//! How fast values grow with another one: the power of a large factor on it that they grow by.
//!
//! Of a value `x` that is multiplied by a large number `a`, linear maps, sums and the usual activations grow like `a`,
//! products like the product of their factors, and what is normalised, or squashed by a sigmoid, not at all. The powers are
//! upper bounds: sums may cancel. Time is linear in the number of values between the two ends.

use super::stacks::passage;
use crate::ir::{Graph, NodeId};
use crate::ops::activation::Function;
use crate::ops::{Op, Passage};

/// Powers of all values from one on.
#[derive(Debug)]
pub struct Growth {
    first: NodeId,
    powers: Vec<u32>,
}

impl Growth {
    /// With `from`, of everything up to `to`.
    pub fn along(graph: &Graph, from: NodeId, to: NodeId) -> Self {
        let mut growth = Self { first: from, powers: vec![1] };
        for id in (from.0 + 1..=to.0).map(NodeId) {
            let power = growth.power(graph, id);
            growth.powers.push(power);
        }
        growth
    }

    /// The power of a value; what comes before the first one does not grow with it.
    pub fn of(&self, node: NodeId) -> u32 {
        let at = node.index().checked_sub(self.first.index());
        at.and_then(|at| self.powers.get(at)).copied().unwrap_or(0)
    }

    fn power(&self, graph: &Graph, id: NodeId) -> u32 {
        let operands = graph.operands(id);
        let powers = operands.iter().map(|operand| self.of(*operand));
        match graph.node(id).op() {
            None | Some(Op::Softmax(_)) => 0,
            Some(Op::Activation(activation)) if is_bounded(activation.function) => 0,
            Some(Op::Multiply(_)) => powers.fold(0, u32::saturating_add),
            // A mean of the values.
            Some(Op::Attention(_)) => operands.get(2).map_or(0, |values| self.of(*values)),
            Some(_) if passage(graph, id) == Some(Passage::Normalize) => 0,
            Some(_) => powers.max().unwrap_or(0),
        }
    }
}

/// Whether what a function gives stays small however large its input gets; an inverse root even falls.
fn is_bounded(function: Function) -> bool {
    matches!(function, Function::Sigmoid | Function::Tanh | Function::Sin | Function::Cos | Function::Rsqrt)
}
