//! When parameters begin to move: the order of vanishing of every gradient at initialisation.
//!
//! Zero initialisation makes gradients vanish. Take every parameter that starts at zero as a formal ε: the gradient of
//! a parameter is then of some order in ε, and a parameter whose gradient has order `k - 1` first moves at step `k` of
//! gradient descent. No finite order means that it never trains. In DiT the head moves first, the modulation second,
//! attention and MLP third; with a gate *and* the projection it gates at zero, neither ever moves.
//!
//! # Why this is exact
//!
//! Let `t(f)` be the first step at which a fact `f` ([`Facts`]) about a value, a gradient or a parameter holds for
//! almost all inputs, targets and non-zero parameters. Facts of a result are monotone functions of facts of operands
//! and parameters, written down in each operator's file, and so are facts of gradients. A parameter that starts at
//! zero has no facts until the step after its gradient has one, and all of them from then on: an update along a
//! gradient that is not identically zero is generic. Hence `t` is the least solution of a system of equations over
//! (min, max, +1), and the level-by-level propagation below computes it: at level `k` it derives every fact that
//! holds at step `k`, then wakes the parameters whose gradient has become non-zero. Each fact becomes true once, so
//! the work is linear in the graph.
//!
//! Three assumptions stand behind "almost all": distinct paths do not cancel (`x - x` is taken to be non-zero), ε in a
//! normalisation keeps scale directions alive, and every output takes part in the loss with a generic target.

pub mod facts;
mod parts;

use crate::init::Init;
use crate::ir::{Graph, Node, NodeId, NodeKind, ParameterId};
use crate::ops::concat::JoinAxis;
use crate::ops::{Flow, Gradients, Op, ParameterCells};
use crate::types::{Axis, Type};
use facts::{Facts, Grid};
use parts::Parts;
use serde::Serialize;
use smallvec::SmallVec;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// When a parameter first moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wake {
    /// At that step of gradient descent, counted from one.
    Step(u32),
    Never(Dead),
    /// It is not trained.
    Frozen,
}

/// Why a gradient vanishes for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dead {
    /// Nothing that depends on it reaches an output.
    Unreachable,
    /// Factors of a product all start at zero and keep each other there.
    ZeroProduct,
    /// The output does not depend on it: softmax ignores what is added to all scores, a norm what is added to all it
    /// normalises.
    Invariant,
}

/// When every parameter first moves, and what stays zero.
#[derive(Debug)]
pub struct Liveness {
    wake: Vec<Wake>,
    /// Whether each value is zero at the first step.
    silent: Vec<bool>,
    /// Facts that hold in the end.
    forward: Vec<Grid>,
    backward: Vec<Grid>,
    parameters: Vec<Grid>,
}

impl Liveness {
    pub fn of(graph: &Graph) -> Self {
        Engine::new(graph).run()
    }

    /// When a parameter first moves.
    pub fn wake(&self, parameter: ParameterId) -> Wake {
        self.wake.get(parameter.index()).copied().unwrap_or(Wake::Frozen)
    }

    /// Whether a value is zero at the first step.
    pub fn starts_zero(&self, node: NodeId) -> bool {
        self.silent.get(node.index()).copied().unwrap_or(false)
    }

    /// Whether a value stays zero however long the model trains.
    pub fn stays_zero(&self, node: NodeId) -> bool {
        self.forward.get(node.index()).is_none_or(|grid| !grid.any_nonzero())
    }

    /// Whether a gradient ever arrives at a value.
    pub fn receives_gradient(&self, node: NodeId) -> bool {
        self.backward.get(node.index()).is_some_and(Grid::any_nonzero)
    }

    /// Whether a parameter stays zero.
    pub fn parameter_stays_zero(&self, parameter: ParameterId) -> bool {
        self.parameters.get(parameter.index()).is_none_or(|grid| !grid.any_nonzero())
    }
}

struct Engine<'g> {
    graph: &'g Graph,
    channels: Parts,
    tokens: Parts,
    forward: Vec<Grid>,
    backward: Vec<Grid>,
    /// Facts of the parameters at the current step.
    parameters: Vec<Grid>,
    /// Facts of their gradients so far.
    gradients: Vec<Grid>,
    wake: Vec<Option<u32>>,
    /// Nodes to look at again, nearest to the inputs first, and nearest to the outputs first.
    up: BinaryHeap<Reverse<NodeId>>,
    down: BinaryHeap<NodeId>,
    queued_up: Vec<bool>,
    queued_down: Vec<bool>,
}

