//! The propagation of facts at one step, with the tokens in given parts.

use super::agenda::Agenda;
use super::blends::{Blend, Blends};
use super::facts::{Facts, Grid};
use super::parts::Parts;
use crate::dim::Dim;
use crate::init::Init;
use crate::ir::{Graph, Node, NodeId, NodeKind, ParameterId};
use crate::ops::concat::JoinAxis;
use crate::ops::{Flow, Gradients, Op, ParameterCells};
use crate::types::{Axis, Type};
use smallvec::SmallVec;

pub(super) struct View<'g> {
    graph: &'g Graph,
    channels: Parts,
    tokens: Parts,
    blends: Blends,
    /// What holds of the values with their tokens undivided; nothing where these have them so.
    undivided: Vec<Grid>,
    pub forward: Vec<Grid>,
    pub backward: Vec<Grid>,
    /// Facts of the parameters at the current step.
    pub parameters: Vec<Grid>,
    /// Facts of their gradients so far.
    pub gradients: Vec<Grid>,
    /// Nodes to look at again, nearest to the inputs first.
    up: Agenda,
    /// The same nearest to the outputs first: it holds the distances from the last node.
    down: Agenda,
}

impl<'g> View<'g> {
    pub fn new(graph: &'g Graph, tokens: Parts) -> Self {
        let channels = Parts::of(graph, Axis::Channel);
        let count = graph.node_count();
        let empty = |id: NodeId| Grid::new(tokens.count(id), channels.count(id));
        let forward: Vec<Grid> = graph.node_ids().map(empty).collect();
        let mut view = Self {
            graph,
            undivided: vec![],
            backward: forward.clone(),
            forward,
            parameters: vec![],
            gradients: vec![],
            up: Agenda::new(count),
            down: Agenda::new(count),
            channels,
            tokens,
            blends: Blends::of(graph),
        };
        view.start_parameters();
        for id in graph.node_ids() {
            view.look_up(id);
        }
        for output in &graph.outputs {
            view.seed(output.node);
        }
        view
    }

    /// What holds of the parameters before the first step.
    fn start_parameters(&mut self) {
        for parameter in &self.graph.parameters {
            let (rows, columns) = self.parameter_parts(parameter.node, parameter.cells);
            let start = match &parameter.init {
                init if init.is_zero() => Facts::ZERO,
                init if is_uniform(init) => Facts::UNIFORM,
                _ => Facts::GENERIC,
            };
            let grid = self.masked_parameter(parameter.node, parameter.cells, &Grid::filled(rows, columns, start));
            self.parameters.push(grid);
            self.gradients.push(Grid::new(rows, columns));
        }
    }

    /// The loss sends a generic gradient to an output.
    fn seed(&mut self, output: NodeId) {
        let ty = &self.graph.node(output).ty;
        let Some(seed) = self.forward.get(output.index()).map(|grid| grid.map(|_, _, _| Facts::GENERIC)) else {
            return;
        };
        let seed = self.masked(output, ty, &seed);
        if let Some(gradient) = self.backward.get_mut(output.index()) {
            gradient.absorb(&seed);
        }
        self.look_down(output);
    }

    fn parameter_parts(&self, node: NodeId, cells: ParameterCells) -> (usize, usize) {
        let outputs = self.channels.count(node);
        match cells {
            ParameterCells::OutputByInput => {
                (outputs, self.graph.operand(node, 0).map_or(1, |operand| self.channels.count(operand)))
            }
            ParameterCells::Output => (1, outputs),
            ParameterCells::Value => (self.tokens.count(node), outputs),
        }
    }

    /// Removes what the shape of a tensor rules out: variation along an axis of one.
    fn masked(&self, id: NodeId, ty: &Type, grid: &Grid) -> Grid {
        let open = |facts: Facts, row: usize, column: usize| {
            let no_positions = ty.positions().all(|dim| *dim == Dim::Known(1))
                || ty.dim(Axis::Token).is_some_and(|size| self.tokens.is_single(id, row, size));
            let no_channels = ty.dim(Axis::Channel).is_none_or(|size| self.channels.is_single(id, column, size));
            let mut facts = facts;
            if no_positions {
                facts = facts.without(Facts::POSITIONS);
            }
            if no_channels {
                facts = facts.without(Facts::CHANNELS);
            }
            facts.closed()
        };
        grid.map(|row, column, facts| open(facts, row, column))
    }

    /// The same for a parameter.
    fn masked_parameter(&self, node: NodeId, cells: ParameterCells, grid: &Grid) -> Grid {
        let ty = &self.graph.node(node).ty;
        match cells {
            ParameterCells::Value => self.masked(node, ty, grid),
            ParameterCells::Output => self.masked(node, ty, &grid.map(|_, _, facts| facts.without(Facts::POSITIONS))),
            ParameterCells::OutputByInput => self.masked_weight(node, grid),
        }
    }

    /// The same for a weight, whose inputs take the place of positions.
    fn masked_weight(&self, node: NodeId, grid: &Grid) -> Grid {
        let size = |id: NodeId| self.graph.node(id).ty.dim(Axis::Channel);
        let single = |id: NodeId, part| size(id).is_some_and(|size| self.channels.is_single(id, part, size));
        let operand = self.graph.operand(node, 0);
        grid.map(|output, input, facts| {
            let one_input = operand.is_some_and(|operand| single(operand, input));
            let facts = if one_input { facts.without(Facts::POSITIONS) } else { facts };
            let facts = if single(node, output) { facts.without(Facts::CHANNELS) } else { facts };
            facts.closed()
        })
    }

