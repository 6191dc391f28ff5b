//! Drops what no output needs. Inputs stay, since callers give them.

use super::Optimized;
use super::rewrite::Rewrite;
use crate::ir::{Graph, NodeId, NodeKind};

pub(super) fn run(optimized: &Optimized) -> Optimized {
    let mut rewrite = Rewrite::new(optimized);
    let needed = needed(rewrite.old);
    for id in rewrite.old.node_ids() {
        let is_input = matches!(rewrite.old.node(id).kind, NodeKind::Input(_));
        if is_input || needed.get(id.index()).copied().unwrap_or(false) {
            rewrite.copy(id);
        }
    }
    rewrite.finish()
}

/// Whether an output depends on each node.
fn needed(graph: &Graph) -> Vec<bool> {
    let mut needed = vec![false; graph.node_count()];
    let mut mark = |id: NodeId| needed.get_mut(id.index()).map(|needed| std::mem::replace(needed, true));
    let mut open: Vec<NodeId> = graph.outputs.iter().map(|output| output.node).collect();
    while let Some(id) = open.pop() {
        if mark(id) == Some(false) {
            open.extend(graph.operands(id));
        }
    }
    needed
}