impl<'g> Engine<'g> {
    fn new(graph: &'g Graph) -> Self {
        let channels = Parts::of(graph, Axis::Channel);
        let tokens = Parts::of(graph, Axis::Token);
        let count = graph.node_count();
        let empty = |id: NodeId| Grid::new(tokens.count(id), channels.count(id));
        let forward: Vec<Grid> = graph.node_ids().map(empty).collect();
        let backward = forward.clone();
        let mut engine = Self {
            graph,
            forward,
            backward,
            parameters: vec![],
            gradients: vec![],
            wake: vec![None; graph.parameters.len()],
            up: BinaryHeap::with_capacity(count),
            down: BinaryHeap::with_capacity(count),
            queued_up: vec![false; count],
            queued_down: vec![false; count],
            channels,
            tokens,
        };
        for parameter in &graph.parameters {
            let (rows, columns) = engine.parameter_parts(parameter.node, parameter.cells);
            let start = match &parameter.init {
                init if init.is_zero() => Facts::ZERO,
                init if is_uniform(init) => Facts::UNIFORM,
                _ => Facts::GENERIC,
            };
            let mut grid = Grid::filled(rows, columns, start);
            if parameter.cells != ParameterCells::OutputByInput {
                grid = engine.masked_parameter(parameter.node, parameter.cells, &grid);
            }
            engine.parameters.push(grid);
            engine.gradients.push(Grid::new(rows, columns));
        }
        engine
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
            let no_positions = ty.positions().all(|dim| *dim == crate::dim::Dim::Known(1))
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

    /// The same for a parameter that stands for a vector of channels, or for a value.
    fn masked_parameter(&self, node: NodeId, cells: ParameterCells, grid: &Grid) -> Grid {
        let ty = &self.graph.node(node).ty;
        let grid = match cells {
            ParameterCells::Value => grid.clone(),
            ParameterCells::Output | ParameterCells::OutputByInput => {
                grid.map(|_, _, facts| facts.without(Facts::POSITIONS))
            }
        };
        self.masked(node, ty, &grid)
    }

    fn run(mut self) -> Liveness {
        let mut step = 1;
        for id in self.graph.node_ids() {
            self.look_up(id);
        }
        for output in &self.graph.outputs {
            let ty = &self.graph.node(output.node).ty;
            let seed = self.forward.get(output.node.index()).map(|grid| grid.map(|_, _, _| Facts::GENERIC));
            if let Some(seed) = seed {
                let seed = self.masked(output.node, ty, &seed);
                if let Some(gradient) = self.backward.get_mut(output.node.index()) {
                    gradient.absorb(&seed);
                }
            }
            self.look_down(output.node);
        }
        let mut silent = vec![];
        loop {
            self.propagate();
            if step == 1 {
                silent = self.forward.iter().map(|grid| !grid.any_nonzero()).collect();
            }
            if !self.awaken(step) {
                break;
            }
            step += 1;
        }
        let ends = self.ends();
        let wake = self.graph.parameter_ids().map(|id| self.verdict(id, &ends)).collect();
        Liveness { wake, silent, forward: self.forward, backward: self.backward, parameters: self.parameters }
    }

    fn look_up(&mut self, id: NodeId) {
        if let Some(queued @ false) = self.queued_up.get_mut(id.index()) {
            *queued = true;
            self.up.push(Reverse(id));
        }
    }

    fn look_down(&mut self, id: NodeId) {
        if let Some(queued @ false) = self.queued_down.get_mut(id.index()) {
            *queued = true;
            self.down.push(id);
        }
    }

    /// Derives every fact that follows from those that hold.
    fn propagate(&mut self) {
        while let Some(Reverse(id)) = self.up.pop() {
            if let Some(queued) = self.queued_up.get_mut(id.index()) {
                *queued = false;
            }
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
            }
            self.look_down(id);
        }
        while let Some(id) = self.down.pop() {
            if let Some(queued) = self.queued_down.get_mut(id.index()) {
                *queued = false;
            }
            self.send_back(id);
        }
    }

    fn flow<'a>(&'a self, id: NodeId, node: &'a Node) -> Flow<'a> {
        let operands = self.graph.operands(id);
        let mut cut_offset = 0;
        if let (Some(Op::Slice(slice)), Some(operand)) = (node.op(), operands.first()) {
            let parts = match slice.along {
                JoinAxis::Channels => &self.channels,
                JoinAxis::Tokens => &self.tokens,
            };
            cut_offset = parts.before(*operand, slice.start.0);
        }
        Flow {
            operands: operands
                .iter()
                .filter_map(|operand| Some((&self.graph.node(*operand).ty, self.forward.get(operand.index())?)))
                .collect(),
            parameters: node.parameters.iter().filter_map(|id| self.parameters.get(id.index())).collect(),
            result: &node.ty,
            rows: self.tokens.count(id),
            columns: self.channels.count(id),
            cut_offset,
        }
    }

