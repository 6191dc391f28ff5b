//! `skip/vector-norm-renorm`

use crate::analysis::stacks::passage;
use crate::ir::{Graph, NodeId};
use crate::lint::Report;
use crate::ops::activation::Function;
use crate::ops::reduce::{ReducedAxes, Reduction};
use crate::ops::{Op, Passage};
use crate::words::figure;
use archc_grammar::{Fix, Safety, Span};

/// The summand under the root that stands for the decoder's variance; an epsilon is far smaller.
const SMALLEST_SUMMAND: f64 = 0.1;

rule! {
    /// ## What it does
    ///
    /// Finds sums that are divided by `sqrt(1 + ||g||²)` of a gate with many channels: by the norm of the whole vector
    /// instead of each channel's own gate.
    ///
    /// ## Why is this bad
    ///
    /// In `d + g * s` channel c has variance `1 + g_c²`. The squared norm `||g||²` is the sum over all channels, C times as
    /// large: with 320 sigmoid gates around one half the result is divided by `sqrt(1 + 320 * 0.27)`, 8.5 times too much,
    /// and has root mean square 0.117 instead of 1. Every fusion that does so shrinks its signal again.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Shrunk(d: image[64, 8, 8], s: image[64, 8, 8], c: vector[16]) -> image[64, 8, 8] {
    ///     let g = c -> linear(64) @gate -> sigmoid()
    ///     let fused = d + g * s
    ///     fused * ((((g * g) -> reduce(by: sum, over: channels)) + 1) -> rsqrt())
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Kept(d: image[64, 8, 8], s: image[64, 8, 8], c: vector[16]) -> image[64, 8, 8] {
    ///     let g = c -> linear(64) @gate -> sigmoid()
    ///     let fused = d + g * s
    ///     fused * ((g * g + 1) -> rsqrt())
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Takes the sum over channels out, so that each channel is divided by its own root (unsafe: the network computes
    /// something else; weights still load).
    ///
    /// ## References
    ///
    /// * innovation-cat, *Diffusion Architectures Part I: Stability-Oriented Designs*, 2025, section 4.2.1: the formula
    ///   with the norm of the vector.
    /// * `renorm: true` of a skip divides each channel by its own root.
    /// * Karras et al., *Analyzing and Improving the Training Dynamics of Diffusion Models*, CVPR 2024: a weighted sum
    ///   is divided by the root of the sum of its squared weights.
    ///
    /// ## Threads
    ///
    /// None found that shows it alone.
    ///
    /// * zai-org/RelayDiffusion#8: the divisor `sqrt(1 + alpha^2)` of a sum, for a single factor, is in the paper and
    ///   missing in the code; the author says that it matters little.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC --format lines` prints the mean square of the result, 0.014 for 320 gates around one half,
    /// where the sum divided channel by channel has 1; `archc probe SPEC --format json` measures it.
    "skip/vector-norm-renorm", Error
    pub struct VectorNormRenorm {
        product: Span,
        norm: Span,
        channels: u64,
        /// Mean square of the result.
        result: Option<f64>,
    }

    check(context) {
        let graph = context.graph;
        let found = graph.node_ids().filter_map(|id| {
            let Some(Op::Multiply(_)) = graph.node(id).op() else { return None };
            let (a, b) = (graph.operand(id, 0)?, graph.operand(id, 1)?);
            let (sum, reduced) = match (norm_of_vector(graph, a), norm_of_vector(graph, b)) {
                (None, Some(reduced)) => (a, reduced),
                (Some(reduced), None) => (b, reduced),
                _ => return None,
            };
            if passage(graph, sum) != Some(Passage::Add) {
                return None;
            }
            let finding = VectorNormRenorm {
                product: context.place(id),
                norm: context.place(reduced),
                channels: graph.node(graph.operand(reduced, 0)?).ty.channels()?,
                result: context.signal().square(id),
            };
            Some((id, finding))
        });
        found.collect()
    }

    report(finding, _context) {
        let VectorNormRenorm { product, norm, channels, result } = finding;
        let result = result.map(|result| {
            format!("at initialisation the result has mean square {}, 1 is meant", figure(result))
        });
        Report {
            message: "a sum is divided by the norm of all gates instead of each channel's own".to_owned(),
            labels: vec![
                (*product, "shrinks every channel".to_owned()),
                (*norm, format!("adds up the squares of {channels} channels")),
            ],
            notes: result.into_iter().collect(),
            help: Some("divide each channel by its own root: `(1 + g * g) -> rsqrt()`, or `renorm: true` of a skip".to_owned()),
        }
    }

    fixes(finding, context) {
        let sum = context.stage(finding.norm).and_then(|stage| stage.removed());
        let fix = |edit| Fix::new("divide each channel by its own root", Safety::Unsafe, vec![edit]);
        sum.map(fix).into_iter().collect()
    }
}

/// The reduction in `1 / sqrt(1 + sum over channels of g²)`.
fn norm_of_vector(graph: &Graph, factor: NodeId) -> Option<NodeId> {
    match graph.node(factor).op() {
        Some(Op::Activation(own)) if own.function == Function::Rsqrt => {}
        _ => return None,
    }
    let shifted = graph.operand(factor, 0)?;
    match graph.node(shifted).op() {
        Some(Op::Affine(affine)) if affine.shift >= SMALLEST_SUMMAND => {}
        _ => return None,
    }
    let reduced = graph.operand(shifted, 0)?;
    let squares = graph.operand(reduced, 0)?;
    let sums = matches!(
        graph.node(reduced).op(),
        Some(Op::Reduce(own)) if own.by == Reduction::Sum && own.over != ReducedAxes::Positions
    );
    let is_square = matches!(graph.node(squares).op(), Some(Op::Multiply(_)))
        && graph.operand(squares, 0) == graph.operand(squares, 1);
    (sums && is_square && graph.node(squares).ty.channels() > Some(1)).then_some(reduced)
}
