//! When the values of a denoiser can be known while it draws samples.
//!
//! A sampler asks a network many times about the same samples. What depends on the text alone is the same in every step;
//! what depends on the time alone is known for all steps of a schedule before the first of them.

use crate::ir::{Graph, NodeId, NodeKind};
use crate::types::Kind;

/// What the value of a node depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Parameters and sizes alone.
    #[default]
    Constant,
    /// Conditions as well: classes, texts, masks.
    Condition,
    /// The time or noise level, and no condition.
    Time,
    /// Conditions and the time.
    Both,
    /// The noisy input, which every step changes.
    Step,
}

impl Stage {
    /// In an order in which no value needs one of a later stage.
    pub const ALL: [Stage; 5] = [Stage::Constant, Stage::Condition, Stage::Time, Stage::Both, Stage::Step];

    /// What a value depends on that is made of these two.
    #[must_use]
    pub fn with(self, other: Stage) -> Stage {
        match (self, other) {
            (Stage::Condition, Stage::Time) | (Stage::Time, Stage::Condition) => Stage::Both,
            (one, other) => one.max(other),
        }
    }

    /// The stage of an input: the noisy one is the first that holds features.
    fn of_input(graph: &Graph, input: NodeId) -> Stage {
        if graph.noisy_input() == Some(input) {
            return Stage::Step;
        }
        match graph.node(input).ty.kind {
            Kind::Timestep | Kind::Sigma => Stage::Time,
            Kind::Image
            | Kind::Video
            | Kind::Tokens
            | Kind::Sequence
            | Kind::Vector
            | Kind::Scalar
            | Kind::Label
            | Kind::Ids
            | Kind::Mask => Stage::Condition,
        }
    }
}

/// The stage of every node, in the order of the nodes.
pub fn stages(graph: &Graph) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::with_capacity(graph.node_count());
    for id in graph.node_ids() {
        let stage = match graph.node(id).kind {
            NodeKind::Input(_) => Stage::of_input(graph, id),
            NodeKind::Op(_) => {
                let operands = graph.operands(id).into_iter();
                let of = |operand: NodeId| stages.get(operand.index()).copied().unwrap_or_default();
                operands.map(of).fold(Stage::Constant, Stage::with)
            }
        };
        stages.push(stage);
    }
    stages
}
