//! `process/nan-noise-embedding`

use crate::analysis::ranges::Interval;
use crate::ir::{Graph, NodeId, NodeKind};
use crate::analysis::numbers::scalars_at;
use crate::lint::Report;
use crate::ops::Op;
use crate::types::Kind;
use crate::words::short;
use archc_grammar::{Edit, Fix, Safety, Span};

/// Points at which what is computed from the noise is looked at, both ends among them.
const POINTS: u32 = 65;

rule! {
    /// ## What it does
    ///
    /// Finds numbers computed from the time or the noise level (`log`, `rsqrt`, products of them) that are infinite or no
    /// number at some level of the declared process: at its ends, mostly.
    ///
    /// ## Why is this bad
    ///
    /// `log(t)` at the first of 1000 steps is the logarithm of zero, minus infinity, and everything behind it is NaN. It
    /// happens for one sample in a thousand, so that training runs for a while, and then the loss is NaN for good.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Net(x: image[3, 16, 16], t: timestep) -> image[3, 16, 16] {
    ///     process { schedule: linear, prediction: eps }
    ///     let c = log(t) -> sinusoid(64) -> linear(3) @time
    ///     x -> conv2d(3, kernel: 3) @conv + c
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Net(x: image[3, 16, 16], t: timestep) -> image[3, 16, 16] {
    ///     process { schedule: linear, prediction: eps }
    ///     let c = (100 * log(1 + t)) -> sinusoid(64) -> linear(3) @time
    ///     x -> conv2d(3, kernel: 3) @conv + c
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Adds 1 to what a logarithm is taken of, where that is zero (unsafe: the network computes something else; weights still
    /// load).
    ///
    /// ## References
    ///
    /// * Karras et al., *Elucidating the Design Space of Diffusion-Based Generative Models*, NeurIPS 2022, table 1: noise
    ///   levels are bounded away from zero, where `ln(sigma) / 4` is finite.
    ///
    /// ## Threads
    ///
    /// * huggingface/diffusers#9007: a sampler takes `log(sigma)` at a sigma of zero; minus infinity breaks all that
    ///   follows, and the image is black.
    /// * Kinyugo/consistency_models#7: the consistency models of OpenAI embed `log(sigma + 1e-44)`, those of EDM
    ///   `log(sigma) / 4`.
    ///
    /// ## To confirm
    ///
    /// `archc run SPEC --inputs FILE`, with the time or the noise level at that end: the column *not finite* counts the
    /// values of the output that are none.
    "process/nan-noise-embedding", Error
    pub struct NanNoiseEmbedding {
        place: Span,
        schedule: Option<Span>,
        operation: &'static str,
        input: String,
        level: f64,
        of: f64,
        value: f64,
    }

    check(context) {
        let graph = context.graph;
        let schedule = graph.process.as_ref().map(|declared| declared.place("schedule"));
        let found = graph.inputs.iter().filter_map(|input| {
            let ty = &graph.node(input.node).ty;
            let range = context.ranges().at(input.node);
            // Without a schedule the ends of the range are not known.
            if !matches!(ty.kind, Kind::Timestep | Kind::Sigma) || schedule.is_none() || !range.is_bounded() {
                return None;
            }
            let (node, level, of, value) = first_infinite(graph, input.node, range)?;
            let operation = graph.node(node).op().map_or("", Op::name);
            let (place, input) = (context.place(node), input.name.to_string());
            Some((node, NanNoiseEmbedding { place, schedule, operation, input, level, of, value }))
        });
        found.collect()
    }

    report(finding, _context) {
        let NanNoiseEmbedding { place, schedule, operation, input, level, of, value } = finding;
        let mut labels = vec![(*place, format!("`{operation}` of {}", short(*of)))];
        labels.extend(schedule.map(|schedule| (schedule, format!("`{input}` may be {}", short(*level)))));
        let what = if value.is_nan() { "no number" } else { "infinite" };
        Report {
            message: format!("this is {what} where `{input}` is {}", short(*level)),
            labels,
            notes: vec![],
            help: Some("keep away from that end: `log(1 + t)`, or `clip(low, high)` in front".to_owned()),
        }
    }

    fixes(finding, context) {
        if finding.operation != "log" || finding.of != 0.0 {
            return vec![];
        }
        let shifted = match context.stage(finding.place) {
            Some(stage) => Some(stage.before("affine(shift: 1)")),
            None => context.call(finding.place).and_then(|call| {
                let number = call.place(0).filter(|number| context.is_name(*number))?;
                Some(Edit::new(Span { end: number.start, ..number }, "1 + "))
            }),
        };
        let fix = |edit| Fix::new("take the logarithm of 1 and it", Safety::Unsafe, vec![edit]);
        shifted.map(fix).into_iter().collect()
    }
}

/// The first number that is not finite at a level: the node, the level, what it is computed from, and what it is.
fn first_infinite(graph: &Graph, input: NodeId, range: Interval) -> Option<(NodeId, f64, f64, f64)> {
    // A function has poles mostly at the ends.
    let levels = (0..POINTS).map(|at| range.low + (range.high - range.low) * f64::from(at) / f64::from(POINTS - 1));
    levels.into_iter().find_map(|level| {
        let numbers = scalars_at(graph, input, level);
        let of = |node: NodeId| numbers.get(node.index()).copied().flatten();
        graph.node_ids().find_map(|id| {
            let value = of(id).filter(|value| !value.is_finite())?;
            let NodeKind::Op(_) = &graph.node(id).kind else { return None };
            // Infinite numbers that a clip brings back do no harm.
            let clipped = graph.users(id).all(|(user, _)| matches!(graph.node(user).op(), Some(Op::Clip(_))));
            (!clipped || value.is_nan()).then(|| Some((id, level, of(graph.operand(id, 0)?)?, value)))?
        })
    })
}
