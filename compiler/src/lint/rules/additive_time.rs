//! `condition/additive-time`

use crate::analysis::balance::Balance;
use crate::analysis::stacks::{is_normalized_next, passage};
use crate::ir::{Graph, NodeId};
use crate::lint::Report;
use crate::ops::Passage;
use crate::types::Kind;
use crate::words::figure;
use archc_grammar::Span;
use rustc_hash::FxHashSet;

rule! {
    /// ## What it does
    ///
    /// Finds networks that hear of the time, or the noise level, by addition alone, each sum with a norm right behind it.
    ///
    /// ## Why is this bad
    ///
    /// The norm divides by a deviation that the time has a part in and takes away what the time adds to all channels of a
    /// group alike; no feature is ever multiplied by what the time says. A scale and a shift behind the norm say more: FID
    /// 13.06 instead of 15.08 in ADM's ablation. DDPM and Stable Diffusion train well with sums. A remark.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Adds(x: image[32, 16, 16], t: timestep) -> image[32, 16, 16] {
    ///     let c = t -> sinusoid(64) -> linear(32) @time
    ///     (x + c) -> group_norm(groups: 8) @norm -> silu() -> conv2d(32, kernel: 3) @conv
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Modulates(x: image[32, 16, 16], t: timestep) -> image[32, 16, 16] {
    ///     let [shift, scale] = t -> sinusoid(64) -> linear(64) @time -> chunk(2)
    ///     x -> group_norm(groups: 8) @norm -> modulate(shift, scale) -> silu() -> conv2d(32, kernel: 3) @conv
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// None: whether the time scales as well as shifts decides the size of its projection, and what was trained is lost with
    /// it.
    ///
    /// ## References
    ///
    /// * Dhariwal & Nichol, *Diffusion Models Beat GANs on Image Synthesis*, NeurIPS 2021, table 3: AdaGN instead of addition
    ///   and a norm.
    ///
    /// ## Threads
    ///
    /// * lucidrains/denoising-diffusion-pytorch#77: asked why the projection of the time is twice as wide as the
    ///   features, the author calls scale and shift a stronger conditioning than the shift of DDPM.
    /// * energy-based-model/Compositional-Visual-Generation-with-Composable-Diffusion-Models-PyTorch#9: the author
    ///   forgot to turn scale and shift on, and expects better samples with them.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC --format lines` prints the mean squares of what is projected of the time and of the sum that
    /// it goes into: the smaller its part, the less of it is left behind the norm, and no line multiplies features by
    /// it.
    "condition/additive-time", Info
    pub struct AdditiveTime {
        sum: Span,
        sums: usize,
        /// The part of the energy of the first sum that is the time's.
        share: Option<f64>,
    }

    check(context) {
        let graph = context.graph;
        let Some(sums) = additive_sums(graph) else { return vec![] };
        let Some((first, time)) = sums.first().copied() else { return vec![] };
        let share = Balance::of_sum(graph, context.signal(), first).and_then(|balance| {
            let square = context.signal().square(time)?;
            Some(square / balance.sum)
        });
        vec![(first, AdditiveTime { sum: context.place(first), sums: sums.len(), share })]
    }

    report(finding, _context) {
        let share = finding.share.map(|share| {
            format!("at initialisation {} % of the energy of the first sum is the time's", figure(100.0 * share))
        });
        Report {
            message: "the network hears of the time by addition alone".to_owned(),
            labels: vec![(finding.sum, "added here, and normalised at once".to_owned())],
            notes: share.into_iter().chain([format!("this way in all {} places", finding.sums)]).collect(),
            help: Some("let the time scale and shift behind the norm: `norm -> modulate(shift, scale)`".to_owned()),
        }
    }
}

/// The sums of features with what is learned of the time, each with the time's side, if there is no other way for it.
fn additive_sums(graph: &Graph) -> Option<Vec<(NodeId, NodeId)>> {
    let mut heard: FxHashSet<NodeId> = FxHashSet::default();
    let mut learned: FxHashSet<NodeId> = FxHashSet::default();
    let mut sums = vec![];
    for id in graph.node_ids() {
        let node = graph.node(id);
        let operands = graph.operands(id);
        let is_time = node.op().is_none() && matches!(node.ty.kind, Kind::Timestep | Kind::Sigma);
        if node.ty.kind.has_positions() {
            let Some(time) = operands.iter().copied().find(|operand| learned.contains(operand)) else { continue };
            if passage(graph, id) != Some(Passage::Add) || !is_normalized_next(graph, id) {
                return None;
            }
            sums.push((id, time));
        } else if is_time || operands.iter().any(|operand| heard.contains(operand)) {
            heard.insert(id);
            if !node.parameters.is_empty() || operands.iter().any(|operand| learned.contains(operand)) {
                learned.insert(id);
            }
        }
    }
    Some(sums)
}
