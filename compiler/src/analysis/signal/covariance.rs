//! Covariance of two values, through what they share.

use super::Signal;
use super::backward::Cotangents;
use crate::analysis::moments::{Estimate, INDEPENDENT, Lags, Moments, zip};
use crate::ir::{Graph, NodeId};
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// Steps after which a covariance is taken to be found: what is shared lies behind few of them, since fresh linear maps
/// carry nothing on.
const STEPS: usize = 4096;

/// One direction of the graph: where a value gets its parts from.
pub(super) trait Carried {
    /// Parts of a value with their gains; they come before it.
    fn parts(&self, node: NodeId) -> SmallVec<[(NodeId, f64); 3]>;
    fn moments(&self, node: NodeId) -> &Estimate;
    /// Position in the order in which values are made.
    fn order(&self, node: NodeId) -> usize;
    fn node(&self, order: usize) -> NodeId;
}

pub(super) struct Covariances<C> {
    carried: C,
}

/// Values, made from their operands.
pub(super) struct Forward<'a> {
    graph: &'a Graph,
    signal: &'a Signal,
}

impl Carried for Forward<'_> {
    fn parts(&self, node: NodeId) -> SmallVec<[(NodeId, f64); 3]> {
        self.signal.carried(self.graph, node)
    }

    fn moments(&self, node: NodeId) -> &Estimate {
        self.signal.at(node)
    }

    fn order(&self, node: NodeId) -> usize {
        node.index()
    }

    fn node(&self, order: usize) -> NodeId {
        NodeId(order as u32)
    }
}

impl<'a> Covariances<Forward<'a>> {
    pub fn forward(graph: &'a Graph, signal: &'a Signal) -> Self {
        Self { carried: Forward { graph, signal } }
    }
}

impl<'a, 'g> Covariances<&'a Cotangents<'g>> {
    /// Gradients, made from those of the users.
    pub fn backward(cotangents: &'a Cotangents<'g>) -> Self {
        Self { carried: cotangents }
    }
}

impl<C: Carried> Covariances<C> {
    /// Follows the value that was made last back to its parts, until nothing but shared parts is left.
    pub fn between(&self, a: NodeId, b: NodeId) -> Lags {
        let mut covariance = INDEPENDENT;
        // Pairs of values still to be resolved, the one made last first, with the product of gains on the way.
        let mut open: BTreeMap<(usize, usize), f64> = BTreeMap::new();
        let pair = |a: usize, b: usize| (a.max(b), a.min(b));
        open.insert(pair(self.carried.order(a), self.carried.order(b)), 1.0);
        for _ in 0..STEPS {
            let Some(((last, first), gain)) = open.pop_last() else { break };
            if last == first {
                if let Ok(moments) = self.carried.moments(self.carried.node(last)) {
                    covariance = zip(&covariance, &Moments::centred(moments), |sum, own| sum + gain * own);
                }
                continue;
            }
            for (part, factor) in self.carried.parts(self.carried.node(last)) {
                *open.entry(pair(self.carried.order(part), first)).or_default() += gain * factor;
            }
        }
        covariance
    }
}
