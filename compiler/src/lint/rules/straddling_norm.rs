//! `skip/straddling-norm`

use super::concat_imbalance::Sides;
use crate::analysis::stacks::readers;
use crate::analysis::streams::MergeKind;
use crate::lint::{Call, Report};
use crate::ops::Op;
use crate::words::figure;
use archc_grammar::{Fix, Safety, Span};

/// How much larger one side's mean square is, for the shared group to silence the other side.
const RATIO: f64 = 4.0;

rule! {
    /// ## What it does
    ///
    /// Finds group normalisations behind a concatenation in which one group has channels of both sides, which differ more
    /// than fourfold in mean square.
    ///
    /// ## Why is this bad
    ///
    /// Groups that lie on one side are brought to unit variance by themselves. The one across the boundary is
    /// divided by the deviation of both sides together: its channels of the smaller side stay small, by the ratio of
    /// magnitudes, until training makes up for it. In Stable Diffusion 1.x 1280 + 640 channels in 32 groups are 60 per
    /// group, and the boundary lies in the middle of group 21. It is one group of 32, and the network trains; hence a remark.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Straddles(x: image[24, 16, 16]) -> image[48, 16, 16] {
    ///     skip long(fuse: concat)
    ///     long <- x
    ///     let h = x -> conv2d(64, kernel: 3, stride: 2) @down -> silu() -> upsample(2) -> conv2d(48, kernel: 3) @up
    ///     h -> join(long) -> group_norm(8) @norm -> silu() -> conv2d(48, kernel: 3) @out
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Aligned(x: image[24, 16, 16]) -> image[48, 16, 16] {
    ///     skip long(fuse: concat)
    ///     long <- x
    ///     let h = x -> conv2d(64, kernel: 3, stride: 2) @down -> silu() -> upsample(2) -> conv2d(48, kernel: 3) @up
    ///     h -> join(long) -> group_norm(6) @norm -> silu() -> conv2d(48, kernel: 3) @out
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Takes the number of groups next to the present one whose groups lie on one side (unsafe: the network computes
    /// something else; weights still load).
    ///
    /// ## References
    ///
    /// * Wu & He, *Group Normalization*, ECCV 2018: channels of a group share their statistics.
    /// * CompVis/stable-diffusion and openai/guided-diffusion have such groups at most changes of width.
    ///
    /// ## Threads
    ///
    /// None found that shows it alone.
    ///
    /// * lucidrains/denoising-diffusion-pytorch#11: the author gave up group norms in U-Nets, and names EDM2, which
    ///   found them to hurt.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC --format lines` prints the mean squares of both sides, `archc probe SPEC --format json`
    /// measures them: the root of their ratio is how small one side stays in the group that has both.
    "skip/straddling-norm", Info
    pub struct StraddlingNorm {
        norm: Span,
        join: Span,
        /// Channels of each side, first the one that comes first.
        sides: (u64, u64),
        groups: u64,
        ratio: f64,
    }

    check(context) {
        let graph = context.graph;
        let mut found = vec![];
        for merge in context.streams().merges.iter().filter(|merge| merge.kind == MergeKind::LongSkip) {
            let Some(sides) = Sides::of(context, merge.node, merge.branch, merge.carry) else { continue };
            let ratio = sides.ratio();
            let first = graph.operand(merge.node, 0).and_then(|side| graph.node(side).ty.channels());
            let (Some(first), Some(all)) = (first, graph.node(merge.node).ty.channels()) else { continue };
            for reader in readers(graph, merge.node) {
                let Some(Op::GroupNorm(norm)) = graph.node(reader).op() else { continue };
                let size = all / norm.groups.max(1);
                if ratio > RATIO && size > 0 && first % size != 0 {
                    let finding = StraddlingNorm {
                        norm: context.place(reader),
                        join: context.place(merge.node),
                        sides: (first, all - first),
                        groups: norm.groups,
                        ratio,
                    };
                    found.push((reader, finding));
                }
            }
        }
        found
    }

    report(finding, _context) {
        let StraddlingNorm { norm, join, sides: (first, second), groups, ratio } = finding;
        let size = (first + second) / groups.max(&1);
        let fitting = common_divisor(*first, *second);
        Report {
            message: "a group of this norm has channels of both sides of a concatenation".to_owned(),
            labels: vec![
                (*norm, format!("{groups} groups of {size} channels; the boundary lies in group {}", first / size)),
                (*join, format!("{first} and {second} channels are joined here")),
            ],
            notes: vec![format!("mean squares of the two sides differ {}-fold at initialisation", figure(*ratio))],
            help: Some(format!("groups of a size that divides {fitting} keep the sides apart")),
        }
    }

    fixes(finding, context) {
        let StraddlingNorm { sides: (first, second), groups, .. } = *finding;
        let (all, common) = (first + second, common_divisor(first, second));
        let fits = |own: &u64| all.is_multiple_of(*own) && common.is_multiple_of(all / own) && *own < all;
        let nearest = (1..all).filter(fits).min_by_key(|own| own.abs_diff(groups));
        let norm = context.call(finding.norm).filter(Call::is_operator);
        let fix = norm.zip(nearest).and_then(|(call, fitting)| {
            let edit = call.change_number("groups", groups, fitting)?;
            Some(Fix::new(format!("normalise in {fitting} groups"), Safety::Unsafe, vec![edit]))
        });
        fix.into_iter().collect()
    }
}

fn common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
