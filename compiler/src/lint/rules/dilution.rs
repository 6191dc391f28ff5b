//! `residual/dilution`

use crate::analysis::balance::Balance;
use crate::analysis::stacks::{Block, Stack};
use crate::lint::{Context, Report};
use crate::words::figure;
use archc_grammar::Span;

/// Share of the last branch in the energy of the sum below which it hardly counts.
const SHARE: f64 = 0.02;
/// Blocks from which on growth is what makes it small.
const BLOCKS: usize = 16;
/// By how much the stream grows in mean square; a branch beside a stream that does not is small by itself.
const GROWTH: f64 = 4.0;

rule! {
    /// ## What it does
    ///
    /// Finds deep pre-norm stacks in which the last branch adds less than 2 % of the energy of the stream that has grown to
    /// that size; and stacks whose stream is so large from the start that all branches together are below 2 %.
    ///
    /// ## Why is this bad
    ///
    /// The branches of a pre-norm stack all have the same size, whatever the stream has grown to: behind L unit branches
    /// the last one adds 1/(L + 1) of the energy. The deeper half of the network then changes little, and the stream goes on
    /// growing in training: that of Flux reaches 9e4, beyond what half precision holds. It is a remark, since the network
    /// trains; layer scale, a norm behind the branch, or more width instead of depth make the deep blocks count.
    ///
    /// ## Example
    ///
    /// ```arch
    /// use std.transformer.{Mlp}
    ///
    /// #[allow(init/missing-zero, "an example of what comes of it")]
    /// model Dilutes(x: tokens[16, 32]) -> tokens[16, 32] {
    ///     init linear = kaiming_normal(gain: sqrt(2))
    ///     let h = x
    ///     for i in 0..64 @blocks.{i} { h = h -> residual { layer_norm() @norm -> Mlp(64) @mlp } }
    ///     h -> layer_norm() @norm
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// use std.transformer.{Mlp}
    ///
    /// model Counts(x: tokens[16, 32]) -> tokens[16, 32] {
    ///     let h = x
    ///     for i in 0..40 @blocks.{i} {
    ///         h = h -> residual(scale: learned(0.1, per: channel) @gamma) { layer_norm() @norm -> Mlp(64) @mlp }
    ///     }
    ///     h -> layer_norm() @norm
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// None: norms behind the branches, LayerScale and fewer blocks all answer it, and mean different networks.
    ///
    /// ## References
    ///
    /// * Sun et al., *The Curse of Depth in Large Language Models*, 2025.
    ///
    /// ## Threads
    ///
    /// * black-forest-labs/flux#472: values of the streams of FLUX.1-dev grow from block to block, to 91,648; images
    ///   are none the worse.
    /// * microsoft/Swin-Transformer#262: why amplitudes grow with depth; the answer: a pre-norm bounds what goes into a
    ///   branch, and not what has been added up.
    /// * allenai/OLMo#797: a random model's activations grow from layer to layer; the developers expect that, and see
    ///   no way around.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC` prints the mean square in front of and behind each block: the last blocks hardly change it.
    /// `archc probe SPEC --format json` measures it.
    "residual/dilution", Info
    pub struct Dilution {
        last: Span,
        blocks: usize,
        share: f64,
        /// Whether that is the share of all branches together.
        all: bool,
    }

    check(context) {
        let found = context.stacks().0.iter().filter_map(|stack| {
            let last = stack.blocks.last()?;
            let first = stack.blocks.first()?.fork;
            let deep = stack.blocks.len() >= BLOCKS && stack.blocks.iter().all(|block| block.normalized);
            if !deep || !counts(context, last) {
                return None;
            }
            Balance::of_sum(context.graph, context.signal(), last.sum)?;
            let sum = context.signal().square(last.sum)?;
            let grown = sum > GROWTH * context.signal().square(first)?;
            let all = if grown { None } else { Some(together(context, stack)?) };
            let share = all.map_or_else(|| context.signal().square(last.branch), Some)? / sum;
            let (blocks, all) = (stack.blocks.len(), all.is_some());
            let finding = Dilution { last: context.place(last.sum), blocks, share, all };
            (share < SHARE).then_some((last.sum, finding))
        });
        found.collect()
    }

    report(finding, _context) {
        let share = figure(finding.share * 100.0);
        let (message, label) = if finding.all {
            ("all branches of this stack together hardly count", format!("behind it {share} % of the energy are of branches"))
        } else {
            ("the last branch of this stack hardly counts", format!("adds {share} % of the energy of the stream"))
        };
        let help = if finding.all {
            "let the stream start smaller: a factor on an embedding, or a table of large numbers, may be why it does not"
        } else {
            "scale branches by a learned factor (`scale: learned(..)`) or normalise behind them (`SandwichNorm` of `std.residual`)"
        };
        Report {
            message: message.to_owned(),
            labels: vec![(finding.last, label)],
            notes: vec![format!("the stack has {} sums", finding.blocks)],
            help: Some(help.to_owned()),
        }
    }
}

/// Whether nothing is there to make a branch small.
fn counts(context: &Context<'_>, block: &Block) -> bool {
    !block.gated && block.scale.abs() >= 1.0 && !context.liveness().starts_zero(block.branch)
}

/// What all branches of a stack add, where all of them count.
fn together(context: &Context<'_>, stack: &Stack) -> Option<f64> {
    let mut sum = 0.0;
    for block in &stack.blocks {
        sum += context.signal().square(block.branch).filter(|_| counts(context, block))?;
    }
    Some(sum)
}
