//! `skip/attention-drops-trunk`

use crate::analysis::stacks::{is_modulated, passage};
use crate::ir::NodeId;
use crate::lint::{Context, Report};
use crate::ops::{Op, Passage};
use crate::words::figure;
use archc_grammar::Span;

/// Operations between a stream and the queries, keys and values made of it, at most.
const MAX_STEPS: usize = 12;

rule! {
    /// ## What it does
    ///
    /// Finds attention from the decoder to a feature saved earlier in the same stream whose result is not added to the
    /// decoder: a fusion that keeps nothing of the trunk.
    ///
    /// ## Why is this bad
    ///
    /// The decoder gives the queries, which only weigh; what comes out is a mean of the saved feature's values. All that
    /// the layers between have computed is lost but for the weights, and the gradient reaches them through a softmax alone.
    /// The result is small as well: over L keys that do not agree, a mean keeps about 1/L of the energy, 0.004 at 16 x 16.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Loses(x: tokens[64, 32]) -> tokens[64, 32] {
    ///     let h = x -> linear(64) @up -> gelu() -> linear(32) @down
    ///     let q = h -> layer_norm() @norm_decoder -> linear(32) @q
    ///     let source = x -> layer_norm() @norm_saved
    ///     attention(q, source -> linear(32) @k, source -> linear(32) @v, heads: 2) -> linear(32) @out
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Keeps(x: tokens[64, 32]) -> tokens[64, 32] {
    ///     let h = x -> linear(64) @up -> gelu() -> linear(32) @down
    ///     let q = h -> layer_norm() @norm_decoder -> linear(32) @q
    ///     let source = x -> layer_norm() @norm_saved
    ///     h + (attention(q, source -> linear(32) @k, source -> linear(32) @v, heads: 2) -> linear(32) @out)
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// None: which name has the trunk, and in front of or behind which projection the sum belongs, only the author can say.
    ///
    /// ## References
    ///
    /// * innovation-cat, *Diffusion Architectures Part I: Stability-Oriented Designs*, 2025, section 4.2.3: fusion by
    ///   attention, written without the sum.
    /// * `attention_fusion` of `std.skip` has it.
    /// * Dong et al., *Attention is Not All You Need: Pure Attention Loses Rank Doubly Exponentially with Depth*, ICML
    ///   2021.
    ///
    /// ## Threads
    ///
    /// * lucidrains/audiolm-pytorch#150: cross-attention without its sum makes results much worse; the author adds
    ///   `+ x`.
    /// * ZhengYinan-AIR/Diffusion-Planner#37: a user asks why the cross-attention of a DiT block has no bypass; another
    ///   one tried it, and it converged faster, to almost the same results.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC --format lines` prints the mean square of what attention gives beside that of the trunk,
    /// which is far larger; `archc probe SPEC --format json` measures both.
    "skip/attention-drops-trunk", Warning
    pub struct AttentionDropsTrunk {
        attention: Span,
        trunk: Span,
        saved: Span,
        /// Mean squares of the trunk and of what attention gives.
        squares: Option<(f64, f64)>,
    }

    check(context) {
        let graph = context.graph;
        let found = graph.node_ids().filter_map(|id| {
            let Some(Op::Attention(_)) = graph.node(id).op() else { return None };
            let trunk = source(context, graph.operand(id, 0)?);
            let (keys, saved) = (source(context, graph.operand(id, 1)?), source(context, graph.operand(id, 2)?));
            if keys != saved || saved == trunk || !descends(context, trunk, saved) || is_bypassed(context, id, trunk) {
                return None;
            }
            let square = |node| context.signal().square(node);
            let finding = AttentionDropsTrunk {
                attention: context.place(id),
                trunk: context.place(trunk),
                saved: context.place(saved),
                squares: square(trunk).zip(square(id)),
            };
            Some((id, finding))
        });
        found.collect()
    }

    report(finding, _context) {
        let notes = finding.squares.map(|(trunk, result)| {
            format!(
                "at initialisation the trunk has mean square {}, the result of the attention {}",
                figure(trunk),
                figure(result)
            )
        });
        Report {
            message: "attention to a saved feature replaces the trunk instead of adding to it".to_owned(),
            labels: vec![
                (finding.attention, "the result is a mean of the saved feature".to_owned()),
                (finding.trunk, "of this only the weights are left".to_owned()),
                (finding.saved, "attended to".to_owned()),
            ],
            notes: notes.into_iter().collect(),
            help: Some(
                "add it to the decoder feature, `residual { .. }`; `fuse: attention_fusion(heads: 8)` of `std.skip` does"
                    .to_owned(),
            ),
        }
    }
}

/// Where a value comes from by maps of each position, norms and changes of layout.
fn source(context: &Context<'_>, mut at: NodeId) -> NodeId {
    for _ in 0..MAX_STEPS {
        let light = matches!(
            passage(context.graph, at),
            Some(Passage::Keep | Passage::Scale | Passage::Gate | Passage::Normalize | Passage::Project | Passage::Cut)
        ) || is_modulated(context.graph, at);
        match context.streams().main_operand(at) {
            Some(operand) if light => at = operand,
            _ => break,
        }
    }
    at
}

/// Whether a value comes from another one by main operands.
fn descends(context: &Context<'_>, below: NodeId, above: NodeId) -> bool {
    let samples = context.graph.node(above).ty.batch.samples && context.graph.node(above).ty.kind.has_positions();
    samples && context.streams().descends(below, above)
}

/// Whether what attention gives is added to what made the queries, or becomes a gate.
fn is_bypassed(context: &Context<'_>, attention: NodeId, trunk: NodeId) -> bool {
    let graph = context.graph;
    let mut open = vec![attention];
    let mut steps = 0;
    while let Some(at) = open.pop() {
        steps += 1;
        for (user, _) in graph.users(at) {
            match passage(graph, user) {
                _ if steps > 2 * MAX_STEPS => return true,
                Some(Passage::Add | Passage::Join) => {
                    let others = graph.operands(user).into_iter().filter(|operand| *operand != at);
                    let brings = |other: NodeId| {
                        let around = !context.streams().descends(other, attention);
                        other == trunk || around && (source(context, other) == trunk || descends(context, other, trunk))
                    };
                    if others.into_iter().any(brings) {
                        return true;
                    }
                    open.push(user);
                }
                Some(
                    Passage::Keep | Passage::Scale | Passage::Normalize | Passage::Project | Passage::Cut | Passage::Resample,
                ) => open.push(user),
                Some(Passage::Gate) => {
                    // A gate of another value, or a gated result.
                    let other = graph.operands(user).into_iter().find(|operand| *operand != at);
                    if other.is_some_and(|other| graph.node(other).ty.kind.has_positions()) {
                        return true;
                    }
                    open.push(user);
                }
                Some(Passage::Transform) if matches!(graph.node(user).op(), Some(Op::Activation(_))) => open.push(user),
                Some(Passage::Source | Passage::Transform) | None => {}
            }
        }
    }
    false
}
