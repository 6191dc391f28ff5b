//! Where tensors are cut and joined: the parts of their channel and token axes.
//!
//! A cut of one tensor is a boundary in every tensor whose axis lies on its own index by index. Axes that lie on each
//! other form a class; boundaries belong to classes and travel between classes over cuts and joins, shifted by where
//! the part starts, until nothing changes.

use crate::dim::Dim;
use crate::ir::{Graph, NodeId};
use crate::ops::{Alignment, Link};
use crate::types::{Axis, Type};

/// Boundaries of a class, at most; beyond it the axis is not divided further.
const MAX_CUTS: usize = 64;

/// The parts of one axis of every tensor.
#[derive(Debug)]
pub struct Parts {
    class: Vec<u32>,
    cuts: Vec<Vec<u64>>,
}

impl Parts {
    pub fn of(graph: &Graph, axis: Axis) -> Self {
        let mut builder = Builder { class: (0..graph.node_count() as u32).collect(), bridges: vec![] };
        for id in graph.node_ids() {
            builder.node(graph, id, axis);
        }
        builder.finish(graph, axis)
    }

    /// Every tensor in one part.
    pub fn undivided(graph: &Graph) -> Self {
        Parts { class: vec![0; graph.node_count()], cuts: vec![] }
    }

    /// Whether any tensor has more than one part.
    pub fn divides(&self) -> bool {
        self.cuts.iter().any(|cuts| !cuts.is_empty())
    }

    fn cuts(&self, node: NodeId) -> &[u64] {
        let class = self.class.get(node.index()).map_or(0, |class| *class as usize);
        self.cuts.get(class).map_or(&[], Vec::as_slice)
    }

    /// Number of parts.
    pub fn count(&self, node: NodeId) -> usize {
        self.cuts(node).len() + 1
    }

    /// Parts before the index `at`.
    pub fn before(&self, node: NodeId, at: u64) -> usize {
        self.cuts(node).iter().filter(|cut| **cut <= at).count()
    }

    /// Whether a part holds a single index.
    pub fn is_single(&self, node: NodeId, part: usize, size: &Dim) -> bool {
        let cuts = self.cuts(node);
        let start = part.checked_sub(1).and_then(|before| cuts.get(before)).copied().unwrap_or(0);
        let end = cuts.get(part).copied().or(size.known());
        end.is_some_and(|end| end - start == 1)
    }
}

/// A part of one class that is all of another one.
struct Bridge {
    whole: u32,
    part: u32,
    start: u64,
    size: u64,
}

struct Builder {
    class: Vec<u32>,
    bridges: Vec<Bridge>,
}

fn link(alignment: Alignment, axis: Axis) -> Link {
    if axis == Axis::Channel { alignment.channels } else { alignment.tokens }
}

impl Builder {
    fn node(&mut self, graph: &Graph, id: NodeId, axis: Axis) {
        let node = graph.node(id);
        let Some(op) = node.op() else { return };
        let operands = graph.operands(id);
        let types: Vec<&Type> = operands.iter().map(|operand| &graph.node(*operand).ty).collect();
        let alignments = op.as_operator().alignments(&types, &node.ty);
        for ((operand, ty), alignment) in operands.iter().zip(&types).zip(alignments) {
            let known = |ty: &Type| ty.dim(axis).and_then(Dim::known);
            match link(alignment, axis) {
                Link::Same => self.join(operand.0, id.0),
                Link::PartOfResult(start) => {
                    if let Some(size) = known(ty) {
                        self.bridges.push(Bridge { whole: id.0, part: operand.0, start, size });
                    }
                }
                Link::PartOfOperand(start) => {
                    if let Some(size) = known(&node.ty) {
                        self.bridges.push(Bridge { whole: operand.0, part: id.0, start, size });
                    }
                }
                Link::Unrelated => {}
            }
        }
    }

    fn root(&mut self, mut at: u32) -> u32 {
        loop {
            let up = self.class.get(at as usize).copied().unwrap_or(at);
            if up == at {
                return at;
            }
            // Path halving keeps the trees flat.
            let above = self.class.get(up as usize).copied().unwrap_or(up);
            if let Some(slot) = self.class.get_mut(at as usize) {
                *slot = above;
            }
            at = above;
        }
    }

    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        if let Some(slot) = self.class.get_mut(a.max(b) as usize) {
            *slot = a.min(b);
        }
    }

    fn finish(mut self, graph: &Graph, axis: Axis) -> Parts {
        let class: Vec<u32> = (0..self.class.len() as u32).map(|at| self.root(at)).collect();
        let mut cuts: Vec<Vec<u64>> = vec![vec![]; class.len()];
        let mut sizes: Vec<Option<u64>> = vec![None; class.len()];
        for id in graph.node_ids() {
            let root = class.get(id.index()).map_or(0, |root| *root as usize);
            if let (Some(slot), Some(size)) = (sizes.get_mut(root), graph.node(id).ty.dim(axis).and_then(Dim::known)) {
                *slot = Some(size);
            }
        }
        for bridge in &mut self.bridges {
            bridge.whole = class.get(bridge.whole as usize).copied().unwrap_or(0);
            bridge.part = class.get(bridge.part as usize).copied().unwrap_or(0);
        }
        let mut touching: Vec<Vec<u32>> = vec![vec![]; if self.bridges.is_empty() { 0 } else { class.len() }];
        for (at, bridge) in self.bridges.iter().enumerate() {
            for side in [bridge.whole, bridge.part] {
                if let Some(list) = touching.get_mut(side as usize) {
                    list.push(at as u32);
                }
            }
        }
        let mut open: Vec<u32> = (0..self.bridges.len() as u32).collect();
        while let Some(at) = open.pop() {
            let Some(bridge) = self.bridges.get(at as usize) else { continue };
            let of = |cuts: &[Vec<u64>], class: u32| cuts.get(class as usize).cloned().unwrap_or_default();
            let inner = of(&cuts, bridge.part);
            let outer = of(&cuts, bridge.whole);
            let (start, end) = (bridge.start, bridge.start + bridge.size);
            let to_whole: Vec<u64> = inner.iter().map(|cut| cut + start).chain([start, end]).collect();
            let to_part: Vec<u64> =
                outer.iter().filter(|cut| start < **cut && **cut < end).map(|cut| cut - start).collect();
            for (class, new) in [(bridge.whole, to_whole), (bridge.part, to_part)] {
                let size = sizes.get(class as usize).copied().flatten().unwrap_or(u64::MAX);
                let Some(own) = cuts.get_mut(class as usize) else { continue };
                let before = own.len();
                for cut in new {
                    if cut > 0 && cut < size && own.len() < MAX_CUTS && !own.contains(&cut) {
                        own.push(cut);
                    }
                }
                if own.len() > before {
                    own.sort_unstable();
                    open.extend(touching.get(class as usize).into_iter().flatten().filter(|other| **other != at));
                }
            }
        }
        Parts { class, cuts }
    }
}
