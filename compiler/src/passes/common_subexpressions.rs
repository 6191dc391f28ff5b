//! Computes once what is computed alike in several places: the same operator of the same values, without parameters and
//! without chance.

use super::Optimized;
use super::rewrite::Rewrite;
use crate::ir::{NodeId, NodeKind};
use crate::ops::Op;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

/// What can be looked up: attributes, which hold floats, are compared after that.
type Key = (&'static str, SmallVec<[NodeId; 3]>);

pub(super) fn run(optimized: &Optimized) -> Optimized {
    let mut rewrite = Rewrite::new(optimized);
    let mut known: FxHashMap<Key, SmallVec<[NodeId; 1]>> = FxHashMap::default();
    for id in rewrite.old.node_ids() {
        let node = rewrite.old.node(id);
        let NodeKind::Op(op) = &node.kind else {
            rewrite.copy(id);
            continue;
        };
        if !node.parameters.is_empty() || is_random(op) {
            rewrite.copy(id);
            continue;
        }
        let alike = known.entry((op.name(), rewrite.operands(id))).or_default();
        let same = |other: &&NodeId| {
            let other = rewrite.old.node(**other);
            other.op() == Some(op) && other.ty == node.ty
        };
        match alike.iter().find(same).and_then(|other| rewrite.at(*other)) {
            Some(first) => rewrite.replace(id, first),
            None => {
                alike.push(id);
                rewrite.copy(id);
            }
        }
    }
    rewrite.finish()
}

fn is_random(op: &Op) -> bool {
    matches!(op, Op::Dropout(_) | Op::DropLabel(_))
}
