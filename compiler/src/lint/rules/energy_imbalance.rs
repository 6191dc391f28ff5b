//! `condition/energy-imbalance`

use super::raw_numbers::is_unmapped;
use crate::analysis::balance::Balance;
use crate::ir::NodeId;
use crate::lint::{Context, Report, Stage};
use crate::types::Kind;
use crate::words::figure;
use archc_grammar::{Fix, Safety, Span};

/// Ratio of mean squares from which on one summand drowns the other, with the margin of 15 % of all thresholds. Labels that
/// start like DiT's beside a time of PyTorch's default, as in DDT, are 40 times apart and train; ADM's are 63 times.
const RATIO: f64 = 50.0 * 1.15;

rule! {
    /// ## What it does
    ///
    /// Finds conditions that are added up although one has more than 50 times the energy of the other at initialisation.
    ///
    /// ## Why is this bad
    ///
    /// The sum is what every block reads. A class with a 50th of the energy of the time has a seventh of its amplitude,
    /// and whatever is computed of the sum varies with the time alone until the smaller embedding has grown. Of ADM's
    /// condition the time has a mean square of 0.016 beside labels of 1; labels of deviation 0.13 would be its equals. A
    /// summand that starts at zero is not reported: it is meant to come in later. Nor is one that is made by a map of a
    /// vector that is an input, whose size is not known unless `archc.yaml` declares it (one-hot classes are not of unit
    /// variance). A vector that is added as it is counts with unit variance.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Unequal(x: tokens[16, 32], t: timestep, y: label[10]) -> tokens[16, 32] {
    ///     let c = t -> sinusoid(64) -> linear(32) @time + y -> embedding(32, init: normal(0.005)) @class
    ///     let [shift, scale] = c -> silu() -> linear(64) @modulation -> chunk(2)
    ///     x -> layer_norm(affine: false) -> modulate(shift, scale) -> linear(32) @out
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Equal(x: tokens[16, 32], t: timestep, y: label[10]) -> tokens[16, 32] {
    ///     let c = t -> sinusoid(64) -> linear(32) @time + y -> embedding(32) @class
    ///     let [shift, scale] = c -> silu() -> linear(64) @modulation -> chunk(2)
    ///     x -> layer_norm(affine: false) -> modulate(shift, scale) -> linear(32) @out
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Multiplies the quiet side by what is missing (unsafe: the network computes something else; weights still load).
    ///
    /// ## References
    ///
    /// * NVlabs/edm `networks.py`: class labels are multiplied by `sqrt(in_features)` so that they weigh as much as the
    ///   noise level.
    /// * Karras et al., CVPR 2024 (EDM2): a sum that preserves magnitude, `mp_sum`.
    ///
    /// ## Threads
    ///
    /// * khirotaka/SAnD#3: the author multiplies features by √d before positions are added, whose larger values would
    ///   have a strong effect on the sum.
    /// * Kyubyong/transformer#130: what the same factor is for; the answer: it weighs embeddings of characters against
    ///   those of positions.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC --format lines` prints the mean squares of all embeddings that are added up;
    /// `archc probe SPEC --format json` measures them.
    "condition/energy-imbalance", Warning
    pub struct EnergyImbalance {
        sum: Span,
        loud: Span,
        quiet: Span,
        squares: (f64, f64),
        /// Whether nothing else reads the quiet side.
        alone: bool,
    }

    check(context) {
        let graph = context.graph;
        let found = graph.node_ids().filter_map(|id| {
            let operands = graph.operands(id);
            let [a, b] = operands.as_slice() else { return None };
            let joins = [*a, *b].into_iter().all(|side| is_condition(context, side));
            if !joins || context.streams().root(*a) == context.streams().root(*b) {
                return None;
            }
            let balance = Balance::of_sum(graph, context.signal(), id)?;
            let (loud, quiet) = if balance.a > balance.b { (*a, *b) } else { (*b, *a) };
            let squares = (balance.a.max(balance.b), balance.a.min(balance.b));
            let finding = EnergyImbalance {
                sum: context.place(id),
                loud: context.place(loud),
                quiet: context.place(quiet),
                squares,
                alone: graph.users(quiet).count() == 1,
            };
            (squares.0 > RATIO * squares.1).then_some((id, finding))
        });
        found.collect()
    }

    report(finding, _context) {
        let (loud, quiet) = finding.squares;
        Report {
            message: "one of two conditions that are added up drowns the other".to_owned(),
            labels: vec![
                (finding.sum, format!("{} times as much energy on one side", figure(loud / quiet))),
                (finding.loud, format!("mean square {}", figure(loud))),
                (finding.quiet, format!("mean square {}", figure(quiet))),
            ],
            notes: vec![],
            help: Some("start both alike: another `init`, or a factor in front of the smaller one".to_owned()),
        }
    }

    fixes(finding, context) {
        let (loud, quiet) = finding.squares;
        let louder = format!("affine(scale: {})", figure(libm::sqrt(loud / quiet)));
        let fix = |stage: Stage| Fix::new("make both sides alike", Safety::Unsafe, vec![stage.after(&louder)]);
        context.stage(finding.quiet).filter(|_| finding.alone).map(fix).into_iter().collect()
    }
}

/// Whether a value is one vector for each sample that does not start at zero.
fn is_condition(context: &Context<'_>, node: NodeId) -> bool {
    let ty = &context.graph.node(node).ty;
    ty.kind == Kind::Vector && ty.batch.samples && is_sized(context, node) && !context.liveness().starts_zero(node)
}

/// Whether it is known how large a value is. Of vectors that are inputs nobody has said so: one-hot classes are not of unit
/// variance, but what is added without a map is as wide as a condition, and is an embedding.
fn is_sized(context: &Context<'_>, node: NodeId) -> bool {
    let root = context.streams().root(node);
    if context.graph.node(root).ty.kind != Kind::Vector {
        return true;
    }
    let declared = |name: &str| context.given.inputs.inputs.contains_key(name);
    let is_declared = context.graph.inputs.iter().any(|input| input.node == root && declared(&input.name));
    is_declared || is_unmapped(context.graph, node)
}