    /// Adds facts to a parameter that has moved; whether any were new.
    pub fn move_parameter(&mut self, id: ParameterId, moved: &Grid) -> bool {
        let parameter = self.graph.parameter(id);
        let masked = self.masked_parameter(parameter.node, parameter.cells, moved);
        let new = self.parameters.get_mut(id.index()).is_some_and(|own| own.absorb(&masked));
        if new {
            self.look_up(parameter.node);
            self.look_down(parameter.node);
        }
        new
    }

    fn look_up(&mut self, id: NodeId) {
        self.up.insert(id.index());
    }

    fn look_down(&mut self, id: NodeId) {
        self.down.insert(self.mirrored(id.index()));
    }

    /// Position of a node counted from the last one, and back.
    fn mirrored(&self, index: usize) -> usize {
        self.graph.node_count() - 1 - index
    }

    /// Takes note of what holds of undivided values, for the operations that look at all tokens together.
    pub fn learn(&mut self, undivided: &[Grid]) {
        self.undivided = undivided.to_vec();
        for id in self.graph.node_ids() {
            if let Some(Op::Attention(_)) = self.graph.node(id).op() {
                self.look_up(id);
                self.look_down(id);
            }
        }
    }

    /// Derives every fact that follows from those that hold.
    pub fn propagate(&mut self) {
        while let Some(index) = self.up.pop() {
            let id = NodeId(index as u32);
            let node = self.graph.node(id);
            let grid = match &node.kind {
                NodeKind::Input(_) => self.forward.get(id.index()).map(|grid| grid.map(|_, _, _| Facts::GENERIC)),
                NodeKind::Op(op) => Some(op.as_operator().flow(&self.flow(id, node))),
            };
            let Some(grid) = grid.map(|grid| self.masked(id, &node.ty, &grid)) else { continue };
            if self.forward.get_mut(id.index()).is_some_and(|own| own.absorb(&grid)) {
                let users: SmallVec<[NodeId; 4]> = self.graph.users(id).map(|(user, _)| user).collect();
                for user in users {
                    self.look_up(user);
                    self.look_down(user);
                }
                let sums: SmallVec<[NodeId; 1]> = self.blends.seeing(id).into();
                for sum in sums {
                    self.look_down(sum);
                }
            }
            self.look_down(id);
        }
        while let Some(index) = self.down.pop() {
            self.send_back(NodeId(self.mirrored(index) as u32));
        }
    }

    fn flow<'a>(&'a self, id: NodeId, node: &'a Node) -> Flow<'a> {
        let operands = self.graph.operands(id);
        Flow {
            operands: operands
                .iter()
                .filter_map(|operand| Some((&self.graph.node(*operand).ty, self.forward.get(operand.index())?)))
                .collect(),
            parameters: node.parameters.iter().filter_map(|id| self.parameters.get(id.index())).collect(),
            undivided: operands.iter().filter_map(|operand| self.undivided.get(operand.index())).collect(),
            result: &node.ty,
            rows: self.tokens.count(id),
            columns: self.channels.count(id),
            cut: self.cut(node, operands.first().copied()),
        }
    }

    /// For a cut: how many parts of its operand lie before it, if the operand is divided there.
    fn cut(&self, node: &Node, operand: Option<NodeId>) -> Option<usize> {
        let (Some(Op::Slice(slice)), Some(operand)) = (node.op(), operand) else { return None };
        let parts = match slice.along {
            JoinAxis::Channels => &self.channels,
            JoinAxis::Tokens => &self.tokens,
        };
        let start = slice.start.0.known().filter(|_| slice.groups == 1 && slice.size.known().is_some())?;
        let whole = self.graph.node(operand).ty.dim(slice.along.axis()) == Some(&slice.size);
        (whole || parts.count(operand) > 1).then(|| parts.before(operand, start))
    }

    /// The gradient that a blend sends to its weight.
    fn weight_gradient(&self, blend: &Blend, gradient: &Grid) -> Grid {
        let difference = blend.difference.and_then(|node| self.forward.get(node.index()));
        let stretched = gradient
            .map(|row, column, dy| difference.map_or(Facts::ZERO, |difference| dy.times(difference.at(row, column))));
        self.flow(blend.product, self.graph.node(blend.product)).unstretched(blend.slot, &stretched)
    }

    /// Passes the gradient of a node on to its operands and parameters.
    fn send_back(&mut self, id: NodeId) {
        let node = self.graph.node(id);
        let Some(op) = node.op() else { return };
        let Some(gradient) = self.backward.get(id.index()).filter(|gradient| gradient.any_nonzero()) else { return };
        let Gradients { operands, parameters } = op.as_operator().flow_back(&self.flow(id, node), gradient);
        let of_weight = self.blends.at(id).map(|blend| (blend.weight, self.weight_gradient(blend, gradient)));
        let own = self.graph.operands(id).into_iter().zip(operands);
        let sent: SmallVec<[(NodeId, Grid); 3]> =
            own.filter(|(operand, _)| !self.blends.replaces(id, *operand)).chain(of_weight).collect();
        for (operand, sent) in sent {
            let sent = self.masked(operand, &self.graph.node(operand).ty, &sent);
            if self.backward.get_mut(operand.index()).is_some_and(|own| own.absorb(&sent)) {
                self.look_down(operand);
            }
        }
        for (parameter, sent) in node.parameters.iter().zip(parameters) {
            if let Some(own) = self.gradients.get_mut(parameter.index()) {
                own.absorb(&sent);
            }
        }
    }
}

/// Whether all elements start equal and not at zero.
fn is_uniform(init: &Init) -> bool {
    init.is_constant() && !init.is_zero()
}
