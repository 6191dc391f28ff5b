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
//! and parameters, written down in each operator's file, and so are facts of gradients. A parameter has the facts of
//! its start, and from the step after a gradient has a fact it has that fact too: it moves along its gradients and
//! nothing else. Hence `t` is the least solution of a system of equations over
//! (min, max, +1), and the level-by-level propagation below computes it: at level `k` it derives every fact that
//! holds at step `k`, then wakes the parameters whose gradient has become non-zero. Each fact becomes true once, so
//! the work is linear in the graph.
//!
//! Sizes that are known only when the model runs have their typical values, so that parts of sequences are told apart.
//! Facts are kept twice where sequences are cut and joined: for each part of the tokens, which sees that a part is
//! zero, and for the whole, which sees that a sum over all tokens is. Both are sound; attention and parameters take what
//! both say: a gradient is zero where either says so.
//!
//! Three assumptions stand behind "almost all": distinct paths do not cancel (`x - x` is taken to be non-zero, but for the
//! two paths of a blend, whose difference is known: `blends.rs`), ε in a
//! normalisation keeps scale directions alive, and every output takes part in the loss with a generic target.

mod agenda;
mod blends;
pub mod facts;
mod parts;
mod view;

use crate::ir::{Graph, NodeId, ParameterId};
use crate::ops::ParameterCells;
use crate::types::Axis;
use facts::Grid;
use parts::Parts;
use serde::Serialize;
use std::fmt;
use view::View;

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

impl fmt::Display for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wake::Step(step) => write!(f, "{step}"),
            Wake::Never(_) => f.write_str("never"),
            Wake::Frozen => f.write_str("frozen"),
        }
    }
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
        Engine::new(&graph.at_typical_sizes()).run()
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

/// The propagation, in all its views.
struct Engine<'g> {
    graph: &'g Graph,
    /// With the tokens in parts.
    fine: View<'g>,
    /// With the tokens undivided; none where that is the same.
    whole: Option<View<'g>>,
    wake: Vec<Option<u32>>,
}

impl<'g> Engine<'g> {
    fn new(graph: &'g Graph) -> Self {
        let tokens = Parts::of(graph, Axis::Token);
        let whole = tokens.divides().then(|| View::new(graph, Parts::undivided(graph)));
        Self { graph, fine: View::new(graph, tokens), whole, wake: vec![None; graph.parameters.len()] }
    }

    fn run(mut self) -> Liveness {
        let mut step = 1;
        let mut silent = vec![];
        loop {
            if let Some(whole) = &mut self.whole {
                whole.propagate();
                self.fine.learn(&whole.forward);
            }
            self.fine.propagate();
            if step == 1 {
                silent = self.fine.forward.iter().map(|grid| !grid.any_nonzero()).collect();
            }
            if !self.awaken(step) {
                break;
            }
            step += 1;
        }
        let ends = self.ends();
        let wake = self.graph.parameter_ids().map(|id| self.verdict(id, &ends)).collect();
        let View { forward, backward, parameters, .. } = self.fine;
        Liveness { wake, silent, forward, backward, parameters }
    }

    /// Wakes the parameters whose gradient has become non-zero; whether any did.
    fn awaken(&mut self, step: u32) -> bool {
        let mut woken = false;
        for id in self.graph.parameter_ids() {
            let parameter = self.graph.parameter(id);
            if !parameter.is_trained() {
                continue;
            }
            let Some(gradient) = self.fine.gradients.get(id.index()).filter(|gradient| gradient.any_nonzero()) else {
                continue;
            };
            let whole = self.whole.as_ref().and_then(|view| view.gradients.get(id.index()));
            // The whole has a single row of tokens, which stands for every part.
            let agrees = |row, column| whole.is_none_or(|whole| whole.at(row, column).nonzero());
            let moved = gradient.map(|row, column, facts| facts.when(agrees(row, column)));
            let merged = whole.map(|whole| {
                whole.map(|row, column, facts| {
                    let moves = match parameter.cells {
                        ParameterCells::Value => moved.column(column).nonzero(),
                        ParameterCells::Output | ParameterCells::OutputByInput => moved.at(row, column).nonzero(),
                    };
                    facts.when(moves)
                })
            });
            if !moved.any_nonzero() {
                continue;
            }
            if let Some(wake) = self.wake.get_mut(id.index()) {
                wake.get_or_insert(step);
            }
            woken |= self.fine.move_parameter(id, &moved);
            if let (Some(whole), Some(merged)) = (&mut self.whole, merged) {
                woken |= whole.move_parameter(id, &merged);
            }
        }
        woken
    }

    fn verdict(&self, id: ParameterId, ends: &[End]) -> Wake {
        let parameter = self.graph.parameter(id);
        if !parameter.is_trained() {
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
        self.fine.forward.get(node.index()).is_none_or(|grid| !grid.any_nonzero())
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
                let arrives = self.fine.backward.get(user.index()).is_some_and(Grid::any_nonzero);
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
                .any(|parameter| self.fine.parameters.get(parameter.index()).is_none_or(|grid| !grid.any_nonzero()))
    }
}

/// What stands between a value and the outputs.
#[derive(Clone, Copy, Default)]
struct End {
    reaches_output: bool,
    /// The gradient that comes back stops at a factor of zero.
    meets_zero: bool,
}
