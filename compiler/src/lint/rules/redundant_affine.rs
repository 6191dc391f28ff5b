//! `norm/redundant-affine`

use crate::analysis::stacks::passage;
use crate::ir::{Graph, NodeId};
use crate::lint::{Call, Report};
use crate::ops::{Op, Passage};
use crate::types::Kind;
use archc_grammar::{Fix, Safety, Span};

rule! {
    /// ## What it does
    ///
    /// Finds norms with a weight and a bias of their own whose result is modulated by a condition at once.
    ///
    /// ## Why is this bad
    ///
    /// `(1 + scale) * (w * n + b) + shift` has two factors and two summands where one each would do: the bias of the map that
    /// makes scale and shift can take over what w and b say. It does no harm (ADM has both) and costs parameters and memory
    /// traffic; DiT leaves the norm's own out, `affine: false`. A remark.
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
    /// Leaves out the norm's own, `affine: false` (unsafe: two parameters are gone, and weights of before no longer load).
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
        product: Span,
        channels: u64,
    }

    check(context) {
        let graph = context.graph;
        let found = graph.node_ids().filter_map(|id| {
            if passage(graph, id) != Some(Passage::Normalize) || graph.node(id).parameters.len() < 2 {
                return None;
            }
            let mut users = graph.users(id);
            let (product, _) = users.next()?;
            if users.next().is_some() || !is_modulation(graph, product, id) {
                return None;
            }
            let finding = RedundantAffine {
                norm: context.place(id),
                product: context.place(product),
                channels: graph.node(id).ty.channels()?,
            };
            Some((id, finding))
        });
        found.collect()
    }

    report(finding, _context) {
        let RedundantAffine { norm, product, channels } = finding;
        let mut labels = vec![(*norm, format!("its own weight and bias, {channels} each"))];
        if product != norm {
            labels.push((*product, "scale and shift of the condition".to_owned()));
        }
        Report {
            message: "this norm is scaled and shifted twice".to_owned(),
            labels,
            notes: vec![],
            help: Some("leave out the norm's own: `affine: false`".to_owned()),
        }
    }

    fixes(finding, context) {
        let norm = context.call(finding.norm).filter(Call::is_operator);
        let fix = |call: Call| {
            let edits = vec![call.set("affine", "false")];
            Fix::new("leave out the norm's own weight and bias", Safety::Unsafe, edits).breaking_weights()
        };
        norm.map(fix).into_iter().collect()
    }
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
