//! What meets at a merge: how large both sides are, and how much alike.

use super::moments::{Class, Moments};
use super::signal::Signal;
use crate::ir::{Graph, NodeId};
use crate::ops::Op;

/// Mean squares of two values and of their sum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Balance {
    pub a: f64,
    pub b: f64,
    pub sum: f64,
    /// Correlation of the two, element by element.
    pub correlation: f64,
    /// Of the weakest of the figures.
    pub class: Class,
}

impl Balance {
    /// Of the operands of a sum; nothing where something is unknown, or a side is zero.
    pub fn of_sum(graph: &Graph, signal: &Signal, sum: NodeId) -> Option<Self> {
        if !matches!(graph.node(sum).op(), Some(Op::Add(_))) {
            return None;
        }
        let operands = graph.operands(sum);
        let [a, b] = operands.as_slice() else { return None };
        let (x, y, z) = (known(signal, *a)?, known(signal, *b)?, known(signal, sum)?);
        let product = (z.square() - x.square() - y.square()) / 2.0;
        let spread = libm::sqrt(x.variance() * y.variance());
        if spread <= 0.0 {
            return None;
        }
        let correlation = ((product - x.mean * y.mean) / spread).clamp(-1.0, 1.0);
        Some(Self { a: x.square(), b: y.square(), sum: z.square(), correlation, class: z.class })
    }
}

fn known(signal: &Signal, node: NodeId) -> Option<Moments> {
    signal.at(node).as_ref().ok().copied()
}
