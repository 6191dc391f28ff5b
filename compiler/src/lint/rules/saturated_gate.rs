//! `gate/saturated`

use crate::analysis::gaussian::Expansion;
use crate::ir::{Graph, NodeId};
use crate::lint::{Report, Stage};
use crate::ops::activation::Function;
use crate::ops::{Op, Passage};
use crate::words::short;
use archc_grammar::{Fix, Safety, Span};

/// Slope of a gate, relative to the largest it can have, below which it hardly learns: that of a sigmoid at 4 is 7 % of its
/// largest. With the margin of 15 % of all thresholds.
const FLAT: f64 = 0.07 * 0.85;

rule! {
    /// ## What it does
    ///
    /// Finds sigmoid and tanh gates whose predicted logits at initialisation are so large that the gates are fully open or
    /// fully closed for nearly every input.
    ///
    /// ## Why is this bad
    ///
    /// The gradient of a gate is multiplied by `g (1 - g)`: 0.25 at a logit of 0, 0.018 at 4, 4.5e-5 at 10. A gate that
    /// starts there learns that much more slowly than everything around it, and one that is fed raw times or raw pixels
    /// (logits of hundreds) does not learn at all. Biases of 1 to 4 that start a gate open or closed, as LSTMs and
    /// highway networks have them, are not reported.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Gated(x: tokens[16, 32], t: timestep) -> tokens[16, 32] {
    ///     let raw = t * parameter(vector[4], init: one) @scale
    ///     let gate = raw -> linear(32) @gate -> sigmoid()
    ///     x + gate * (x -> layer_norm() @norm -> linear(32) @fc)
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Gated(x: tokens[16, 32], t: timestep) -> tokens[16, 32] {
    ///     let raw = t -> sinusoid(64)
    ///     let gate = raw -> linear(32) @gate -> sigmoid()
    ///     x + gate * (x -> layer_norm() @norm -> linear(32) @fc)
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Brings the logits to size 1, by a factor in front of the gate (unsafe: the network computes something else; weights
    /// still load).
    ///
    /// ## References
    ///
    /// * Jozefowicz et al., *An Empirical Exploration of Recurrent Network Architectures*, ICML 2015: a forget bias of 1.
    /// * Srivastava et al., *Highway Networks*, 2015: gates that start at biases of -1 to -4.
    ///
    /// ## Threads
    ///
    /// * rosinality/glow-pytorch#36: why `sigmoid(s + 2)`; the author: values close to 1 help the flow of gradients at
    ///   the start.
    /// * Megvii-BaseDetection/DynamicRouting#16: gates start at `tanh(1.5)`, 0.9 open; with a bias of 0 many would be
    ///   closed, and what they gate would learn badly.
    /// * albertpumarola/GANimation#63: an attention mask saturates at 1 and the network stops working; the author
    ///   bounds its norm by a loss.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC --format lines` prints the mean square of the logits, above 16 where most gates are open or
    /// shut, and behind `<-` that of the gradient of each line, which is lost at the gate.
    "gate/saturated", Warning
    pub struct SaturatedGate {
        gate: Span,
        function: &'static str,
        size: f64,
        slope: f64,
    }

    check(context) {
        let graph = context.graph;
        let found = graph.node_ids().filter_map(|id| {
            let Some(Op::Activation(activation)) = graph.node(id).op() else { return None };
            let function = activation.function;
            let is_gate = matches!(function, Function::Sigmoid | Function::Tanh) && is_gate(graph, id);
            let steepest = if function == Function::Sigmoid { 0.25 } else { 1.0 };
            if !is_gate {
                return None;
            }
            let logit = *context.signal().at(graph.operand(id, 0)?).as_ref().ok()?;
            let slope = mean_slope(function, logit.mean, logit.variance());
            (slope < FLAT * steepest).then(|| {
                let (gate, size) = (context.place(id), libm::sqrt(logit.square()));
                (id, SaturatedGate { gate, function: function.name(), size, slope: slope / steepest })
            })
        });
        found.collect()
    }

    report(finding, _context) {
        Report {
            message: format!("this gate starts saturated: its logits are of size {}", figure(finding.size)),
            labels: vec![(finding.gate, format!("`{}` is flat there", finding.function))],
            notes: vec![format!("its gradient is {} of that of a gate half open", figure(finding.slope))],
            help: Some("normalise what the logits are computed from, embed raw numbers (`sinusoid(..)`), or start the bias nearer to zero".to_owned()),
        }
    }

    fixes(finding, context) {
        let scaled = format!("affine(scale: {})", figure(1.0 / finding.size));
        let fix = |gate: Stage| Fix::new("bring the logits to size 1", Safety::Unsafe, vec![gate.before(&scaled)]);
        context.stage(finding.gate).map(fix).into_iter().collect()
    }
}

fn figure(value: f64) -> String {
    let digits = format!("{value:.1e}");
    digits.parse().map_or(digits.clone(), short)
}

/// Mean slope for normal logits.
fn mean_slope(function: Function, mean: f64, variance: f64) -> f64 {
    let slope = |x: f64| {
        let y = function.value(x);
        if function == Function::Sigmoid { y * (1.0 - y) } else { 1.0 - y * y }
    };
    Expansion::new(mean, variance, slope).mean()
}

/// Whether a value multiplies another one, up to order, factor and shift.
fn is_gate(graph: &Graph, gate: NodeId) -> bool {
    let mut open = vec![gate];
    while let Some(at) = open.pop() {
        for (user, _) in graph.users(at) {
            let Some(op) = graph.node(user).op() else { continue };
            match op.as_operator().passage() {
                Passage::Gate => return true,
                Passage::Keep | Passage::Scale | Passage::Cut => open.push(user),
                Passage::Transform if matches!(op, Op::Affine(_)) => open.push(user),
                Passage::Source
                | Passage::Normalize
                | Passage::Resample
                | Passage::Project
                | Passage::Transform
                | Passage::Add
                | Passage::Join => {}
            }
        }
    }
    false
}
