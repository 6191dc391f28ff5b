//! `residual/unscaled-drop-path`

use crate::analysis::stacks::{constant, factor, passage};
use crate::ir::NodeId;
use crate::lint::{Context, Report};
use crate::ops::dropout::{Dropout, MaskUnit};
use crate::ops::{Op, Passage};
use crate::words::figure;
use archc_grammar::{Fix, Safety, Span};
use rustc_hash::FxHashSet;

/// Nodes between what is dropped and its sum that are looked at, at most.
const MAX_BEHIND: usize = 32;
/// Nodes between the start of a branch and what is dropped that are looked at, at most; published branches have fewer.
const MAX_BEFORE: usize = 1024;
/// How exactly a factor by hand is `1 / (1 - p)`: three digits, as people write it.
const ROUNDING: f64 = 2e-3;

rule! {
    /// ## What it does
    ///
    /// Finds branches and skips that are dropped at random in training and not divided by the probability of being kept:
    /// with `rescale: false`, in front of gates, maps and factors as well, or by a mask that is made so and multiplies the
    /// branch. A factor of `1 / (1 - p)` by hand, on what is dropped or on what it is multiplied by, divides it too.
    ///
    /// ## Why is this bad
    ///
    /// A branch that is kept with probability `1 - p` adds `(1 - p) f(x)` in the mean of training and `f(x)` in evaluation: the
    /// sum is larger by `p f(x)` in every block as soon as dropping is switched off, and the network meets inputs it has
    /// never seen. Divided by `1 - p` in training both agree. Dropping a condition, for guidance without a classifier, is
    /// another matter: there zeros stand for no condition.
    ///
    /// ## Example
    ///
    /// ```arch
    /// use std.transformer.{Mlp}
    ///
    /// model Shifts(x: tokens[16, 32]) -> tokens[16, 32] {
    ///     x + (x -> layer_norm() @norm -> Mlp(64) @mlp -> dropout(0.2, per: sample, rescale: false))
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// use std.transformer.{Mlp}
    ///
    /// model Keeps(x: tokens[16, 32]) -> tokens[16, 32] {
    ///     x -> residual(drop: 0.2) { layer_norm() @norm -> Mlp(64) @mlp }
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Leaves `rescale: false` out (unsafe: training counts the branch in full, what is evaluated stays; weights still load).
    ///
    /// ## References
    ///
    /// * Huang et al., *Deep Networks with Stochastic Depth*, ECCV 2016; timm's `drop_path` divides by the probability of
    ///   keeping (`scale_by_keep`).
    ///
    /// ## Threads
    ///
    /// * mosaicml/composer#372: a branch is to be multiplied by the probability of keeping it in evaluation, and never
    ///   is.
    /// * huggingface/pytorch-image-models#2118: why `drop_path` divides; the author: only a fraction of the activations
    ///   takes part in training.
    /// * huggingface/pytorch-image-models#887: the same; the author adds that NFNets do not divide by default.
    ///
    /// ## To confirm
    ///
    /// `archc train SPEC --data DATA --out RUN --watch-every 1` writes the mean square behind each block to
    /// `metrics.jsonl`: in the first steps `activation`, with branches dropped, lies below `predicted`, which is of
    /// evaluation.
    "residual/unscaled-drop-path", Warning
    pub struct UnscaledDropPath {
        drop: Span,
        sum: Span,
        rate: f64,
    }

    check(context) {
        let graph = context.graph;
        let found = graph.node_ids().filter_map(|id| {
            let Some(Op::Dropout(dropout)) = graph.node(id).op() else { return None };
            if dropout.per != MaskUnit::Sample || dropout.rescale || dropout.rate.0 <= 0.0 {
                return None;
            }
            let sum = unscaled_sum(context, id, dropout)?;
            Some((id, UnscaledDropPath { drop: context.place(id), sum: context.place(sum), rate: dropout.rate.0 }))
        });
        found.collect()
    }

    report(finding, _context) {
        let rate = figure(finding.rate);
        Report {
            message: "what is dropped here is not divided by the probability of keeping it".to_owned(),
            labels: vec![
                (finding.drop, format!("counts {} in the mean of training, 1 in evaluation", figure(1.0 - finding.rate))),
                (finding.sum, "joins the stream here".to_owned()),
            ],
            notes: vec![],
            help: Some(format!("let it be rescaled: leave out `rescale: false`, or write `residual(drop: {rate})`")),
        }
    }

    fixes(finding, context) {
        let drop = context.call(finding.drop).and_then(|call| call.without("rescale"));
        let fix = |edit| Fix::new("divide by the probability of keeping", Safety::Unsafe, vec![edit]);
        drop.map(fix).into_iter().collect()
    }
}

/// The sum or the join of a stream that what is dropped arrives at without the factor `1 / (1 - p)`.
fn unscaled_sum(context: &Context<'_>, drop: NodeId, dropout: &Dropout) -> Option<NodeId> {
    let (graph, streams) = (context.graph, context.streams());
    let mask = constant_value(context, drop);
    let before = graph.operand(drop, 0).map_or(1.0, |operand| factor(graph, streams, operand).0);
    let mut open = vec![(drop, mask.unwrap_or(before))];
    let mut steps = 0;
    while let Some((at, scale)) = open.pop() {
        for (user, _) in graph.users(at) {
            if let Some(merge) = streams.at(user) {
                // What is dropped with the stream itself, or a condition beside it, is no branch.
                let is_part = mask.is_some() || descends(context, drop, merge.fork);
                let is_rescaled = (scale * (1.0 - dropout.rate.0) - 1.0).abs() < ROUNDING;
                if is_part && !is_rescaled {
                    return Some(user);
                }
                continue;
            }
            steps += 1;
            if steps > MAX_BEHIND {
                return None;
            }
            match passage(graph, user)? {
                Passage::Scale => open.push((user, scale * constant(graph, user).unwrap_or(1.0))),
                Passage::Gate => open.push((user, scale * other_factor(context, user, at))),
                Passage::Keep | Passage::Resample | Passage::Project => open.push((user, scale)),
                Passage::Source
                | Passage::Normalize
                | Passage::Transform
                | Passage::Add
                | Passage::Join
                | Passage::Cut => {}
            }
        }
    }
    None
}

/// The number that is dropped, where it is the same for all: a mask, and no feature.
fn constant_value(context: &Context<'_>, drop: NodeId) -> Option<f64> {
    let moments = context.signal().at(drop).as_ref().ok()?;
    (moments.variance() == 0.0 && moments.mean != 0.0).then_some(moments.mean)
}

/// The constant factor of what a value is multiplied by.
fn other_factor(context: &Context<'_>, product: NodeId, own: NodeId) -> f64 {
    let others = context.graph.operands(product).into_iter().filter(|operand| *operand != own);
    others.map(|operand| factor(context.graph, context.streams(), operand).0).product()
}

/// Whether a value is made of another one that comes before it, by whatever operand.
fn descends(context: &Context<'_>, below: NodeId, above: NodeId) -> bool {
    let mut open = vec![below];
    let mut seen = FxHashSet::default();
    while let Some(at) = open.pop() {
        if at != below && at == above {
            return true;
        }
        if at > above && seen.len() < MAX_BEFORE && seen.insert(at) {
            open.extend(context.graph.operands(at));
        }
    }
    false
}
