//! `gate/softmax-as-gates`

use crate::ir::{Graph, NodeId};
use crate::lint::Report;
use crate::ops::softmax::SoftmaxAxis;
use crate::ops::reduce::ReducedAxes;
use crate::ops::{Op, Passage};
use crate::words::short;
use archc_grammar::{Fix, Safety, Span};

/// The mean gate is one over the number of shares. From four shares on the features lose more than a factor of ten in
/// energy; below, a softmax may be meant as a choice between two.
const SHARES: f64 = 4.0;

rule! {
    /// ## What it does
    ///
    /// Finds features multiplied by a softmax over their channels or positions, as if its elements were gates of their
    /// own, where the products are not added up afterwards and nothing restores their size.
    ///
    /// ## Why is this bad
    ///
    /// The elements of a softmax add up to one, so the mean gate is 1/n. Over 320 channels it is 0.003, and what passes
    /// has 6e-5 of the energy it had: the gated skip or branch is off. Nor can two channels be open at once: opening one
    /// closes the others. Gates that open by themselves, each between 0 and 1, are sigmoids.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Gated(x: image[64, 16, 16]) -> image[64, 16, 16] {
    ///     let gate = x -> reduce(mean, over: positions) -> linear(64) @gate -> softmax()
    ///     (x * gate) -> conv2d(64, kernel: 1) @out
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Gated(x: image[64, 16, 16]) -> image[64, 16, 16] {
    ///     let gate = x -> reduce(mean, over: positions) -> linear(64) @gate -> sigmoid()
    ///     (x * gate) -> conv2d(64, kernel: 1) @out
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Makes the softmax a sigmoid (unsafe: the gate computes something else; weights still load).
    ///
    /// ## References
    ///
    /// * Hu et al., *Squeeze-and-Excitation Networks*, CVPR 2018, section 3.2: "we would like to ensure that multiple
    ///   channels are allowed to be emphasised", hence a sigmoid.
    ///
    /// ## Threads
    ///
    /// * titu1994/keras-squeeze-excite-network#7: why gates of channels are sigmoids; the asker has tried a softmax,
    ///   and "performance completely died".
    /// * SaoYan/LearnToPayAttention#1: the author takes a sigmoid since a softmax suppresses most pixels.
    /// * zwbx/BTS-Net#8: a softmax over channels is multiplied by their number, and a user asks why.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC --format lines` prints the mean square of the product beside that of the features,
    /// `archc probe SPEC --format json` measures both.
    "gate/softmax-as-gates", Warning
    pub struct SoftmaxAsGates {
        product: Span,
        softmax: Span,
        written: Span,
        shares: f64,
        what: &'static str,
    }

    check(context) {
        let graph = context.graph;
        let found = graph.node_ids().filter_map(|id| {
            let Some(Op::Multiply(_)) = graph.node(id).op() else { return None };
            let (a, b) = (graph.operand(id, 0)?, graph.operand(id, 1)?);
            // The square of a gate is none of features.
            let (softmax, factor) = match (shares_of(graph, a), shares_of(graph, b)) {
                (Some(shares), None) | (None, Some(shares)) => shares,
                (Some(_), Some(_)) | (None, None) => return None,
            };
            let Some(Op::Softmax(op)) = graph.node(softmax).op() else { return None };
            let logits = graph.operand(softmax, 0)?;
            let sizes = op.size(&graph.node(logits).ty);
            let counts: Option<Vec<u64>> = sizes.into_iter().map(|size| size.at(&graph.typical)).collect();
            let shares = counts?.into_iter().map(|size| size as f64).product::<f64>();
            let is_restored = factor.abs() * SHARES > shares;
            if is_restored || is_added_up(graph, id, op.over) {
                return None;
            }
            let what = if op.over == SoftmaxAxis::Channels { "channels" } else { "positions" };
            let (product, place, written) = (context.place(id), context.place(softmax), graph.node(softmax).span);
            Some((id, SoftmaxAsGates { product, softmax: place, written, shares: shares / factor.abs(), what }))
        });
        found.collect()
    }

    report(finding, _context) {
        let mean = 1.0 / finding.shares;
        Report {
            message: format!("the {} share one opening: the mean of these gates is {}", finding.what, figure(mean)),
            labels: vec![
                (finding.product, "multiplied as if each were a gate of its own".to_owned()),
                (finding.softmax, format!("a softmax over {} {}: it adds up to one", short(finding.shares.round()), finding.what)),
            ],
            notes: vec![format!("at first {} of the energy passes", figure(mean * mean))],
            help: Some("gates that open by themselves are `sigmoid()`".to_owned()),
        }
    }

    fixes(finding, context) {
        let call = context.call(finding.written).filter(|call| *call.name == *"softmax");
        let fix = call.map(|call| Fix::new("take a sigmoid", Safety::Unsafe, call.renamed("sigmoid")));
        fix.into_iter().collect()
    }
}

fn figure(value: f64) -> String {
    let digits = format!("{value:.1e}");
    digits.parse().map_or(digits.clone(), short)
}

/// The softmax that a value is, up to order, with the factor on the way.
fn shares_of(graph: &Graph, mut at: NodeId) -> Option<(NodeId, f64)> {
    let mut factor = 1.0;
    loop {
        let op = graph.node(at).op()?;
        if let Op::Softmax(_) = op {
            return Some((at, factor));
        } else if let Op::Affine(affine) = op
            && affine.shift == 0.0
        {
            factor *= affine.scale;
        } else if op.as_operator().passage() != Passage::Keep {
            return None;
        }
        at = graph.operand(at, 0)?;
    }
}

/// Whether products become a weighted mean of the features, or are brought back to unit size: in both cases the size of a
/// single weight does not matter.
fn is_added_up(graph: &Graph, product: NodeId, over: SoftmaxAxis) -> bool {
    let mut open = vec![product];
    while let Some(at) = open.pop() {
        for (user, _) in graph.users(at) {
            let Some(op) = graph.node(user).op() else { return false };
            let adds = if let Op::Reduce(reduce) = op {
                match (reduce.over, over) {
                    (ReducedAxes::All, _)
                    | (ReducedAxes::Channels, SoftmaxAxis::Channels)
                    | (ReducedAxes::Positions, SoftmaxAxis::Positions) => true,
                    (ReducedAxes::Channels, SoftmaxAxis::Positions)
                    | (ReducedAxes::Positions, SoftmaxAxis::Channels) => false,
                }
            } else {
                op.as_operator().passage() == Passage::Normalize
            };
            match op.as_operator().passage() {
                _ if adds => {}
                Passage::Keep | Passage::Scale => open.push(user),
                Passage::Source
                | Passage::Gate
                | Passage::Normalize
                | Passage::Resample
                | Passage::Project
                | Passage::Transform
                | Passage::Add
                | Passage::Join
                | Passage::Cut => return false,
            }
        }
    }
    graph.users(product).next().is_some()
}
