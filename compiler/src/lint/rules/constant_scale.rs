//! `residual/constant-scale`

use super::residual_growth::{SCALED_LIMIT, falling, growing};
use crate::lint::Report;
use crate::words::figure;
use archc_grammar::Span;


rule! {
    /// ## What it does
    ///
    /// Finds residual stacks without norms whose branches are all scaled by the same constant, and whose signal grows
    /// more than tenfold all the same.
    ///
    /// ## Why is this bad
    ///
    /// A constant factor β on the branch does not bound anything: the mean square still grows by `1 + β²` in every block,
    /// with β = 1/√2 by 1.5, which is 1.5^100 = 4e17 over a hundred blocks (3.3e17 measured at width 256). What keeps it
    /// is a factor that falls with depth, `β = 1/sqrt(L)`, or one on the sum: `(x + f(x)) / sqrt(2)`, as in NCSN++ and
    /// EDM, or `sqrt(1 - β²) x + β f(x)`.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Scaled(x: tokens[16, 64]) -> tokens[16, 64] {
    ///     init linear = kaiming_normal
    ///     let h = x
    ///     for i in 0..11 @blocks.{i} {
    ///         h = h -> residual(scale: sqrt(0.5)) { linear(64) @up -> relu() -> linear(64) @down }
    ///     }
    ///     h -> layer_norm() @norm
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Balanced(x: tokens[16, 64]) -> tokens[16, 64] {
    ///     init linear = kaiming_normal
    ///     let h = x
    ///     for i in 0..11 @blocks.{i} {
    ///         h = h -> residual(scale: 1 / sqrt(11)) { linear(64) @up -> relu() -> linear(64) @down }
    ///     }
    ///     h -> layer_norm() @norm
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Gives the branches the factor `1 / sqrt(L)` of their `L` blocks, where that keeps the stack (unsafe: the network
    /// computes something else; weights still load).
    ///
    /// ## References
    ///
    /// * Song et al., *Score-Based Generative Modeling through Stochastic Differential Equations*, ICLR 2021, appendix H:
    ///   the sum is scaled by 1/√2. NVlabs/edm `training/networks.py` (`skip_scale`) does it behind the addition.
    /// * Hanin & Rolnick, *How to Start Training: The Effect of Initialization and Architecture*, NeurIPS 2018: scales
    ///   have to add up to a constant over the depth.
    ///
    /// ## Threads
    ///
    /// * JiahuiYu/wdsr_ntire2018#21: without norms 16 blocks start at a loss of 15 and 128 blocks at 2e8; the author
    ///   advises a factor of 0.1, with which 128 branches of unit gain multiply the mean square by 1.01^128 = 3.6.
    /// * r9y9/wavenet_vocoder#73: a constant √0.5 is taken out, since 24 summands would need √(1/24); another user
    ///   doubts both.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC` prints the mean square in front of and behind each block, which grows by `1 + β²`;
    /// `archc probe SPEC --format json` measures it.
    "residual/constant-scale", Warning
    pub struct ConstantScale {
        first: Span,
        /// Where the blocks are written.
        places: Vec<Span>,
        blocks: usize,
        growth: f64,
        scale: f64,
    }

    check(context) {
        let found = growing(context).filter(|run| run.growth > SCALED_LIMIT).filter_map(|run| {
            let (first, blocks, growth) = (context.place(run.first), run.sums.len(), run.growth);
            let places = context.places(&run.sums);
            Some((run.first, ConstantScale { first, places, blocks, growth, scale: run.scale? }))
        });
        found.collect()
    }

    report(finding, _context) {
        let ConstantScale { first, blocks, growth, scale, .. } = finding;
        let fitting = figure(1.0 / libm::sqrt(*blocks as f64));
        Report {
            message: "a constant factor on the branches does not keep this stack from growing".to_owned(),
            labels: vec![(*first, format!("each branch counts {}", figure(*scale)))],
            notes: vec![format!(
                "the mean square is predicted to grow {}-fold over {blocks} blocks",
                figure(*growth)
            )],
            help: Some(format!(
                "let the factor fall with depth, `scale: {fitting}`, or scale the sum: `residual(after: {})`",
                figure(1.0 / libm::sqrt(1.0 + scale * scale))
            )),
        }
    }

    fixes(finding, context) {
        let ConstantScale { places, blocks, growth, scale, .. } = finding;
        falling(context, places, *blocks, *growth, *scale).into_iter().collect()
    }
}
