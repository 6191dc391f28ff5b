//! Makes plain maps of those that normalise their weight at every use, by weights that have been normalised.
//!
//! In an evaluation the weight does not change, so that once is enough: when it is loaded. Only weights that a single
//! operator owns are folded, which all are that a spec declares. Gains of a whole map are left: one is a scalar times a
//! vector or a handful of channels.
//!
//! A forward pass of `edm2_xs` at batch 1, two threads, takes 1.57 s instead of 1.77 s (`archc bench` with and without
//! `--no-opt`, which turns off the other passes too; medians in the development profile).

use super::Optimized;
use super::rewrite::Rewrite;
use crate::init::{GivenFans, Init};
use crate::ir::{Node, NodeId, NodeKind, Parameter};
use crate::ops::{Linear, Op};
use smallvec::SmallVec;

/// What is done to a parameter before an optimised graph takes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fold {
    /// Each row, what belongs to one index of the first axis, is brought to unit length: it is divided by the square root
    /// of its size and by `eps` plus its root mean square.
    UnitRows { eps: f64 },
}

pub(super) fn run(optimized: &Optimized) -> Optimized {
    let mut rewrite = Rewrite::new(optimized);
    for id in rewrite.old.node_ids() {
        match rewrite.old.node(id).op().and_then(plain) {
            Some((op, fold)) => replace(&mut rewrite, id, op, fold),
            None => {
                rewrite.copy(id);
            }
        }
    }
    rewrite.finish()
}

/// The same map by a weight as it is, and what makes that weight.
fn plain(op: &Op) -> Option<(Op, Fold)> {
    match op {
        Op::MpLinear(op) => {
            Some((Linear { features: op.features, bias: false }.into(), Fold::UnitRows { eps: op.eps }))
        }
        Op::MpConv2d(op) => Some((op.plain().into(), Fold::UnitRows { eps: op.eps })),
        _ => None,
    }
}

fn replace(rewrite: &mut Rewrite<'_>, id: NodeId, op: Op, fold: Fold) {
    let old = rewrite.old;
    let operands = rewrite.operands(id);
    let node = Node { kind: NodeKind::Op(op), parameters: SmallVec::new(), ..old.node(id).clone() };
    let new = rewrite.add(node, &operands);
    for parameter in &old.node(id).parameters {
        let own = old.parameter(*parameter);
        rewrite.add_parameter(new, Parameter { init: folded(&own.init), ..own.clone() }, &[*parameter]);
        rewrite.fold(*parameter, fold);
    }
    rewrite.replace(id, new);
}

/// How a weight of unit rows starts, which predictions for the optimised graph ask.
fn folded(init: &Init) -> Init {
    if *init == Init::ZERO { Init::ZERO } else { Init::KaimingNormal { gain: 1.0, fans: GivenFans::default() } }
}
