//! `residual/growth`

use crate::analysis::factors::{Factors, Stretch};
use crate::analysis::stacks::Block;
use crate::ir::NodeId;
use crate::lint::{Context, Report};
use crate::words::figure;
use archc_grammar::{Edit, Fix, Safety, Span};

/// By how much a stack may multiply the mean square before it is reported: ten in magnitude, which no norm behind it can
/// make good in the gradients. Thirteen plain ResNet blocks of independent unit branches stay below 2^7.
const LIMIT: f64 = 100.0;
/// Blocks of a stack, at least: what one or two add is no matter of depth.
pub(super) const BLOCKS: usize = 4;
/// By how much a stack whose branches have a factor may grow before that factor is reported as not doing what it is there for.
pub(super) const SCALED_LIMIT: f64 = 10.0;

rule! {
    /// ## What it does
    ///
    /// Finds residual stacks whose branches have no norm, and whose signal is predicted to grow more than a hundredfold
    /// in mean square; and streams that constant factors alone multiply by as much, `(x + f(x)) * sqrt(2)` block after block
    /// with no norm on the stream between them, whatever the branches are.
    ///
    /// ## Why is this bad
    ///
    /// A branch that is linear in the size of its input, `x + f(x)`, multiplies the mean square by `1 + gain` in every
    /// block: a gain of one gives 2^100 = 1.3e30 over a hundred blocks, and 1.7e30 has been measured at width 256.
    /// Gradients grow by the same factor on their way back. With a norm in front of the branch each block adds
    /// the same instead, and the mean square is 101. A factor `1 / sqrt(L)` on the branches of a stack without norms
    /// gives `(1 + 1/L)^L`, less than 2.72 at any depth, and a last layer that starts at zero gives 1. A factor of the sum
    /// above one multiplies the stream even then: sqrt(2) turned over from sqrt(1/2) doubles it in every block.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Grows(x: tokens[16, 64]) -> tokens[16, 64] {
    ///     init linear = kaiming_normal(gain: sqrt(2))
    ///     let h = x
    ///     for i in 0..10 @blocks.{i} { h = h -> residual { linear(256) @up -> relu() -> linear(64) @down } }
    ///     h -> layer_norm() @norm
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Adds(x: tokens[16, 64]) -> tokens[16, 64] {
    ///     init linear = kaiming_normal(gain: sqrt(2))
    ///     let h = x
    ///     for i in 0..10 @blocks.{i} {
    ///         h = h -> residual { layer_norm() @norm -> linear(256) @up -> relu() -> linear(64) @down }
    ///     }
    ///     h -> layer_norm() @norm
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Gives the branches the factor `1 / sqrt(L)` of their `L` blocks, where they are written as `residual { .. }` and that
    /// keeps the stack; leaves factors of the sum out, where they are written as `after:` (unsafe: the network computes
    /// something else; weights still load).
    ///
    /// ## References
    ///
    /// * Zhang et al., *Fixup Initialization: Residual Learning Without Normalization*, ICLR 2019: the variance grows
    ///   exponentially with depth.
    /// * Brock et al., *Characterizing Signal Propagation to Close the Performance Gap in Unnormalized ResNets*, ICLR
    ///   2021.
    ///
    /// ## Threads
    ///
    /// * JiahuiYu/wdsr_ntire2018#21: 16 blocks without norms start at a loss of 15, 128 blocks at 2e8.
    /// * XPixelGroup/BasicSR#121: why residuals are scaled down; the author: otherwise outputs get larger, and
    ///   gradients of deep networks too large or too small.
    /// * lucidrains/voicebox-pytorch#23: a user's transformer with skips trains at 12 layers and not at 24, which the
    ///   maintainer calls the normal instability of transformers.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC` prints the mean square in front of and behind each block, and `<- gain`, the growth of
    /// gradients; `archc probe SPEC --format json` measures both.
    "residual/growth", Warning
    pub struct ResidualGrowth {
        first: Span,
        /// Where the blocks are written.
        places: Vec<Span>,
        blocks: usize,
        growth: f64,
        cause: Cause,
    }

    check(context) {
        let factors = Factors::of(context.graph, context.streams());
        let branches = growing(context).filter(|run| run.growth > LIMIT && run.scale.is_none());
        // What factors of the sums do is no matter of the branches.
        let branches = branches.filter(|run| {
            let caused = run.last().map_or(1.0, |last| factors.factor(last) / factors.factor(run.fork));
            caused * caused <= LIMIT || run.growth / (caused * caused) > LIMIT
        });
        let branches = branches.map(|run| {
            let finding = ResidualGrowth {
                first: context.place(run.first),
                places: context.places(&run.sums),
                blocks: run.sums.len(),
                growth: run.growth,
                cause: Cause::Branches,
            };
            (run.first, finding)
        });
        branches.chain(factors.most().filter_map(|stretch| stretched(context, &stretch))).collect()
    }

    report(finding, _context) {
        let blocks = finding.blocks as f64;
        if let Cause::Factors { factor, alone } = finding.cause {
            return Report {
                message: "constant factors multiply this stream in block after block".to_owned(),
                labels: vec![(finding.first, format!("multiplies the stream by {}", figure(factor)))],
                notes: vec![format!(
                    "the mean square is predicted to grow {}-fold over {} sums, {} of it by factors alone",
                    figure(finding.growth),
                    finding.blocks,
                    figure(alone)
                )],
                help: Some(
                    "leave the factor out, or turn it over: `residual(after: sqrt(0.5))` keeps a sum of two equal parts"
                        .to_owned(),
                ),
            };
        }
        Report {
            message: "the signal of this residual stack grows exponentially with its depth".to_owned(),
            labels: vec![(finding.first, "no norm stands on the way through this branch".to_owned())],
            notes: vec![format!(
                "the mean square is predicted to grow {}-fold over {} blocks, by {} in each",
                figure(finding.growth),
                finding.blocks,
                figure(libm::pow(finding.growth, 1.0 / blocks))
            )],
            help: Some(format!(
                "normalise in front of the branch, start its last layer at zero, or scale it: `residual(scale: {})`",
                figure(1.0 / libm::sqrt(blocks))
            )),
        }
    }

    fixes(finding, context) {
        let fix = match finding.cause {
            Cause::Branches => falling(context, &finding.places, finding.blocks, finding.growth, 1.0),
            Cause::Factors { .. } => without(context, &finding.places, "after", "leave the factors of the sums out"),
        };
        fix.into_iter().collect()
    }
}

/// Why the signal grows.
#[derive(Clone, Copy, Debug)]
enum Cause {
    /// Branches without a norm.
    Branches,
    /// Constant factors on the stream: the first one, and what all of them make of the mean square.
    Factors { factor: f64, alone: f64 },
}

/// What is found where constant factors make a stream grow.
fn stretched(context: &Context<'_>, stretch: &Stretch) -> Option<(NodeId, ResidualGrowth)> {
    let (cause, factor) = stretch.cause?;
    let alone = stretch.factor * stretch.factor;
    let growth = context.signal().square(stretch.last)? / context.signal().square(stretch.first)?;
    let grows = stretch.sums >= BLOCKS && alone > LIMIT && growth > LIMIT && growth.is_finite();
    let merges = context.streams().merges.iter().filter(|merge| merge.node >= stretch.first && merge.node <= stretch.last);
    let sums: Vec<NodeId> = merges.map(|merge| merge.node).collect();
    grows.then(|| {
        let finding = ResidualGrowth {
            first: context.place(cause),
            places: context.places(&sums),
            blocks: stretch.sums,
            growth,
            cause: Cause::Factors { factor, alone },
        };
        (cause, finding)
    })
}

/// Leaves an argument out of all residuals of a run, where they are written with it.
pub(super) fn without(context: &Context<'_>, places: &[Span], argument: &str, title: &str) -> Option<Fix> {
    let calls = places.iter().map(|place| context.call(*place).filter(|call| *call.name == *"residual"));
    let edits: Option<Vec<Edit>> = calls.map(|call| call?.without(argument)).collect();
    edits.filter(|edits| !edits.is_empty()).map(|edits| Fix::new(title, Safety::Unsafe, edits))
}

/// Scales the branches of a run by `1 / sqrt(L)`, where that keeps it from growing as either rule reports; `scale` is their
/// factor so far.
pub(super) fn falling(context: &Context<'_>, places: &[Span], blocks: usize, growth: f64, scale: f64) -> Option<Fix> {
    let depth = blocks as f64;
    let per_block = (libm::pow(growth, 1.0 / depth) - 1.0) / (scale * scale);
    if libm::pow(1.0 + per_block / depth, depth) > SCALED_LIMIT {
        return None;
    }
    let factor = format!("1 / sqrt({blocks})");
    let scaled = |place: &Span| {
        let call = context.call(*place)?;
        match &*call.name {
            "residual" if call.argument("gate").is_none() => Some(call.set("scale", &factor)),
            _ => call.replace("scale", &factor),
        }
    };
    let edits: Option<Vec<Edit>> = places.iter().map(scaled).collect();
    Some(Fix::new("let the factor fall with the depth", Safety::Unsafe, edits?))
}

/// Blocks of a stack, one behind the other, in which nothing forgets the size of the signal.
pub(super) struct Run {
    pub first: NodeId,
    /// What the first block is fed.
    pub fork: NodeId,
    pub sums: Vec<NodeId>,
    /// Of the mean square.
    pub growth: f64,
    /// The factor below one that all branches have.
    pub scale: Option<f64>,
}

impl Run {
    fn last(&self) -> Option<NodeId> {
        self.sums.last().copied()
    }
}

/// Runs of which the growth is known.
pub(super) fn growing<'c>(context: &'c Context<'_>) -> impl Iterator<Item = Run> + 'c {
    let runs = context.stacks().0.iter().flat_map(|stack| {
        // A run ends behind a norm on the stream, and at a branch that is normalised.
        stack.blocks.split_inclusive(|block| block.normalized || block.post_norm)
    });
    runs.filter_map(|run| {
        let open: Vec<&Block> = run.iter().filter(|block| !block.normalized).collect();
        let (first, last) = (open.first()?, open.last()?);
        if open.len() < BLOCKS {
            return None;
        }
        let growth = context.signal().square(last.sum)? / context.signal().square(first.fork)?;
        let scale = first.scale;
        let same = open.iter().all(|block| block.scale == scale && block.trunk == 1.0 && !block.gated);
        let scale = (same && scale.abs() < 1.0).then_some(scale);
        let sums = open.iter().map(|block| block.sum).collect();
        growth.is_finite().then_some(Run { first: first.sum, fork: first.fork, sums, growth, scale })
    })
}
