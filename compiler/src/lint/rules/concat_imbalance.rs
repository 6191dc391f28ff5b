//! `skip/concat-imbalance`

use crate::analysis::stacks::{passage, readers};
use crate::analysis::streams::MergeKind;
use crate::ir::NodeId;
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
    /// Finds long skips, and values of different origin, that are concatenated and projected without a norm between, where
    /// one side has more than 95 % of the energy.
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
    /// ## Evidence
    ///
    /// In a small U-Net on images of digits a skip of a 400th of the decoder's energy makes the loss 12 % larger; one of 400 times
    /// its energy makes no difference there, since that network hardly needs its lower level (`tests/evidence/report.md`).
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
        /// What a skip brings back was saved here; what has another origin is made here.
        side: Span,
        sides: Sides,
        is_skip: bool,
    }

    check(context) {
        let graph = context.graph;
        let long = context.streams().merges.iter().filter(|merge| merge.kind == MergeKind::LongSkip);
        let skips: Vec<(NodeId, Option<Sides>, NodeId)> = long
            .map(|merge| (merge.node, Sides::of(context, merge.node, merge.branch, merge.carry), merge.fork))
            .collect();
        // Two values of different origin, such as a noisy image and the one that it follows.
        let others = graph.node_ids().filter_map(|id| {
            let operands = graph.operands(id);
            let [first, second] = operands.as_slice() else { return None };
            let is_feature = |node: &NodeId| graph.node(*node).ty.kind.has_positions() && graph.node(*node).ty.batch.samples;
            let is_other = skips.binary_search_by_key(&id, |(node, ..)| *node).is_err();
            let sides = Sides::of(context, id, *first, *second).filter(|_| is_other && operands.iter().all(is_feature))?;
            Some((id, Some(sides), if sides.decoder > sides.skip { *second } else { *first }))
        });
        let found = skips.iter().copied().map(|own| (own, true)).chain(others.map(|own| (own, false)));
        let found = found.filter_map(|((join, sides, side), is_skip)| {
            let sides = sides?;
            let is_lost = sides.share > SHARE && sides.ratio() > RATIO && is_projected(context, join);
            let finding = ConcatImbalance { join: context.place(join), side: context.place(side), sides, is_skip };
            is_lost.then_some((join, finding))
        });
        found.collect()
    }

    report(finding, _context) {
        let ConcatImbalance { join, side, sides, is_skip } = finding;
        let Sides { decoder, skip, share } = sides;
        let (loud, silent) = match (is_skip, skip > decoder) {
            (true, true) => ("the skip", "the decoder"),
            (true, false) => ("the decoder", "the skip"),
            (false, true) => ("the second value", "the first"),
            (false, false) => ("the first value", "the second"),
        };
        let (first, second) = if *is_skip { ("decoder feature", "skip") } else { ("first", "second") };
        Report {
            message: format!("{loud} drowns {silent} in this concatenation"),
            labels: vec![
                (*join, format!("{} % of what is projected comes from {loud}", figure(share * 100.0))),
                (*side, if *is_skip { "saved here".to_owned() } else { "made here".to_owned() }),
            ],
            notes: vec![format!(
                "at initialisation the {first} has mean square {}, the {second} {}",
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
        let scale = figure(libm::sqrt(finding.sides.decoder / finding.sides.skip));
        let fix = |skip: Call| Fix::new("balance both sides", Safety::Unsafe, vec![skip.set("scale", &scale)]);
        skip.map(fix).into_iter().collect()
    }
}

/// What meets in a concatenation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sides {
    /// Mean squares.
    pub decoder: f64,
    pub skip: f64,
    /// The larger share of the energy.
    pub share: f64,
}

impl Sides {
    /// Of a concatenation along channels, in which both sides are known and neither is zero.
    pub fn of(context: &Context<'_>, join: NodeId, decoder: NodeId, skip: NodeId) -> Option<Self> {
        let graph = context.graph;
        let channels = |node| graph.node(node).ty.channels().map(|channels| channels as f64);
        if passage(graph, join) != Some(Passage::Join) {
            return None;
        }
        let (own, others) = (channels(decoder)?, channels(skip)?);
        // Values side by side along another axis do not meet in a channel map.
        if channels(join)? != own + others {
            return None;
        }
        let (decoder, skip) = (context.signal().square(decoder)?, context.signal().square(skip)?);
        if decoder <= 0.0 || skip <= 0.0 {
            return None;
        }
        let share = own * decoder / (own * decoder + others * skip);
        Some(Self { decoder, skip, share: share.max(1.0 - share) })
    }

    /// How many times larger the mean square of one side is.
    pub fn ratio(&self) -> f64 {
        (self.decoder / self.skip).max(self.skip / self.decoder)
    }
}

/// Whether what is joined is mapped, and normalised nowhere.
fn is_projected(context: &Context<'_>, join: NodeId) -> bool {
    let readers = readers(context.graph, join);
    let maps = |passage| matches!(passage, Some(Passage::Project | Passage::Transform));
    !readers.is_empty() && readers.iter().all(|reader| maps(passage(context.graph, *reader)))
}
