//! `condition/energy-imbalance`

use crate::analysis::balance::Balance;
use crate::ir::NodeId;
use crate::lint::{Context, Report, Stage};
use crate::types::Kind;
use crate::words::figure;
use archc_grammar::{Fix, Safety, Span};

/// Ratio of mean squares from which on one summand drowns the other. With the margin of 15 % of all thresholds; the
/// summands of published networks differ by less than 100.
const RATIO: f64 = 20.0 * 1.15;

rule! {
    /// ## What it does
    ///
    /// Finds conditions that are added up although one has more than 100 times the energy of the other at initialisation.
    ///
    /// ## Why is this bad
    ///
    /// The sum is what every block reads. A class with a hundredth of the energy of the time has a tenth of its amplitude,
    /// and whatever is computed of the sum varies with the time alone until the smaller embedding has grown. With
    /// embeddings of unit variance beside an MLP of the default initialisation the ratio is below 10. A summand that starts
    /// at zero is not reported: it is meant to come in later. Nor is one that is made of a vector that is an input, whose
    /// size is not known.
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
    // Of vectors that are inputs nobody has said how large they are: one-hot classes are not of unit variance.
    let root = &context.graph.node(context.streams().root(node)).ty;
    ty.kind == Kind::Vector
        && ty.batch.samples
        && root.kind != Kind::Vector
        && !context.liveness().starts_zero(node)
}
