//! `residual/constant-scale`

use super::residual_growth::{BLOCKS, SCALED_LIMIT, falling, growing, without};
use crate::analysis::stacks::Block;
use crate::ir::NodeId;
use crate::lint::{Context, Report};
use crate::words::figure;
use archc_grammar::Span;

rule! {
    /// ## What it does
    ///
    /// Finds residual stacks without norms whose branches are all scaled by the same constant, and whose signal grows
    /// more than tenfold all the same; and stacks with norms in which four branches or more have constant factors above one
    /// that make the stream more than ten times as large in mean square as it would be without them.
    ///
    /// ## Why is this bad
    ///
    /// A constant factor β on the branch does not bound anything: the mean square still grows by `1 + β²` in every block,
    /// with β = 1/√2 by 1.5, which is 1.5^100 = 4e17 over a hundred blocks (3.3e17 measured at width 256). What keeps it
    /// is a factor that falls with depth, `β = 1/sqrt(L)`, or one on the sum: `(x + f(x)) / sqrt(2)`, as in NCSN++ and
    /// EDM, or `sqrt(1 - β²) x + β f(x)`. With a norm in the branch each block adds `β²` times the branch: a factor of 10
    /// drowns what came in by the first block.
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
    /// Gives the branches the factor `1 / sqrt(L)` of their `L` blocks, where that keeps the stack; leaves a factor above one
    /// out (unsafe: the network computes something else; weights still load).
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
        /// With a factor above one, how much the stack would grow without it.
        otherwise: Option<f64>,
    }

    check(context) {
        let found = growing(context).filter(|run| run.growth > SCALED_LIMIT).filter_map(|run| {
            let (first, blocks, growth) = (context.place(run.first), run.sums.len(), run.growth);
            let places = context.places(&run.sums);
            Some((run.first, ConstantScale { first, places, blocks, growth, scale: run.scale?, otherwise: None }))
        });
        let stacks = context.stacks().0.iter();
        let runs = stacks.flat_map(|stack| stack.blocks.split_inclusive(|block| block.post_norm));
        found.chain(runs.filter_map(|run| enlarged(context, run))).collect()
    }

    report(finding, _context) {
        let ConstantScale { first, blocks, growth, scale, .. } = finding;
        let fitting = figure(1.0 / libm::sqrt(*blocks as f64));
        if let Some(otherwise) = finding.otherwise {
            return Report {
                message: "a constant factor on the branches makes this stack grow".to_owned(),
                labels: vec![(*first, format!("each branch counts {}", figure(*scale)))],
                notes: vec![format!(
                    "the mean square is predicted to grow {}-fold with {blocks} such branches, and {}-fold without the factor",
                    figure(*growth),
                    figure(otherwise)
                )],
                help: Some(format!("leave the factor out, or let it fall with depth: `scale: {fitting}`")),
            };
        }
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
        let fix = match finding.otherwise {
            None => falling(context, places, *blocks, *growth, *scale),
            Some(_) => without(context, places, "scale", "leave the factor out"),
        };
        fix.into_iter().collect()
    }
}

/// What is found of a run of blocks of which some have norms and a factor above one.
fn enlarged(context: &Context<'_>, run: &[Block]) -> Option<(NodeId, ConstantScale)> {
    let square = |node: NodeId| context.signal().square(node);
    let is_scaled = |block: &&Block| block.normalized && !block.gated && block.scale.abs() > 1.0;
    let scaled: Vec<&Block> = run.iter().filter(is_scaled).collect();
    let (first, last) = (run.first()?, run.last()?);
    if scaled.len() < BLOCKS {
        return None;
    }
    let (start, end) = (square(first.fork)?, square(last.sum)?);
    let mut added = 0.0;
    for block in &scaled {
        added += square(block.branch)? * (1.0 - 1.0 / (block.scale * block.scale));
    }
    // What comes of the sums' own rounding and correlation is no less than what came in.
    let otherwise = (end - added).max(start.min(end));
    let grows = end > SCALED_LIMIT * start && end > SCALED_LIMIT * otherwise && (end / start).is_finite();
    let sums: Vec<NodeId> = scaled.iter().map(|block| block.sum).collect();
    let largest = scaled.iter().map(|block| block.scale.abs()).fold(0.0, f64::max);
    let node = scaled.first().filter(|_| grows)?.sum;
    let finding = ConstantScale {
        first: context.place(node),
        places: context.places(&sums),
        blocks: sums.len(),
        growth: end / start,
        scale: largest,
        otherwise: Some(otherwise / start),
    };
    Some((node, finding))
}
