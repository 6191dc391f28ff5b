//! `skip/concat-imbalance`

use crate::analysis::stacks::{passage, readers};
use crate::analysis::streams::{Merge, MergeKind};
use crate::lint::{Call, Context, Report};
use crate::ops::Passage;
use crate::words::figure;
use archc_grammar::{Fix, Safety, Span};

/// Share of the energy that one side may have. The framework's default start shrinks each layer to a third, so that small
/// networks without norms have shares around 0.9 and train.
const SHARE: f64 = 0.95;
/// How much larger one side's mean square is, for the share not to come from its number of channels alone.
const RATIO: f64 = 20.0;

rule! {
    /// ## What it does
    ///
    /// Finds long skips that are concatenated and projected without a norm between, where one side has more than 95 % of
    /// the energy.
    ///
    /// ## Why is this bad
    ///
    /// A fresh projection of `[d, s]` has variance proportional to `C_d Var(d) + C_s Var(s)`: a side of larger magnitude is
    /// all that the next layer hears, and receives nearly all of the gradient. Concatenation does not balance what
    /// addition would not. A norm in front of the projection does, if no group of its channels has parts of both sides; so
    /// does a factor on each side that makes their contributions equal (EDM2's magnitude-preserving concatenation).
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Drowned(x: image[32, 16, 16]) -> image[32, 16, 16] {
    ///     skip long(fuse: concat)
    ///     long <- x
    ///     let h = x -> conv2d(64, kernel: 3, stride: 2) @down -> silu() -> upsample(2) -> conv2d(32, kernel: 3) @up
    ///     h -> join(long) -> conv2d(32, kernel: 1) @out
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Heard(x: image[32, 16, 16]) -> image[32, 16, 16] {
    ///     skip long(fuse: concat)
    ///     long <- x
    ///     let h = x -> conv2d(64, kernel: 3, stride: 2) @down -> silu() -> upsample(2) -> conv2d(32, kernel: 3) @up
    ///     h -> join(long) -> group_norm(16) @norm -> conv2d(32, kernel: 1) @out
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Scales the skip so that both sides have the same mean square, where `skip` declares the join and gives no other factor
    /// or norm (unsafe: the network computes something else; weights still load).
    ///
    /// ## References
    ///
    /// * Karras et al., *Analyzing and Improving the Training Dynamics of Diffusion Models*, CVPR 2024, appendix B.4:
    ///   `mp_cat` of `std.magnitude`.
    /// * lucidrains/imagen-pytorch: skips times 1/√2 in front of the concatenation.
    ///
    /// ## Threads
    ///
    /// * airsplay/R2R-EnvDrop#7: an angle is repeated until it fills 128 channels, to balance its energy against that
    ///   of the features it is concatenated with; later a layer norm did that.
    /// * chullhwan-song/Reading-Paper#213: notes on ParseNet: without a norm in front of a concatenation the larger
    ///   features dominate the smaller ones.
    /// * facebookresearch/deepmask#51: asked about such a norm, the author expects the convolutions behind to do
    ///   without.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC --format lines` prints the mean squares of the lines that make both sides; times their
    /// channels, these are the shares of the energy. `archc probe SPEC --format json` measures them.
    "skip/concat-imbalance", Warning
    pub struct ConcatImbalance {
        join: Span,
        saved: Span,
        decoder: f64,
        skip: f64,
        /// Of the larger side.
        share: f64,
    }

    check(context) {
        let long = context.streams().merges.iter().filter(|merge| merge.kind == MergeKind::LongSkip);
        let found = long.filter_map(|merge| {
            let (decoder, skip, share) = imbalance(context, merge)?;
            let finding = ConcatImbalance {
                join: context.place(merge.node),
                saved: context.place(merge.fork),
                decoder,
                skip,
                share,
            };
            let ratio = (decoder / skip).max(skip / decoder);
            (share > SHARE && ratio > RATIO && is_projected(context, merge)).then_some((merge.node, finding))
        });
        found.collect()
    }

    report(finding, _context) {
        let ConcatImbalance { join, saved, decoder, skip, share } = finding;
        let (loud, silent) = if skip > decoder { ("skip", "decoder") } else { ("decoder", "skip") };
        Report {
            message: format!("the {loud} drowns the {silent} in this concatenation"),
            labels: vec![
                (*join, format!("{} % of what is projected comes from the {loud}", figure(share * 100.0))),
                (*saved, "saved here".to_owned()),
            ],
            notes: vec![format!(
                "at initialisation the decoder feature has mean square {}, the skip {}",
                figure(*decoder),
                figure(*skip)
            )],
            help: Some(
                "normalise what is joined before it is projected, or weight both sides: `fuse: mp_cat()` of `std.magnitude`"
                    .to_owned(),
            ),
        }
    }

    fixes(finding, context) {
        let is_plain = |skip: &Call| ["scale", "norm", "gate", "renorm"].into_iter().all(|own| skip.argument(own).is_none());
        let skip = context.fused(finding.join).filter(is_plain);
        let scale = figure(libm::sqrt(finding.decoder / finding.skip));
        let fix = |skip: Call| Fix::new("balance both sides", Safety::Unsafe, vec![skip.set("scale", &scale)]);
        skip.map(fix).into_iter().collect()
    }
}

/// Mean squares of decoder and skip, and the larger share of the energy.
pub(super) fn imbalance(context: &Context<'_>, merge: &Merge) -> Option<(f64, f64, f64)> {
    let graph = context.graph;
    let channels = |node| graph.node(node).ty.channels().map(|channels| channels as f64);
    let (own, others) = (channels(merge.branch)?, channels(merge.carry)?);
    // Values side by side along another axis do not meet in a channel map.
    if passage(graph, merge.node) != Some(Passage::Join) || channels(merge.node)? != own + others {
        return None;
    }
    let (decoder, skip) = (context.signal().square(merge.branch)?, context.signal().square(merge.carry)?);
    if decoder <= 0.0 || skip <= 0.0 {
        return None;
    }
    let share = own * decoder / (own * decoder + others * skip);
    Some((decoder, skip, share.max(1.0 - share)))
}

/// Whether what is joined is mapped, and normalised nowhere.
fn is_projected(context: &Context<'_>, merge: &Merge) -> bool {
    let readers = readers(context.graph, merge.node);
    let maps = |passage| matches!(passage, Some(Passage::Project | Passage::Transform));
    !readers.is_empty() && readers.iter().all(|reader| maps(passage(context.graph, *reader)))
}
