//! Parts of a graph that are run again on the way back, so that not every value has to be kept.
//!
//! The order of the nodes is cut where few elements are alive, near equal shares of all elements, and never inside of what
//! runs as one.

use crate::plan::Plan;
use archc_compiler::ir::NodeId;
use std::ops::Range;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segments {
    ranges: Vec<Range<usize>>,
}

impl Segments {
    /// At most `count` segments.
    pub fn of(plan: &Plan, count: usize) -> Self {
        let nodes = plan.graph.node_count();
        let elements: Vec<f64> = plan.graph.node_ids().map(|node| size(plan, node)).collect();
        let alive = alive(plan, &elements);
        let total: f64 = elements.iter().sum();
        let mut cuts = vec![0];
        let mut done = 0.0;
        // A cut may lie within a quarter of a share of where the share ends.
        let share = total / count.max(1) as f64;
        let mut best: Option<(f64, usize)> = None;
        for (at, own) in elements.iter().enumerate() {
            done += own;
            let aim = cuts.len() as f64 * share;
            if cuts.len() >= count {
                break;
            }
            if (done - aim).abs() <= share / 4.0
                && plan.is_between_groups(at + 1)
                && let Some(now) = alive.get(at + 1).copied()
                && best.is_none_or(|(least, _)| now < least)
            {
                best = Some((now, at + 1));
            }
            if done > aim + share / 4.0
                && let Some((_, cut)) = best.take()
            {
                cuts.push(cut);
            }
        }
        cuts.push(nodes);
        cuts.dedup();
        let ends = cuts.iter().skip(1).copied();
        Self { ranges: cuts.iter().copied().zip(ends).map(|(start, end)| start..end).collect() }
    }

    pub fn ranges(&self) -> &[Range<usize>] {
        &self.ranges
    }

    /// Values that a segment uses and does not make, inputs of the graph included.
    pub fn given(&self, plan: &Plan, nodes: &Range<usize>) -> Vec<NodeId> {
        let operands = nodes.clone().flat_map(|at| plan.graph.operands(NodeId(at as u32)));
        let mut given: Vec<NodeId> = operands.filter(|operand| operand.index() < nodes.start).collect();
        // Inputs are nodes that nobody computes.
        given.extend(plan.graph.inputs.iter().map(|input| input.node).filter(|input| nodes.contains(&input.index())));
        given.sort_unstable();
        given.dedup();
        given
    }
}

/// Elements of a value for one sample of the usual size.
fn size(plan: &Plan, node: NodeId) -> f64 {
    plan.graph.node(node).ty.elements_at(&plan.graph.typical).unwrap_or(1) as f64
}

/// Elements that are alive before each node.
fn alive(plan: &Plan, elements: &[f64]) -> Vec<f64> {
    let mut ends: Vec<Vec<usize>> = vec![vec![]; elements.len()];
    for node in plan.graph.node_ids() {
        let last = plan.graph.users(node).map(|(user, _)| user.index()).max().unwrap_or(node.index());
        if let Some(end) = ends.get_mut(last) {
            end.push(node.index());
        }
    }
    let mut now = 0.0;
    let mut alive = Vec::with_capacity(elements.len());
    for (at, own) in elements.iter().enumerate() {
        alive.push(now);
        now += own;
        let freed = ends.get(at).into_iter().flatten().filter_map(|node| elements.get(*node)).sum::<f64>();
        now -= freed;
    }
    alive
}
