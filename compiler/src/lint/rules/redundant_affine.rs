//! `norm/redundant-affine`

use crate::analysis::stacks::passage;
use crate::ir::{Graph, NodeId, ParameterId};
use crate::lint::{Call, Report};
use crate::ops::{Op, Passage};
use crate::types::Kind;
use archc_grammar::{Fix, Safety, Span};

rule! {
    /// ## What it does
    ///
    /// Finds norms with a weight and a bias of their own whose result is modulated by a condition at once; and maps with a
    /// bias right in front of a norm of single channels over positions (an instance norm), which takes it away.
    ///
    /// ## Why is this bad
    ///
    /// `(1 + scale) * (w * n + b) + shift` has two factors and two summands where one each would do: the bias of the map that
    /// makes scale and shift can take over what w and b say. It does no harm (ADM has both) and costs parameters and memory
    /// traffic; DiT leaves the norm's own out, `affine: false`. A bias is the same at all positions of a channel, so that it is
    /// part of the mean which an instance norm subtracts: it has no gradient. A remark.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Twice(x: tokens[16, 32], c: vector[8]) -> tokens[16, 32] {
    ///     let [shift, scale] = c -> silu() -> linear(64) @modulation -> chunk(2)
    ///     x -> layer_norm() @norm -> modulate(shift, scale)
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Once(x: tokens[16, 32], c: vector[8]) -> tokens[16, 32] {
    ///     let [shift, scale] = c -> silu() -> linear(64) @modulation -> chunk(2)
    ///     x -> layer_norm(affine: false) -> modulate(shift, scale)
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Leaves out the norm's own, `affine: false`, or the bias of the map, `bias: false` (unsafe: parameters are gone, and
    /// weights of before no longer load).
    ///
    /// ## References
    ///
    /// * facebookresearch/DiT `models.py`: `elementwise_affine=False` in front of every modulation.
    /// * openai/guided-diffusion `unet.py`: the norm in front of scale and shift keeps its own.
    /// * Peebles & Xie, *Scalable Diffusion Models with Transformers*, ICCV 2023, section 3.2: scale and shift are
    ///   regressed instead of learned.
    ///
    /// ## Threads
    ///
    /// * bytetriper/RAE#52: a user finds a weight of an RMS norm in front of a modulation, where the layer norm has
    ///   none, and calls it double scaling.
    /// * christopher-beckham/hologan-pytorch#1: `(norm(x) * a + b) * f_a + f_b`; the author agrees that it would be
    ///   clearer without, and is not sure that it would make a difference.
    ///
    /// ## To confirm
    ///
    /// `archc params SPEC` lists the weight and the bias of the norm beside those of the map that makes scale and
    /// shift.
    "norm/redundant-affine", Info
    pub struct RedundantAffine {
        norm: Span,
        /// What makes it redundant, or is.
        other: Span,
        channels: u64,
        kind: Redundant,
    }

    check(context) {
        let graph = context.graph;
        let found = graph.node_ids().filter(|id| passage(graph, *id) == Some(Passage::Normalize)).flat_map(|id| {
            let parts = [
                modulation(graph, id).map(|product| (Redundant::Affine, id, product)),
                lost_bias(graph, id).map(|map| (Redundant::Bias, map, map)),
            ];
            parts.into_iter().flatten().filter_map(move |(kind, node, other)| {
                let channels = graph.node(id).ty.channels()?;
                Some((node, RedundantAffine { norm: context.place(id), other: context.place(other), channels, kind }))
            })
        });
        found.collect()
    }

    report(finding, _context) {
        let RedundantAffine { norm, other, channels, kind } = finding;
        let (message, of_norm, of_other, help) = match kind {
            Redundant::Affine => (
                "this norm is scaled and shifted twice",
                format!("its own weight and bias, {channels} each"),
                "scale and shift of the condition".to_owned(),
                "leave out the norm's own: `affine: false`",
            ),
            Redundant::Bias => (
                "this norm takes the bias in front of it away",
                "subtracts the mean of each channel".to_owned(),
                format!("adds {channels} numbers, one to each channel"),
                "leave out the bias: `bias: false`",
            ),
        };
        let mut labels = vec![(*norm, of_norm)];
        if other != norm {
            labels.push((*other, of_other));
        }
        Report { message: message.to_owned(), labels, notes: vec![], help: Some(help.to_owned()) }
    }

    fixes(finding, context) {
        let (place, argument, title) = match finding.kind {
            Redundant::Affine => (finding.norm, "affine", "leave out the norm's own weight and bias"),
            Redundant::Bias => (finding.other, "bias", "leave out the bias"),
        };
        let call = context.call(place).filter(Call::is_operator);
        let fix = |call: Call| Fix::new(title, Safety::Unsafe, vec![call.set(argument, "false")]).breaking_weights();
        call.map(fix).into_iter().collect()
    }
}

/// What could be left out.
#[derive(Clone, Copy, Debug)]
enum Redundant {
    /// Weight and bias of the norm, which a condition follows.
    Affine,
    /// The bias of the map in front of the norm.
    Bias,
}

/// The product by which a norm with a weight and a bias of its own is modulated.
fn modulation(graph: &Graph, norm: NodeId) -> Option<NodeId> {
    if graph.node(norm).parameters.len() < 2 {
        return None;
    }
    let mut users = graph.users(norm);
    let (product, _) = users.next()?;
    (users.next().is_none() && is_modulation(graph, product, norm)).then_some(product)
}

/// The map whose bias a norm of single channels takes away, where nothing else reads it.
fn lost_bias(graph: &Graph, norm: NodeId) -> Option<NodeId> {
    let Some(Op::GroupNorm(own)) = graph.node(norm).op() else { return None };
    let map = graph.operand(norm, 0)?;
    let node = graph.node(map);
    let is_map = matches!(node.op(), Some(Op::Linear(_) | Op::Conv1d(_) | Op::Conv2d(_) | Op::Conv3d(_)));
    let is_bias = |id: &ParameterId| graph.parameter(*id).name == "bias" && graph.parameter(*id).is_trained();
    let alone = graph.users(map).count() == 1 && graph.outputs.iter().all(|output| output.node != map);
    // Of a single element nothing is left at all, which is another rule's business.
    let single = node.ty.position_count().is_none_or(|count| count.at(&graph.typical) == Some(1));
    (is_map && alone && !single && node.ty.channels()? == own.groups && node.parameters.iter().any(is_bias)).then_some(map)
}

/// Whether a norm is multiplied by one factor for each channel of a sample, and a shift for each channel follows.
fn is_modulation(graph: &Graph, product: NodeId, norm: NodeId) -> bool {
    let per_sample = |node: NodeId| graph.node(node).ty.kind == Kind::Vector && graph.node(node).ty.batch.samples;
    let other = |at: NodeId, own: NodeId| graph.operands(at).into_iter().find(|operand| *operand != own);
    let scaled = matches!(graph.node(product).op(), Some(Op::Multiply(_))) && other(product, norm).is_some_and(per_sample);
    let mut users = graph.users(product);
    let shifted = users.next().is_some_and(|(sum, _)| {
        matches!(graph.node(sum).op(), Some(Op::Add(_))) && other(sum, product).is_some_and(per_sample)
    });
    scaled && shifted
}
