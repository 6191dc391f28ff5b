//! Nodes that run as one.

use super::{Graph, NodeId};
use smallvec::SmallVec;

/// What one kernel computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// `norm(x) * factor + shift`, with a factor and a shift for each channel, and SiLU of that. Not all three need be there.
    Norm { factor: bool, shift: bool, silu: bool },
    /// `x + gate * branch`
    GatedSum,
}

impl Kernel {
    pub fn name(self) -> &'static str {
        match self {
            Kernel::Norm { factor: false, shift: false, .. } => "norm_silu",
            Kernel::Norm { silu: false, .. } => "modulated_norm",
            Kernel::Norm { silu: true, .. } => "modulated_norm_silu",
            Kernel::GatedSum => "gated_sum",
        }
    }
}

/// Nodes of which only the last has a value that others see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub kernel: Kernel,
    /// In the order of the graph.
    pub nodes: SmallVec<[NodeId; 4]>,
    /// What the group takes, each with the node in it that does: for a norm `x`, the factor and the shift as far as they are
    /// there, for a gated sum `x`, the branch and the gate.
    pub operands: SmallVec<[(NodeId, NodeId); 3]>,
}

impl Group {
    /// The node whose value is that of the group, and in whose place it runs.
    pub fn last(&self) -> Option<NodeId> {
        self.nodes.last().copied()
    }

    /// `layer_norm, multiply, add`
    pub fn operators(&self, graph: &Graph) -> String {
        let names = self.nodes.iter().filter_map(|node| graph.node(*node).op()).map(crate::ops::Op::name);
        names.collect::<Vec<_>>().join(", ")
    }
}

/// The groups of a graph, none of which share a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    groups: Vec<Group>,
    /// The place of its group in `groups` for every node up to the last that has one.
    of: Vec<Option<usize>>,
}

impl Groups {
    pub fn push(&mut self, group: Group) {
        let at = self.groups.len();
        for node in &group.nodes {
            if self.of.len() <= node.index() {
                self.of.resize(node.index() + 1, None);
            }
            if let Some(slot) = self.of.get_mut(node.index()) {
                *slot = Some(at);
            }
        }
        self.groups.push(group);
    }

    pub fn iter(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter()
    }

    /// The group that a node belongs to.
    pub fn of(&self, node: NodeId) -> Option<&Group> {
        self.groups.get(self.of.get(node.index()).copied().flatten()?)
    }

    /// The node in whose place a node runs: the last of its group, or itself.
    pub fn place(&self, node: NodeId) -> NodeId {
        self.of(node).and_then(Group::last).unwrap_or(node)
    }

    /// What a node's group is called, as a remark behind the node.
    pub(super) fn remark(&self, graph: &Graph, node: NodeId) -> String {
        let Some(group) = self.of(node) else { return String::new() };
        let name = group.kernel.name();
        if group.last() == Some(node) {
            format!(" // {name} of {}", group.operators(graph))
        } else {
            format!(" // part of {name}")
        }
    }
}
