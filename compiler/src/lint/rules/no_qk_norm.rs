//! `attention/no-qk-norm`

use crate::analysis::precision::Format;
use crate::analysis::stacks::passage;
use crate::ir::NodeId;
use crate::lint::{Context, Report};
use crate::ops::{Op, Passage};
use archc_grammar::Span;

/// Residual sums in a row from which on scores are at risk in few bits.
const DEEP: u32 = 24;
/// Operations between a projection and the scores, at most.
const MAX_STEPS: usize = 8;

rule! {
    /// ## What it does
    ///
    /// Finds attention without a norm on queries and keys where scores are known to grow in training: joint attention of two
    /// streams, and, where a model is declared to run in half precision, stacks of 24 residual sums or more.
    ///
    /// ## Why is this bad
    ///
    /// Nothing bounds the scores: they grow with the product of two weights. At initialisation they are small, so that no
    /// figure of the start shows it. In large models they have been seen to pass 50,000 in training, attention picks one key,
    /// and the loss diverges; in f16 they overflow at 65504. Two streams that share one attention compete, each with
    /// projections of its own: fine-tunes of SD3 diverge, and SD3.5 has the norm. Behind an RMS norm scores are at most
    /// `sqrt(d) γ_q γ_k`. This is an empirical finding about training and no analysis of the start.
    ///
    /// ## Example
    ///
    /// ```arch
    /// use std.transformer.{JointAttention}
    ///
    /// model Joint(x: tokens[16, 64], text: tokens[8, 64]) -> (tokens[16, 64], tokens[8, 64]) {
    ///     let [seen, heard] = (x -> layer_norm() @norm) -> JointAttention(text -> layer_norm() @text_norm, heads: 2) @attn
    ///     (x + seen, text + heard)
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// use std.transformer.{JointAttention}
    ///
    /// model Joint(x: tokens[16, 64], text: tokens[8, 64]) -> (tokens[16, 64], tokens[8, 64]) {
    ///     let [seen, heard] = (x -> layer_norm() @norm)
    ///         -> JointAttention(text -> layer_norm() @text_norm, heads: 2, qk_norm: true) @attn
    ///     (x + seen, text + heard)
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Puts an RMS norm without parameters on queries and keys, where `attention(q, k, v)` is called with them (unsafe: the
    /// network computes something else; weights still load).
    ///
    /// ## Evidence
    ///
    /// On images of digits, at a learning rate of 1e-2, the loss is 2 % larger without the norm, and not with every seed; at 3e-2
    /// training fails without it, 1.55 instead of 1.02 (`tests/evidence/report.md`).
    ///
    /// ## References
    ///
    /// * Dehghani et al., *Scaling Vision Transformers to 22 Billion Parameters*, ICML 2023, section 2: scores above 50,000
    ///   and a loss that diverges, until queries and keys are normalised.
    /// * Esser et al., *Scaling Rectified Flow Transformers*, ICML 2024, section 5.3.2: RMS norm on queries and keys.
    ///
    /// ## Threads
    ///
    /// * BoyuanJiang/FitDiT#30: trainings of SD3 diverge after hours; for one user the norm on queries and keys alone
    ///   stopped that.
    /// * huggingface/diffusers#8599: NaN after two or three thousand steps of training SD3 in f16, with clipped
    ///   gradients too; it is proposed to put the norm back.
    /// * lucidrains/imagen-pytorch#129: a loss of NaN in f16; the author offers attention by cosines, against overflow.
    ///
    /// ## To confirm
    ///
    /// `archc train SPEC --data DATA --out RUN --lr 1e-3`, ten times the usual rate, then
    /// `archc run SPEC --weights RUN/weights.safetensors --mid PATH --output out.safetensors` for queries and keys:
    /// their size has grown, and the scores are their product.
    "attention/no-qk-norm", Warning
    pub struct NoQkNorm {
        attention: Span,
        reason: Reason,
    }

    check(context) {
        let few_bits = context.given.dtype.filter(|format| *format != Format::F32);
        let found = context.graph.node_ids().filter_map(|id| {
            let Some(Op::Attention(_)) = context.graph.node(id).op() else { return None };
            let (query, key) = (context.graph.operand(id, 0)?, context.graph.operand(id, 1)?);
            if is_bounded(context, query, MAX_STEPS) || is_bounded(context, key, MAX_STEPS) {
                return None;
            }
            let depth = context.streams().stack_depth(id);
            let reason = match few_bits {
                _ if is_joint(context, query) => Reason::Joint,
                Some(format) if depth >= DEEP => Reason::FewBits { format, depth },
                _ => return None,
            };
            Some((id, NoQkNorm { attention: context.place(id), reason }))
        });
        found.collect()
    }

    report(finding, _context) {
        let label = match finding.reason {
            Reason::Joint => "two streams meet here".to_owned(),
            Reason::FewBits { format, depth } => format!("runs in {}, in a stack of {depth} sums", format.name()),
        };
        Report {
            message: "nothing bounds the scores of this attention in training".to_owned(),
            labels: vec![(finding.attention, label)],
            notes: vec![],
            help: Some("normalise queries and keys of each head: `qk_norm: true`, `rms_norm(heads: ..)`".to_owned()),
        }
    }

    fixes(finding, context) {
        context.normalized_scores(finding.attention).into_iter().collect()
    }
}

#[derive(Clone, Copy, Debug)]
enum Reason {
    Joint,
    FewBits { format: Format, depth: u32 },
}

/// Whether a norm stands between a value and the projections it comes from, on every way.
fn is_bounded(context: &Context<'_>, at: NodeId, steps: usize) -> bool {
    let Some(operation) = passage(context.graph, at).filter(|_| steps > 0) else { return false };
    let operands = context.graph.operands(at);
    let mut bounded = operands.iter().map(|operand| is_bounded(context, *operand, steps - 1));
    match operation {
        Passage::Normalize => true,
        Passage::Join => bounded.all(|own| own),
        Passage::Keep | Passage::Cut | Passage::Scale | Passage::Gate => bounded.next().unwrap_or(false),
        Passage::Source | Passage::Resample | Passage::Project | Passage::Transform | Passage::Add => false,
    }
}

/// Whether queries are those of several streams, each projected by itself.
fn is_joint(context: &Context<'_>, query: NodeId) -> bool {
    let graph = context.graph;
    if passage(graph, query) != Some(Passage::Join) {
        return false;
    }
    let projected = |part: NodeId| {
        let parameters = &graph.node(part).parameters;
        passage(graph, part) == Some(Passage::Project) && !parameters.is_empty()
    };
    graph.operands(query).into_iter().all(projected)
}
