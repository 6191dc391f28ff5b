//! `attention/logit-scale`

use super::context_scale::odd_context;
use crate::analysis::stacks::passage;
use crate::ir::NodeId;
use crate::lint::{Context, Report};
use crate::ops::{Op, Passage};
use crate::ops::attention::logit_variance;
use crate::ops::signals::sizes_of;
use crate::words::figure;
use archc_grammar::Span;

/// Deviation of scores over the keys from which on one key takes nearly all, with the margin of 15 % of all thresholds:
/// for normal scores of deviation 3 and 256 keys the largest weight is 0.6 in the mean.
const LARGE: f64 = 3.0 * 1.15;
/// Deviation up to which scores that are scaled twice are small; larger ones are what a start makes up for.
const SMALL: f64 = 0.5;
/// Relative difference up to which a factor is one by the root of the width.
const ROUNDING: f64 = 1e-3;
/// Widths of heads from which on the root counts.
const NARROW: u64 = 4;
/// Operations between an attention and a factor, at most.
const MAX_STEPS: usize = 8;

rule! {
    /// ## What it does
    ///
    /// Finds attention whose scores are predicted to have a deviation above 3 over the keys at initialisation. Also
    /// attention whose queries and keys are multiplied by `1 / sqrt(d)` in front of it, d the width of a head, although it
    /// divides by that itself, where scores are predicted to have a deviation below 0.5: a start that makes up for the
    /// factor is not reported, nor are queries that are normalised behind it.
    ///
    /// ## Why is this bad
    ///
    /// Softmax of scores of deviation s weighs keys by e^s for each deviation that they are apart. At 1 many keys take part;
    /// above 3 one of them takes most of the weight, and the gradient of a weight a, a (1 - a), vanishes: attention starts
    /// as a lookup that hardly learns. `attention` divides by `sqrt(d)` itself, so the reason is in front of it: queries and
    /// keys that are scaled once more, projections that start too large, features that nothing has normalised.
    ///
    /// Scores that are divided by `sqrt(d)` twice are 8 times too small for heads of 64 channels: at a deviation of 0.12
    /// the largest of 256 weights is 1.4 times the mean, and attention starts as an average of its values. muP
    /// divides by d on purpose, which an `#[allow]` says.
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
    /// network computes something else; weights still load). A factor that stands there twice is left to the author.
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
        /// Where queries or keys are divided by the root of the width of a head, and that width.
        again: Option<(Span, u64)>,
    }

    check(context) {
        let found = context.graph.node_ids().filter_map(|id| {
            let deviation = deviation(context, id)?;
            if deviation > LARGE {
                // A context that is too loud is the reason then.
                let finding = LogitScale { attention: context.place(id), deviation, again: None };
                let loud = odd_context(context, id).is_some_and(|odd| odd.keys);
                return (!loud).then_some((id, finding));
            }
            let (factor, width) = scaled_again(context, id).filter(|_| deviation < SMALL)?;
            Some((id, LogitScale { attention: context.place(id), deviation, again: Some((context.place(factor), width)) }))
        });
        found.collect()
    }

    report(finding, _context) {
        let scores = format!("its scores have a deviation of {}", figure(finding.deviation));
        match finding.again {
            None => Report {
                message: "this attention starts as a lookup of single keys".to_owned(),
                labels: vec![(finding.attention, scores)],
                notes: vec![],
                help: Some(
                    "normalise queries and keys (`rms_norm(heads: ..)`), or take out the factor in front of them; `attention` \
                     divides by the root of the width itself"
                        .to_owned(),
                ),
            },
            Some((factor, width)) => Report {
                message: "scores are divided by the root of the width of a head twice".to_owned(),
                labels: vec![(factor, format!("once here, for heads of {width} channels")), (finding.attention, scores)],
                notes: vec![],
                help: Some("take out the factor: `attention` divides by `sqrt(d)` itself".to_owned()),
            },
        }
    }

    fixes(finding, context) {
        let normalized = || context.normalized_scores(finding.attention);
        finding.again.is_none().then(normalized).flatten().into_iter().collect()
    }
}

/// A factor in front of an attention that is, with all others, one by the root of the width of a head, and that width.
fn scaled_again(context: &Context<'_>, attention: NodeId) -> Option<(NodeId, u64)> {
    let graph = context.graph;
    let Some(Op::Attention(op)) = graph.node(attention).op() else { return None };
    let query = graph.operand(attention, 0)?;
    let width = graph.node(query).ty.channels()? / op.heads.max(1);
    let (queries, first) = written_factor(context, query);
    let (keys, second) = written_factor(context, graph.operand(attention, 1)?);
    let own = queries * keys * libm::sqrt(width as f64);
    (width >= NARROW && (own - 1.0).abs() < ROUNDING).then_some((first.or(second)?, width))
}

/// The product of all numbers that a value is multiplied by since anything else was done with it, and the last of them.
fn written_factor(context: &Context<'_>, node: NodeId) -> (f64, Option<NodeId>) {
    let (mut product, mut last, mut at) = (1.0, None, node);
    for _ in 0..MAX_STEPS {
        match (context.graph.node(at).op(), passage(context.graph, at)) {
            (Some(Op::Affine(affine)), _) if affine.shift == 0.0 => {
                product *= affine.scale;
                last = last.or(Some(at));
            }
            (Some(_), Some(Passage::Keep | Passage::Cut)) => {}
            _ => break,
        }
        let Some(operand) = context.streams().main_operand(at) else { break };
        at = operand;
    }
    (product, last)
}

/// Predicted deviation of scores over the keys.
fn deviation(context: &Context<'_>, attention: NodeId) -> Option<f64> {
    let graph = context.graph;
    let Some(Op::Attention(_)) = graph.node(attention).op() else { return None };
    let (query, key) = (graph.operand(attention, 0)?, graph.operand(attention, 1)?);
    let (q, k) = (context.signal().at(query).as_ref().ok()?, context.signal().at(key).as_ref().ok()?);
    Some(libm::sqrt(logit_variance(q, k, &sizes_of(&graph.node(key).ty, &graph.typical))))
}
