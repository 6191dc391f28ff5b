//! `skip/unscaled-stack`

use super::unnormalized_add::{is_controlled, is_rescaled};
use crate::analysis::stacks::{passage, readers};
use crate::analysis::streams::{Merge, MergeKind};
use crate::ir::{Graph, NodeId};
use crate::lint::{Context, Report};
use crate::ops::{Op, Passage};
use archc_grammar::{Edit, Fix, Safety, Span};

/// Long skips from which on the sum of their squared coefficients matters: half of the shallowest network that ScaleLong
/// shows to oscillate has as many.
const SKIPS: usize = 8;
/// A factor that is usual for long skips: 1 / sqrt(2), rounded.
const SCALE: &str = "0.7";

rule! {
    /// ## What it does
    ///
    /// Finds eight long skips or more with coefficient one that nothing brings back to scale: concatenated with no norm in
    /// front of or behind any of them, or added up, normalised or not.
    ///
    /// ## Why is this bad
    ///
    /// The norm of the features of a network with m long skips, and that of its gradients, is bounded by `O(m Σ κ_i²)`, where
    /// κ_i is the coefficient of skip i: with all of them one, features oscillate over the first hundred iterations. Scaling
    /// the i-th skip by `κ^(i-1)` with κ from 0.7 to 0.95, or all by 1/√2, removes that and has sped training up by about
    /// half. A norm behind the fusion, as the residual blocks of U-Nets begin with, bounds it as well.
    ///
    /// ## Example
    ///
    /// ```arch
    /// use std.magnitude.{mp_silu}
    ///
    /// model Oscillates(x: image[32, 16, 16]) -> image[32, 16, 16] {
    ///     init conv2d = kaiming_normal
    ///     skip long(fuse: concat)
    ///     let h = x
    ///     for i in 0..8 @down.{i} {
    ///         h = h -> conv2d(32, kernel: 3) @conv -> mp_silu()
    ///         long <- h
    ///     }
    ///     h = h -> conv2d(32, kernel: 3) @middle -> mp_silu()
    ///     for i in 0..8 @up.{i} { h = h -> join(long) -> conv2d(32, kernel: 3) @conv -> mp_silu() }
    ///     h
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// use std.magnitude.{mp_silu}
    ///
    /// model Scaled(x: image[32, 16, 16]) -> image[32, 16, 16] {
    ///     init conv2d = kaiming_normal
    ///     skip long(fuse: concat, scale: 0.7)
    ///     let h = x
    ///     for i in 0..8 @down.{i} {
    ///         h = h -> conv2d(32, kernel: 3) @conv -> mp_silu()
    ///         long <- h
    ///     }
    ///     h = h -> conv2d(32, kernel: 3) @middle -> mp_silu()
    ///     for i in 0..8 @up.{i} { h = h -> join(long) -> conv2d(32, kernel: 3) @conv -> mp_silu() }
    ///     h
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Scales the skips by 0.7, where `skip` declares them (unsafe: the network computes something else; weights still load).
    ///
    /// ## Evidence
    ///
    /// A remark, because small experiments do not confirm it: with eight skips on images of digits neither the largest gradient
    /// nor, at a learning rate of 5e-3, the loss differs for every seed (`tests/evidence/report.md`). The networks that ScaleLong
    /// shows to oscillate are deeper and wider.
    ///
    /// ## References
    ///
    /// * Huang et al., *ScaleLong: Towards More Stable Training of Diffusion Model via Scaling Network Long Skip
    ///   Connection*, NeurIPS 2023.
    ///
    /// ## Threads
    ///
    /// * lucidrains/voicebox-pytorch#23: a user's transformer with skips trains at 12 layers and not at 24, which the
    ///   maintainer calls the normal instability of transformers.
    /// * YuchuanTian/U-DiT#7: a user who trained an architecture with a skip for each block, like Hunyuan-DiT's, found
    ///   it to converge very slowly.
    ///
    /// ## To confirm
    ///
    /// `archc train SPEC --data DATA --out RUN --steps 200 --watch-every 1` writes the mean square behind each block to
    /// `metrics.jsonl`: `activation` of a middle block goes up and down.
    "skip/unscaled-stack", Info
    pub struct UnscaledStack {
        first: Span,
        saved: Span,
        skips: usize,
        joins: Vec<Span>,
    }

    check(context) {
        let bare: Vec<&Merge> = context.streams().merges.iter().filter(|merge| is_bare(context, merge)).collect();
        let Some(first) = bare.first().filter(|_| bare.len() >= SKIPS) else { return vec![] };
        let finding = UnscaledStack {
            first: context.place(first.node),
            saved: context.place(first.fork),
            skips: bare.len(),
            joins: context.places(&bare.iter().map(|merge| merge.node).collect::<Vec<_>>()),
        };
        vec![(first.node, finding)]
    }

    report(finding, _context) {
        Report {
            message: "many long skips come back unscaled, and nothing normalises them".to_owned(),
            labels: vec![
                (finding.first, "joined as it is".to_owned()),
                (finding.saved, "saved here".to_owned()),
            ],
            notes: vec![format!("{} long skips have coefficient one", finding.skips)],
            help: Some("scale the skips, `scale: 0.7`, or normalise what is joined before it is projected".to_owned()),
        }
    }

    fixes(finding, context) {
        let skip = |place: &Span| Some(context.fused(*place)?.set("scale", SCALE));
        let edits: Option<Vec<Edit>> = finding.joins.iter().map(skip).collect();
        let fix = |mut edits: Vec<Edit>| {
            // Joins of one skip have the same edit.
            edits.sort_by_key(|edit| edit.span);
            edits.dedup();
            Fix::new("scale the skips", Safety::Unsafe, edits)
        };
        edits.map(fix).into_iter().collect()
    }
}

fn is_bare(context: &Context<'_>, merge: &Merge) -> bool {
    let graph = context.graph;
    if merge.kind != MergeKind::LongSkip || context.liveness().starts_zero(merge.carry) {
        return false;
    }
    match passage(graph, merge.node) {
        Some(Passage::Join) => {
            !merge.bypass.iter().chain([&merge.branch]).any(|node| is_controlled(context, *node))
                && !readers(graph, merge.node).iter().any(|reader| keeps_magnitude(graph, *reader))
        }
        // A sum grows although what is added to it has been normalised.
        Some(Passage::Add) => {
            let shrinks = |node: &NodeId| is_controlled(context, *node) && passage(graph, *node) != Some(Passage::Normalize);
            !merge.bypass.iter().chain([&merge.branch]).any(shrinks) && !is_rescaled(context, merge.node)
        }
        _ => false,
    }
}

/// Whether a layer bounds what it gives: a norm, or a map whose weights are normalised.
fn keeps_magnitude(graph: &Graph, node: NodeId) -> bool {
    matches!(graph.node(node).op(), Some(Op::MpConv2d(_) | Op::MpLinear(_)))
        || passage(graph, node) == Some(Passage::Normalize)
}
