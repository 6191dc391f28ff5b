//! `residual/unscaled-drop-path`

use crate::analysis::stacks::readers;
use crate::lint::Report;
use crate::ops::dropout::MaskUnit;
use crate::ops::Op;
use crate::words::figure;
use archc_grammar::{Fix, Safety, Span};

rule! {
    /// ## What it does
    ///
    /// Finds branches and skips that are dropped at random in training and not divided by the probability of being kept.
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
            let sum = readers(graph, id).into_iter().find(|reader| context.streams().at(*reader).is_some())?;
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
