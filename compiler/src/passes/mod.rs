//! Graphs that compute the same values with less work.
//!
//! A pass is one file: what it needs to hold, and how it makes another graph. None changes what an evaluation gives; all
//! give nodes new numbers, from which the masks of training are drawn, so that they are for evaluation alone.

mod common_subexpressions;
mod dead_code;
mod fold_weights;
mod fuse;
mod hoist;
mod merge_projections;
mod rewrite;

use crate::ir::groups::Groups;
use crate::ir::{Graph, NodeId, ParameterId};
use std::collections::BTreeMap;

pub use fold_weights::Fold;
pub use fuse::groups;

/// A graph, and where what is in it comes from.
#[derive(Clone, Debug)]
pub struct Optimized {
    pub graph: Graph,
    /// For every parameter those of the first graph that it holds, one behind the other along the first axis.
    pub parameters: Vec<Vec<ParameterId>>,
    /// What is done to parameters of the first graph before they are held.
    pub folds: BTreeMap<ParameterId, Fold>,
    /// For every node of the first graph the one that has its value, if there still is one.
    pub nodes: Vec<Option<NodeId>>,
    /// What runs as one.
    pub groups: Groups,
}

impl Optimized {
    /// The graph as it is.
    pub fn nothing(graph: Graph) -> Self {
        let parameters = graph.parameter_ids().map(|id| vec![id]).collect();
        let nodes = graph.node_ids().map(Some).collect();
        Self { graph, parameters, folds: BTreeMap::new(), nodes, groups: Groups::default() }
    }

    /// The result of one pass.
    pub fn after(&self, pass: &Pass) -> Self {
        (pass.run)(self)
    }

    /// The result of all passes.
    pub fn of(graph: &Graph) -> Self {
        PASSES.iter().fold(Self::nothing(graph.clone()), |graph, pass| graph.after(pass))
    }

    /// The result of the passes up to the one of that name, [`SAMPLING`] being the last.
    pub fn up_to(graph: &Graph, name: &str) -> Option<Self> {
        let mut passes = PASSES.iter().chain([&SAMPLING]);
        let last = passes.clone().position(|pass| pass.name == name)?;
        Some(passes.by_ref().take(last + 1).fold(Self::nothing(graph.clone()), |graph, pass| graph.after(pass)))
    }
}

/// One pass.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// Kebab case, as on the command line.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    run: fn(&Optimized) -> Optimized,
}

/// The passes in the order in which they run.
pub const PASSES: &[Pass] = &[
    Pass {
        name: "dead-code",
        summary: "drops values that no output needs, with their parameters",
        run: dead_code::run,
    },
    Pass {
        name: "common-subexpressions",
        summary: "computes once what several places compute alike, such as the activation of a condition in every block",
        run: common_subexpressions::run,
    },
    Pass {
        name: "fold-weights",
        summary: "normalises weights once instead of at every use, where maps preserve magnitudes",
        run: fold_weights::run,
    },
    Pass {
        name: "merge-projections",
        summary: "makes one product of linear maps of the same value: queries, keys and values; both halves of a gated \
                  feed-forward; the modulations of all blocks",
        run: merge_projections::run,
    },
    Pass {
        name: "constants-first",
        summary: "moves what depends on no input to the front, where it is computed in the first run and kept: tables of \
                  positions and what becomes of them",
        run: hoist::constants,
    },
    Pass {
        name: "fuse",
        summary: "leaves the graph as it is and says which of its operators run as one: norms with the modulation and the \
                  SiLU behind them; residuals with their gates",
        run: fuse::run,
    },
];

/// What the drawing of samples needs besides, where the same network is asked about the same samples again and again.
/// It makes values live longer, so that a single evaluation is better off without it.
pub const SAMPLING: Pass = Pass {
    name: "hoist",
    summary: "orders values by what they depend on, for sampling: nothing, conditions, times, both, the noisy input. All \
              but the last are computed before the first step",
    run: |optimized| fuse::run(&hoist::steps(optimized)),
};
