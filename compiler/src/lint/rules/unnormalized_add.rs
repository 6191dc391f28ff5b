//! `skip/unnormalized-add`

use crate::analysis::streams::{Merge, MergeKind};
use crate::words::{figure, short};
use crate::ir::NodeId;
use crate::lint::{Context, Report};
use crate::ops::{Op, Passage};
use archc_grammar::{Edit, Fix, Safety, Span};

rule! {
    /// ## What it does
    ///
    /// Finds long skips that are added to the decoder as they are: neither normalised, nor scaled, nor gated, and with
    /// a sum that is not brought back to scale.
    ///
    /// ## Why is this bad
    ///
    /// The variance of the sum is `Var(d) + Var(s) + 2 Cov(d, s)`. Encoder and decoder features differ in scale, and
    /// they are correlated, since the decoder descends from what was saved: with correlation 0.5 and equal scales each
    /// fusion multiplies the variance by 3, or by 1.5 behind a division by √2, which over twelve fusions is a factor
    /// of 130. The larger summand drowns the other. Networks with many unscaled long skips oscillate in training;
    /// scaling the skips by a constant, or by one that falls with depth, removes it and speeds training up by about
    /// half (ScaleLong).
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Additive(x: image[4, 32, 32]) -> image[4, 32, 32] {
    ///     skip long(fuse: add)
    ///     let h = x -> conv2d(32, kernel: 3) @stem
    ///     long <- h
    ///     h = h -> conv2d(32, kernel: 3, stride: 2) @down -> silu() -> upsample(2) -> conv2d(32, kernel: 3) @up
    ///     h -> join(long) -> conv2d(4, kernel: 3) @head
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Additive(x: image[4, 32, 32]) -> image[4, 32, 32] {
    ///     skip long(fuse: add, norm: group_norm(groups: 8), scale: 0.7, renorm: true)
    ///     let h = x -> conv2d(32, kernel: 3) @stem
    ///     long <- h
    ///     h = h -> conv2d(32, kernel: 3, stride: 2) @down -> silu() -> upsample(2) -> conv2d(32, kernel: 3) @up
    ///     h -> join(long) -> conv2d(4, kernel: 3) @head
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Divides the sum by what it measures, `pixel_norm()`; where `skip` declares the sum and its moments are known, also by
    /// the root of the variance that is predicted for it (unsafe: the network computes something else; weights still load).
    ///
    /// ## Evidence
    ///
    /// Eight sums in a plain stack of convolutions learn worse with every seed, by 6 %. A U-Net of three levels whose blocks
    /// begin with norms learns as well with plain sums as with scaled ones, and its signal does not grow
    /// (`tests/evidence/report.md`): what follows the sum decides.
    ///
    /// ## References
    ///
    /// * Huang et al., *ScaleLong: Towards More Stable Training of Diffusion Model via Scaling Network Long Skip
    ///   Connection*, NeurIPS 2023.
    ///
    /// ## Threads
    ///
    /// * bioinf-jku/SNNs#12: a sum with a skip has variance 2, the next one 4 and then 8, so that a correction for one
    ///   does not help.
    /// * fastai/fastdiffusion#9: skips that are concatenated instead of added seem to make samples of a diffusion U-Net
    ///   significantly better.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC --format lines` prints the mean squares of decoder, skip and sum,
    /// `archc probe SPEC --format json` measures them.
    "skip/unnormalized-add", Warning
    pub struct UnnormalizedAdd {
        sum: Span,
        saved: Span,
        /// Mean squares of the decoder feature and of the skip, where they are known.
        squares: Option<(f64, f64)>,
        /// That of their sum.
        fused: Option<f64>,
    }

    check(context) {
        let found = context.streams().merges.iter().filter(|merge| is_bare_sum(context, merge)).map(|merge| {
            let square = |node: NodeId| context.signal().square(node);
            let finding = UnnormalizedAdd {
                sum: context.place(merge.node),
                saved: context.place(merge.fork),
                squares: square(merge.branch).zip(square(merge.carry)),
                fused: square(merge.node),
            };
            (merge.node, finding)
        });
        found.collect()
    }

    report(finding, _context) {
        let notes = finding.squares.map(|(decoder, skip)| {
            format!(
                "at initialisation the decoder feature has mean square {}, the skip {}",
                figure(decoder),
                figure(skip)
            )
        });
        Report {
            message: "this long skip is added without normalisation or scale".to_owned(),
            labels: vec![
                (finding.sum, "added to the decoder feature here".to_owned()),
                (finding.saved, "saved here".to_owned()),
            ],
            notes: notes.into_iter().collect(),
            help: Some(
                "normalise the skip (`norm: group_norm(..)`), scale it (`scale: 0.7`), and divide the sum by its \
                 deviation (`renorm: true`)"
                    .to_owned(),
            ),
        }
    }

    fixes(finding, context) {
        if let Some(join) = context.call(finding.sum).filter(|call| *call.name == *"join") {
            let name = join.positional(0).unwrap_or("");
            let Some(skip) = context.skip(name, finding.sum) else { return vec![] };
            let measured = Fix::new("normalise the sum", Safety::Unsafe, vec![skip.set("renorm", "pixel_norm()")]);
            let predicted = finding.expected().map(|renorm| {
                let title = "divide the sum by the deviation that is predicted for it";
                Fix::new(title, Safety::Unsafe, vec![skip.set("renorm", &renorm)])
            });
            return std::iter::once(measured).chain(predicted).collect();
        }
        let Some(()) = context.sum(finding.sum) else { return vec![] };
        let before = Span { end: finding.sum.start, ..finding.sum };
        let edits = vec![Edit::new(before, "("), Edit::new(finding.sum.after(), ") -> pixel_norm()")];
        vec![Fix::new("normalise the sum", Safety::Unsafe, edits)]
    }
}

impl UnnormalizedAdd {
    /// `expected(..)` with the moments that are predicted, where it shrinks the sum.
    fn expected(&self) -> Option<String> {
        let ((decoder, saved), fused) = (self.squares?, self.fused?);
        let correlation = (fused - decoder - saved) / (2.0 * libm::sqrt(decoder * saved));
        let correlation = short(libm::round(correlation.clamp(-0.99, 0.99) * 100.0) / 100.0);
        let (decoder, saved) = (figure(decoder), figure(saved));
        (fused > 1.0).then(|| format!("expected(decoder: {decoder}, saved: {saved}, correlation: {correlation})"))
    }
}

fn is_bare_sum(context: &Context<'_>, merge: &Merge) -> bool {
    if merge.kind != MergeKind::LongSkip || passage(context, merge.node) != Some(Passage::Add) {
        return false;
    }
    // What starts at zero adds nothing at first: a zero convolution on the skip, or at the end of the decoder.
    if [merge.carry, merge.branch].iter().any(|side| context.liveness().starts_zero(*side)) {
        return false;
    }
    if merge.bypass.iter().any(|node| is_controlled(context, *node)) || is_scaled(context, merge.branch) {
        return false;
    }
    if makes_gates(context, merge.node) {
        return false;
    }
    !is_rescaled(context, merge.node)
}

/// Whether every use of a sum brings it back to unit scale first.
pub(super) fn is_rescaled(context: &Context<'_>, sum: NodeId) -> bool {
    let mut users = context.graph.users(sum).peekable();
    users.peek().is_some() && users.all(|(user, _)| is_controlled(context, user))
}

/// Operations between a sum and the product that it is a gate of, at most.
const STEPS: usize = 16;

/// Whether a sum of both sides is no fusion but on its way to a gate: every way from it ends in a product of which it is
/// not the feature, `saved * f(W decoder + V saved)`.
fn makes_gates(context: &Context<'_>, sum: NodeId) -> bool {
    let mut open = vec![sum];
    let mut steps = 0;
    while let Some(at) = open.pop() {
        steps += 1;
        let mut users = context.graph.users(at).peekable();
        if steps > STEPS || users.peek().is_none() {
            return false;
        }
        for (user, _) in users {
            match passage(context, user) {
                Some(Passage::Gate) if context.streams().main_operand(user) != Some(at) => {}
                Some(
                    Passage::Keep | Passage::Scale | Passage::Normalize | Passage::Project | Passage::Transform | Passage::Resample,
                ) => open.push(user),
                _ => return false,
            }
        }
    }
    true
}

/// Whether an operation normalises, gates or shrinks.
pub(super) fn is_controlled(context: &Context<'_>, node: NodeId) -> bool {
    match context.graph.node(node).op() {
        Some(Op::Affine(affine)) => affine.shift == 0.0 && affine.scale.abs() < 1.0,
        _ => matches!(passage(context, node), Some(Passage::Normalize | Passage::Gate)),
    }
}

/// Whether the other side of the sum is shrunk or gated before it is added: `x + 0.2 * f(x)`.
fn is_scaled(context: &Context<'_>, mut at: NodeId) -> bool {
    while let Some(Passage::Keep | Passage::Scale | Passage::Gate) = passage(context, at) {
        if is_controlled(context, at) {
            return true;
        }
        match context.streams().main_operand(at) {
            Some(operand) => at = operand,
            None => return false,
        }
    }
    false
}

fn passage(context: &Context<'_>, node: NodeId) -> Option<Passage> {
    context.graph.node(node).op().map(|op| op.as_operator().passage())
}
