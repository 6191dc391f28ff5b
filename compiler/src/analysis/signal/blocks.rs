//! Blocks that are looked at one by one: cut points for cotangents.

use crate::ir::{Graph, NodeId, ScopeId, ScopeKind};

/// Share of the values that blocks should hold.
const COVERED: f64 = 0.75;

/// Blocks as far outside as they can be and still hold most values, each a part of the model; no two overlap.
pub fn covering(graph: &Graph) -> Vec<ScopeId> {
    let deepest = graph.scope_ids().map(|scope| graph.enclosing(scope).count()).max().unwrap_or(1);
    let held = |blocks: &[ScopeId]| {
        let inside = |id: &NodeId| graph.enclosing(graph.node(*id).scope).any(|scope| blocks.contains(&scope));
        graph.node_ids().filter(inside).count() as f64 / graph.node_count().max(1) as f64
    };
    let mut best = (0.0, vec![]);
    for depth in 2..=deepest.max(2) {
        let blocks = disjoint(graph, depth);
        let share = held(&blocks);
        if share > best.0 {
            best = (share, blocks);
        }
        if best.0 >= COVERED {
            break;
        }
    }
    best.1
}

/// Blocks within so many scopes, and those further outside that have none below; no two overlap.
pub fn disjoint(graph: &Graph, depth: usize) -> Vec<ScopeId> {
    let level = |scope: ScopeId| graph.enclosing(scope).count() - 1;
    let is_block = |scope: &ScopeId| {
        let own = graph.scope(*scope);
        own.kind == ScopeKind::Block && !own.outputs.is_empty()
    };
    let mut candidates: Vec<ScopeId> =
        graph.scope_ids().filter(|scope| level(*scope) <= depth).filter(is_block).collect();
    candidates.sort_by_key(|scope| std::cmp::Reverse(level(*scope)));
    let mut found: Vec<ScopeId> = vec![];
    for scope in candidates {
        let contains = |other: &ScopeId| graph.enclosing(*other).any(|outer| outer == scope);
        if !found.iter().any(contains) {
            found.push(scope);
        }
    }
    found.sort_unstable();
    found
}