    /// Passes the gradient of a node on to its operands and parameters.
    fn send_back(&mut self, id: NodeId) {
        let node = self.graph.node(id);
        let Some(op) = node.op() else { return };
        let Some(gradient) = self.backward.get(id.index()).filter(|gradient| gradient.any_nonzero()) else { return };
        let Gradients { operands, parameters } = op.as_operator().flow_back(&self.flow(id, node), gradient);
        for (operand, sent) in self.graph.operands(id).into_iter().zip(operands) {
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

    /// Wakes the parameters whose gradient has become non-zero; whether any did.
    fn awaken(&mut self, step: u32) -> bool {
        let mut woken = false;
        for id in self.graph.parameter_ids() {
            let parameter = self.graph.parameter(id);
            if !parameter.trainable {
                continue;
            }
            let Some(gradient) = self.gradients.get(id.index()).filter(|gradient| gradient.any_nonzero()) else {
                continue;
            };
            if let Some(wake) = self.wake.get_mut(id.index()) {
                wake.get_or_insert(step);
            }
            let mut moved = gradient.map(|_, _, facts| Facts::GENERIC.when(facts.nonzero()));
            if parameter.cells != ParameterCells::OutputByInput {
                moved = self.masked_parameter(parameter.node, parameter.cells, &moved);
            }
            if self.parameters.get_mut(id.index()).is_some_and(|own| own.absorb(&moved)) {
                woken = true;
                self.look_up(parameter.node);
                self.look_down(parameter.node);
            }
        }
        woken
    }

    fn verdict(&self, id: ParameterId, ends: &[End]) -> Wake {
        let parameter = self.graph.parameter(id);
        if !parameter.trainable {
            return Wake::Frozen;
        }
        if let Some(step) = self.wake.get(id.index()).copied().flatten() {
            return Wake::Step(step);
        }
        let end = ends.get(parameter.node.index()).copied().unwrap_or_default();
        let zero_operand = self.graph.operands(parameter.node).into_iter().any(|operand| self.is_zero(operand));
        Wake::Never(if !end.reaches_output {
            Dead::Unreachable
        } else if zero_operand || end.meets_zero {
            Dead::ZeroProduct
        } else {
            Dead::Invariant
        })
    }

    fn is_zero(&self, node: NodeId) -> bool {
        self.forward.get(node.index()).is_none_or(|grid| !grid.any_nonzero())
    }

    /// What stands behind every node, found from the outputs back.
    fn ends(&self) -> Vec<End> {
        let mut ends = vec![End::default(); self.graph.node_count()];
        for output in &self.graph.outputs {
            if let Some(end) = ends.get_mut(output.node.index()) {
                end.reaches_output = true;
            }
        }
        for id in self.graph.node_ids().rev() {
            let mut end = ends.get(id.index()).copied().unwrap_or_default();
            for (user, _) in self.graph.users(id) {
                let behind = ends.get(user.index()).copied().unwrap_or_default();
                end.reaches_output |= behind.reaches_output;
                let arrives = self.backward.get(user.index()).is_some_and(Grid::any_nonzero);
                end.meets_zero |= if arrives { self.multiplies_by_zero(user, id) } else { behind.meets_zero };
            }
            if let Some(slot) = ends.get_mut(id.index()) {
                *slot = end;
            }
        }
        ends
    }

    /// Whether another factor of a node than `operand` is zero.
    fn multiplies_by_zero(&self, node: NodeId, operand: NodeId) -> bool {
        let zero_factor = self.graph.operands(node).into_iter().any(|other| other != operand && self.is_zero(other));
        zero_factor
            || self
                .graph
                .node(node)
                .parameters
                .iter()
                .any(|parameter| self.parameters.get(parameter.index()).is_none_or(|grid| !grid.any_nonzero()))
    }
}

/// What stands between a value and the outputs.
#[derive(Clone, Copy, Default)]
struct End {
    reaches_output: bool,
    /// The gradient that comes back stops at a factor of zero.
    meets_zero: bool,
}

/// Whether all elements start equal and not at zero.
fn is_uniform(init: &Init) -> bool {
    init.is_constant() && !init.is_zero()
}
