//! `norm/eps-dominates`

use crate::ir::{Graph, NodeId};
use crate::lint::{Call, Report};
use crate::ops::Op;
use crate::words::{figure, short};
use archc_grammar::{Fix, Safety, Span};
use rustc_hash::FxHashMap;

/// How many times larger than eps the variance has to be: at 10 the result is 5 % too small, at 1 by 30 %. The catalogue's
/// 100 is half a per cent, which nobody sees.
const MARGIN: f64 = 4.0;
/// Variance below which a smaller eps is no repair: the gradient behind the norm would be multiplied by a million.
const SMALLEST: f64 = 1e-12;

rule! {
    /// ## What it does
    ///
    /// Finds norms whose input is predicted to have a variance of less than four times their eps, or starts at exactly zero
    /// and does not stay there.
    ///
    /// ## Why is this bad
    ///
    /// A norm divides by `sqrt(variance + eps)`. Where eps is the larger part, the result has variance `v / (v + eps)`
    /// instead of one, and the norm has become a constant factor `1 / sqrt(eps)`: features vanish in the network behind it,
    /// gradients are multiplied by up to a thousand, and the eigenvalue of the Jacobian along the features themselves is not
    /// zero but `eps / sigma³`. Inputs of small scale, branches that start at 1e-5, and halved sums lead there. What starts at
    /// zero, as a gate does for the sake of a quiet start, gets a gradient that is multiplied by `1 / sqrt(eps)`, and is
    /// brought to unit size as soon as it has moved at all: the quiet start is over after one step.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Vanishes(x: tokens[16, 32]) -> tokens[16, 32] {
    ///     x -> linear(32, init: normal(1e-5), bias_init: zero) @in -> layer_norm(eps: 1e-5) @norm -> linear(32) @out
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Keeps(x: tokens[16, 32]) -> tokens[16, 32] {
    ///     x -> linear(32, init: normal(0.02), bias_init: zero) @in -> layer_norm(eps: 1e-6) @norm -> linear(32) @out
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Gives the norm an eps of a hundredth of the variance, where numbers of single precision still tell it from zero
    /// (unsafe: the network computes something else; weights still load).
    ///
    /// ## References
    ///
    /// * Xu et al., *Understanding and Improving Layer Normalization*, NeurIPS 2019: the derivatives of mean and variance
    ///   re-scale gradients.
    ///
    /// ## Threads
    ///
    /// * apple/axlearn#21: with an eps of 1e-8 under the root, 3e-5 is normalised to 0.28 instead of 1.
    /// * apple/coremltools#2822: an eps that had been multiplied by the square of the largest value made errors of some
    ///   per cent.
    /// * tracel-ai/burn#2185: eps was added to the root instead of the variance, so that a norm computed something
    ///   else.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC --format lines` prints the mean square behind the norm, `v / (v + eps)` where it should be
    /// 1; `archc probe SPEC --format json` measures it.
    "norm/eps-dominates", Warning
    pub struct EpsDominates {
        norm: Span,
        input: Span,
        variance: f64,
        /// Of all norms that are written in this place.
        least: f64,
        eps: f64,
        /// Whether eps is added to the root instead of the variance.
        outside: bool,
        /// Whether the input is exactly zero at the start.
        starts_zero: bool,
    }

    check(context) {
        let graph = context.graph;
        let found = graph.node_ids().filter_map(|id| {
            let (eps, centred) = eps(graph, id)?;
            let input = graph.operand(id, 0)?;
            let liveness = context.liveness();
            if liveness.starts_zero(input) {
                // What stays zero is another rule's business.
                let moves = !liveness.stays_zero(input) && liveness.receives_gradient(input);
                let (norm, input) = (context.place(id), context.place(input));
                let (variance, outside) = (0.0, is_outside(graph, id));
                let finding = EpsDominates { norm, input, variance, least: variance, eps, outside, starts_zero: true };
                return moves.then_some((id, finding));
            }
            let moments = context.signal().at(input).as_ref().ok()?;
            let variance = if centred { moments.variance() } else { moments.square() };
            let (norm, input) = (context.place(id), context.place(input));
            let outside = is_outside(graph, id);
            let finding = EpsDominates { norm, input, variance, least: variance, eps, outside, starts_zero: false };
            (variance < MARGIN * eps).then_some((id, finding))
        });
        let mut found: Vec<(NodeId, EpsDominates)> = found.collect();
        let mut least: FxHashMap<Span, f64> = FxHashMap::default();
        for (_, finding) in &found {
            let known = least.entry(finding.norm).or_insert(finding.variance);
            *known = known.min(finding.variance);
        }
        for (_, finding) in &mut found {
            finding.least = least.get(&finding.norm).copied().unwrap_or(finding.variance);
        }
        found
    }

    report(finding, _context) {
        let EpsDominates { norm, input, variance, eps, .. } = finding;
        if finding.starts_zero {
            return Report {
                message: "this norm undoes the start at zero of what it is given".to_owned(),
                labels: vec![
                    (*norm, format!("multiplies gradients by {}", figure(1.0 / libm::sqrt(*eps)))),
                    (*input, "starts at exactly zero".to_owned()),
                ],
                notes: vec!["from the first step on the result has unit size, however small the step was".to_owned()],
                help: Some("leave the norm out, or let something behind it start at zero instead".to_owned()),
            };
        }
        Report {
            message: "what is normalised here is smaller than the norm's eps".to_owned(),
            labels: vec![
                (*norm, format!("divides by sqrt(variance + {})", figure(*eps))),
                (*input, format!("variance {} at initialisation", figure(*variance))),
            ],
            notes: vec![format!(
                "the result has variance {} instead of 1",
                figure(variance / (variance + eps))
            )],
            help: Some("start what comes before at a larger scale, or give the norm a smaller `eps:`".to_owned()),
        }
    }

    fixes(finding, context) {
        let root = if finding.outside { 0.5 } else { 1.0 };
        let smaller = libm::pow(10.0, libm::floor(libm::log10(finding.least / 100.0) * root));
        let norm = context.call(finding.norm).filter(Call::is_operator).filter(|_| finding.least > SMALLEST);
        let fix = |call: Call| Fix::new("give the norm a smaller eps", Safety::Unsafe, vec![call.set("eps", &short(smaller))]);
        norm.map(fix).into_iter().collect()
    }
}

fn is_outside(graph: &Graph, id: NodeId) -> bool {
    matches!(graph.node(id).op(), Some(Op::PixelNorm(_)))
}

/// What a norm adds to the variance, and whether it subtracts the mean.
fn eps(graph: &Graph, id: NodeId) -> Option<(f64, bool)> {
    match graph.node(id).op() {
        Some(Op::GroupNorm(norm)) => Some((norm.eps, true)),
        Some(Op::LayerNorm(norm)) => Some((norm.eps, true)),
        Some(Op::RmsNorm(norm)) => Some((norm.eps, false)),
        // Outside of the root.
        Some(Op::PixelNorm(norm)) => Some((norm.eps * norm.eps, false)),
        _ => None,
    }
}
