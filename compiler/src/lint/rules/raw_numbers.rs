//! `condition/raw-numbers`

use crate::analysis::stacks::{passage, readers};
use crate::ir::{Graph, NodeId};
use crate::lint::{Report, Stage};
use crate::ops::activation::Function;
use crate::ops::{Op, Passage};
use crate::types::Kind;
use crate::words::figure;
use archc_grammar::{Fix, Safety, Span};
use rustc_hash::FxHashSet;

/// Root mean square from which on numbers are raw: what has been embedded or normalised is of size 1.
const RAW: f64 = 30.0;

rule! {
    /// ## What it does
    ///
    /// Finds linear maps that are fed raw numbers of a sample: timesteps, sizes in pixels, crops.
    ///
    /// ## Why is this bad
    ///
    /// A linear map of a number is a line. Timesteps of root mean square 577 make features of size 333 at the default
    /// initialisation, all along one direction: the layers behind are saturated, or see nothing but the sign, and
    /// neighbouring steps differ by a thousandth. Sines and cosines of the number at many frequencies are of size 0.7 and
    /// tell steps apart; SDXL embeds each of its six sizes and crops that way, 256 channels each. Gates that are fed raw
    /// numbers are reported by `gate/saturated`.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Raw(x: tokens[16, 32], t: timestep) -> tokens[16, 32] {
    ///     let raw = t * parameter(vector[4], init: one) @scale
    ///     x -> linear(32) @in + raw -> linear(32) @time
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Embedded(x: tokens[16, 32], t: timestep) -> tokens[16, 32] {
    ///     x -> linear(32) @in + t -> sinusoid(64) -> linear(32) @time
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Brings the numbers to size 1, by a factor in front of the map (unsafe: the network computes something else; weights
    /// still load). Whether they are better embedded only the author can say.
    ///
    /// ## References
    ///
    /// * Podell et al., *SDXL*, ICLR 2024, section 2.2: Fourier features of sizes and crops.
    /// * Tancik et al., *Fourier Features Let Networks Learn High Frequency Functions*, NeurIPS 2020.
    ///
    /// ## Threads
    ///
    /// * intuitive-robots/MoDE_Diffusion_Policy#14: a user finds `log(sigma) / 4` fed to a linear layer instead of
    ///   sines, and asks what follows.
    /// * robot-learning-freiburg/PointFlowMatch#3: times are multiplied by 20 before they are embedded; the author
    ///   tried both, and results are a bit better so.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC --format lines` prints the mean square behind the map, 1.1e5 for timesteps at the usual
    /// start; `archc probe SPEC --format json` measures it.
    "condition/raw-numbers", Warning
    pub struct RawNumbers {
        map: Span,
        size: f64,
    }

    check(context) {
        let graph = context.graph;
        let found = graph.node_ids().filter_map(|id| {
            let (Op::Linear(_), operand) = (graph.node(id).op()?, graph.operand(id, 0)?) else { return None };
            let ty = &graph.node(operand).ty;
            if ty.kind != Kind::Vector || !ty.batch.samples || only_gates(graph, id) {
                return None;
            }
            if !is_unmapped(graph, operand) {
                return None;
            }
            let size = libm::sqrt(context.signal().square(operand)?);
            (size > RAW).then(|| (id, RawNumbers { map: context.place(id), size }))
        });
        found.collect()
    }

    report(finding, _context) {
        Report {
            message: "a linear map is fed raw numbers".to_owned(),
            labels: vec![(finding.map, format!("its input is of size {}", figure(finding.size)))],
            notes: vec![],
            help: Some("embed them first, `sinusoid(256)`, or bring them to size 1".to_owned()),
        }
    }

    fixes(finding, context) {
        let scaled = format!("affine(scale: {})", figure(1.0 / finding.size));
        let fix = |map: Stage| Fix::new("bring the numbers to size 1", Safety::Unsafe, vec![map.before(&scaled)]);
        context.stage(finding.map).map(fix).into_iter().collect()
    }
}

/// Whether a value comes from inputs without any learned map in between.
pub(super) fn is_unmapped(graph: &Graph, node: NodeId) -> bool {
    let (mut open, mut seen) = (vec![node], FxHashSet::default());
    while let Some(at) = open.pop() {
        if !seen.insert(at) {
            continue;
        }
        let maps = matches!(passage(graph, at), Some(Passage::Project | Passage::Transform));
        // A map of what is the same for all samples is a factor.
        if maps && graph.node(at).ty.batch.samples && !graph.node(at).parameters.is_empty() {
            return false;
        }
        open.extend(graph.operands(at));
    }
    true
}

/// Whether nothing but gates read a value.
fn only_gates(graph: &Graph, node: NodeId) -> bool {
    let is_gate = |reader: NodeId| match graph.node(reader).op() {
        Some(Op::Activation(activation)) => matches!(activation.function, Function::Sigmoid | Function::Tanh),
        _ => false,
    };
    readers(graph, node).into_iter().all(is_gate)
}
