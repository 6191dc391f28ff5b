//! `attention/logit-scale`

use super::context_scale::odd_context;
use crate::ir::NodeId;
use crate::lint::{Context, Report};
use crate::ops::Op;
use crate::ops::attention::logit_variance;
use crate::ops::signals::sizes_of;
use crate::words::figure;
use archc_grammar::Span;

/// Deviation of scores over the keys from which on one key takes nearly all, with the margin of 15 % of all thresholds:
/// for normal scores of deviation 3 and 256 keys the largest weight is 0.6 in the mean.
const LARGE: f64 = 3.0 * 1.15;

rule! {
    /// ## What it does
    ///
    /// Finds attention whose scores are predicted to have a deviation above 3 over the keys at initialisation.
    ///
    /// ## Why is this bad
    ///
    /// Softmax of scores of deviation s weighs keys by e^s for each deviation that they are apart. At 1 many keys take part;
    /// above 3 one of them takes most of the weight, and the gradient of a weight a, a (1 - a), vanishes: attention starts
    /// as a lookup that hardly learns. `attention` divides by `sqrt(d)` itself, so the reason is in front of it: queries and
    /// keys that are scaled once more, projections that start too large, features that nothing has normalised.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Sharp(x: tokens[64, 64]) -> tokens[64, 64] {
    ///     let [q, k, v] = x -> layer_norm() @norm -> linear(192) @qkv -> chunk(3)
    ///     x + (attention(q * 16, k, v, heads: 2) -> linear(64, init: zero) @proj)
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Soft(x: tokens[64, 64]) -> tokens[64, 64] {
    ///     let [q, k, v] = x -> layer_norm() @norm -> linear(192) @qkv -> chunk(3)
    ///     x + (attention(q, k, v, heads: 2) -> linear(64, init: zero) @proj)
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Puts an RMS norm without parameters on queries and keys, where `attention(q, k, v)` is called with them (unsafe: the
    /// network computes something else; weights still load).
    ///
    /// ## References
    ///
    /// * Vaswani et al., *Attention Is All You Need*, 2017, section 3.2.1: why scores are divided by `sqrt(d)`.
    /// * *Two failure modes of deep transformers*, arXiv 2505.24333: entropy collapse.
    ///
    /// ## Threads
    ///
    /// * FoundationVision/OmniTokenizer#14: a user finds scores multiplied by √64 = 8 where they are usually divided by
    ///   it, which makes them 64 times as large.
    /// * PAIR-code/tiny-transformers#71: scores were not divided by √d, which the author thinks may explain peaks of
    ///   the loss.
    /// * openai/guided-diffusion#38: a root of a root looks like a mistake and is none, since queries and keys have
    ///   half of the scale each.
    ///
    /// ## To confirm
    ///
    /// `archc probe SPEC --format json` measures the mean squares of queries and keys: the root of their product is the
    /// deviation of scores of independent vectors.
    "attention/logit-scale", Warning
    pub struct LogitScale {
        attention: Span,
        deviation: f64,
    }

    check(context) {
        let found = context.graph.node_ids().filter_map(|id| {
            let deviation = deviation(context, id).filter(|deviation| *deviation > LARGE)?;
            // A context that is too loud is the reason then.
            let finding = LogitScale { attention: context.place(id), deviation };
            odd_context(context, id).is_none().then_some((id, finding))
        });
        found.collect()
    }

    report(finding, _context) {
        Report {
            message: "this attention starts as a lookup of single keys".to_owned(),
            labels: vec![(
                finding.attention,
                format!("its scores have a deviation of {}", figure(finding.deviation)),
            )],
            notes: vec![],
            help: Some(
                "normalise queries and keys (`rms_norm(heads: ..)`), or take out the factor in front of them; `attention` \
                 divides by the root of the width itself"
                    .to_owned(),
            ),
        }
    }

    fixes(finding, context) {
        context.normalized_scores(finding.attention).into_iter().collect()
    }
}

/// Predicted deviation of scores over the keys.
fn deviation(context: &Context<'_>, attention: NodeId) -> Option<f64> {
    let graph = context.graph;
    let Some(Op::Attention(_)) = graph.node(attention).op() else { return None };
    let (query, key) = (graph.operand(attention, 0)?, graph.operand(attention, 1)?);
    let (q, k) = (context.signal().at(query).as_ref().ok()?, context.signal().at(key).as_ref().ok()?);
    Some(libm::sqrt(logit_variance(q, k, &sizes_of(&graph.node(key).ty, &graph.typical))))
}
