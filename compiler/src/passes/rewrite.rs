//! Making a graph from another one, node by node.

use super::{Fold, Optimized};
use crate::ir::groups::Groups;
use crate::ir::{Graph, Node, NodeId, Parameter, ParameterId};
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// A new graph under construction, beside the one it is made from.
pub(super) struct Rewrite<'o> {
    pub old: &'o Graph,
    origins: &'o Optimized,
    graph: Graph,
    /// Old node to new.
    map: Vec<Option<NodeId>>,
    /// The first graph's parameters in each new one.
    sources: Vec<Vec<ParameterId>>,
    folds: BTreeMap<ParameterId, Fold>,
}

impl<'o> Rewrite<'o> {
    pub fn new(origins: &'o Optimized) -> Self {
        let old = &origins.graph;
        let mut graph = Graph::new(old.model.clone(), old.scope(crate::ir::ROOT).clone());
        graph.preset = old.preset.clone();
        graph.docs = old.docs.clone();
        graph.hyperparameters = old.hyperparameters.clone();
        graph.constraints = old.constraints.clone();
        graph.typical = old.typical.clone();
        graph.allows = old.allows.clone();
        graph.process = old.process.clone();
        for scope in old.scope_ids().skip(1) {
            graph.add_scope(old.scope(scope).clone());
        }
        let folds = origins.folds.clone();
        Self { old, origins, graph, map: vec![None; old.node_count()], sources: vec![], folds }
    }

    /// The new node with the value of an old one, which has been copied or replaced before.
    pub fn at(&self, old: NodeId) -> Option<NodeId> {
        self.map.get(old.index()).copied().flatten()
    }

    /// Says which new node has the value of an old one.
    pub fn replace(&mut self, old: NodeId, new: NodeId) {
        if let Some(slot) = self.map.get_mut(old.index()) {
            *slot = Some(new);
        }
    }

    /// The new operands of an old node.
    pub fn operands(&self, old: NodeId) -> SmallVec<[NodeId; 3]> {
        self.old.operands(old).into_iter().filter_map(|operand| self.at(operand)).collect()
    }

    /// Copies a node with its parameters.
    pub fn copy(&mut self, id: NodeId) -> NodeId {
        let operands = self.operands(id);
        let node = Node { parameters: SmallVec::new(), ..self.old.node(id).clone() };
        let new = self.graph.add_node(node, &operands);
        for parameter in &self.old.node(id).parameters {
            self.add_parameter(new, self.old.parameter(*parameter).clone(), &[*parameter]);
        }
        self.replace(id, new);
        new
    }

    /// Adds a node that has no counterpart.
    pub fn add(&mut self, node: Node, operands: &[NodeId]) -> NodeId {
        self.graph.add_node(node, operands)
    }

    /// Gives a node a parameter that holds some of the old graph's, one behind the other.
    pub fn add_parameter(&mut self, node: NodeId, parameter: Parameter, holds: &[ParameterId]) {
        let sources = holds.iter().filter_map(|id| self.origins.parameters.get(id.index())).flatten();
        self.sources.push(sources.copied().collect());
        self.graph.parameters.push(Parameter { node, ..parameter });
        let id = ParameterId(self.graph.parameters.len() as u32 - 1);
        self.graph.node_mut(node).parameters.push(id);
    }

    /// Says what is done to an old parameter before it is held.
    pub fn fold(&mut self, parameter: ParameterId, fold: Fold) {
        let sources = self.origins.parameters.get(parameter.index()).into_iter().flatten();
        self.folds.extend(sources.map(|id| (*id, fold)));
    }

    /// The graph, with parameters in the order of the first graph.
    pub fn finish(mut self) -> Optimized {
        let mut order: Vec<usize> = (0..self.sources.len()).collect();
        order.sort_by_key(|at| self.sources.get(*at).and_then(|sources| sources.first().copied()));
        let mut place = vec![ParameterId(0); order.len()];
        for (new, old) in order.iter().enumerate() {
            if let Some(place) = place.get_mut(*old) {
                *place = ParameterId(new as u32);
            }
        }
        for id in self.graph.node_ids() {
            for parameter in &mut self.graph.node_mut(id).parameters {
                *parameter = place.get(parameter.index()).copied().unwrap_or(*parameter);
            }
        }
        let parameters = std::mem::take(&mut self.graph.parameters);
        self.graph.parameters = order.iter().filter_map(|at| parameters.get(*at).cloned()).collect();
        let sources = order.iter().filter_map(|at| self.sources.get(*at).cloned()).collect();

        let at = |old: NodeId| self.map.get(old.index()).copied().flatten();
        for output in &self.old.outputs {
            self.graph.outputs.extend(at(output.node).map(|node| crate::ir::Output { node, ..output.clone() }));
        }
        for input in &self.old.inputs {
            self.graph.inputs.extend(at(input.node).map(|node| crate::ir::Input { node, ..input.clone() }));
        }
        for scope in self.old.scope_ids() {
            let (old, new) = (self.old.scope(scope), self.graph.scope_mut(scope));
            new.inputs = old.inputs.iter().filter_map(|(name, node)| Some((name.clone(), at(*node)?))).collect();
            new.outputs = old.outputs.iter().filter_map(|node| at(*node)).collect();
        }
        let nodes = self.origins.nodes.iter().map(|node| at((*node)?)).collect();
        Optimized { graph: self.graph, parameters: sources, folds: self.folds, nodes, groups: Groups::default() }
    }
}
