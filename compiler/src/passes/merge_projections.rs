//! Makes one product of linear maps of the same value, and cuts its result.
//!
//! Maps that have a bias are merged with their like. A product reads its operand once instead of once for each map, and
//! a device runs one kernel instead of many.

use super::Optimized;
use super::rewrite::Rewrite;
use crate::ir::{Graph, Node, NodeId, NodeKind, Parameter, ParameterId};
use crate::ops::{Linear, Op, Slice};
use crate::types::Axis;
use smallvec::SmallVec;
use std::collections::BTreeMap;

pub(super) fn run(optimized: &Optimized) -> Optimized {
    let mut rewrite = Rewrite::new(optimized);
    let groups = groups(rewrite.old);
    for id in rewrite.old.node_ids() {
        if rewrite.at(id).is_some() {
            continue;
        }
        match groups.get(&id) {
            Some(members) => merge(&mut rewrite, members),
            None => {
                rewrite.copy(id);
            }
        }
    }
    rewrite.finish()
}

/// Maps that can be one, by the first of them.
fn groups(graph: &Graph) -> BTreeMap<NodeId, Vec<NodeId>> {
    let mut groups = BTreeMap::new();
    for value in graph.node_ids() {
        for bias in [false, true] {
            let mut members: Vec<NodeId> =
                graph.users(value).map(|(user, _)| user).filter(|user| is_plain(graph, *user, bias)).collect();
            members.sort_unstable();
            if let (Some(first), true) = (members.first().copied(), members.len() > 1) {
                groups.insert(first, members);
            }
        }
    }
    groups
}

/// A linear map whose weight is kept as the matrix it is, with or without a bias.
fn is_plain(graph: &Graph, id: NodeId, bias: bool) -> bool {
    let node = graph.node(id);
    let Some(Op::Linear(linear)) = node.op() else { return false };
    let shapes: SmallVec<[&[u64]; 2]> = node.parameters.iter().map(|id| &*graph.parameter(*id).shape).collect();
    let matrix = matches!(shapes.first(), Some([features, _]) if *features == linear.features);
    linear.bias == bias && matrix && shapes.len() == 1 + usize::from(bias)
}

fn merge(rewrite: &mut Rewrite<'_>, members: &[NodeId]) {
    let old = rewrite.old;
    let Some(first) = members.first().map(|id| old.node(*id)) else { return };
    let features = |id: &NodeId| match old.node(*id).op() {
        Some(Op::Linear(linear)) => linear.features,
        _ => 0,
    };
    let total: u64 = members.iter().map(features).sum();
    let bias = first.parameters.len() > 1;
    let operands = members.first().map(|id| rewrite.operands(*id)).unwrap_or_default();
    let node = Node {
        kind: NodeKind::Op(Linear { features: total, bias }.into()),
        ty: first.ty.clone().with(Axis::Channel, total.into()),
        parameters: SmallVec::new(),
        path: None,
        name: None,
        role: None,
        ..first.clone()
    };
    let merged = rewrite.add(node, &operands);
    for slot in 0..first.parameters.len() {
        let holds: Vec<ParameterId> =
            members.iter().filter_map(|id| old.node(*id).parameters.get(slot).copied()).collect();
        let Some(like) = holds.first().map(|id| old.parameter(*id).clone()) else { continue };
        let paths: Vec<&str> = holds.iter().map(|id| &*old.parameter(*id).path).collect();
        let shape = std::iter::once(total).chain(like.shape.iter().skip(1).copied()).collect();
        rewrite.add_parameter(merged, Parameter { path: paths.join(" + ").into(), shape, ..like }, &holds);
    }
    let mut start = 0;
    for id in members {
        let size = features(id);
        let part = Slice::of_channels(start, size, 1);
        let node = Node { kind: NodeKind::Op(part.into()), parameters: SmallVec::new(), ..old.node(*id).clone() };
        let part = rewrite.add(node, &[merged]);
        rewrite.replace(*id, part);
        start += size;
    }
}
