//! `init/nonzero-head`

use crate::analysis::stacks::passage;
use crate::ir::NodeId;
use crate::analysis::preconditioning::Preconditioning;
use crate::lint::{Call, Context, Report};
use crate::ops::Passage;
use crate::types::Kind;
use crate::words::figure;
use archc_grammar::{Fix, Safety, Span};

/// Mean square of what a network predicts at the start, from which on it counts beside a target of 1.
const LOUD: f64 = 0.1;
/// Operations between the head and the output, at most.
const MAX_BEHIND: usize = 16;

rule! {
    /// ## What it does
    ///
    /// Finds denoisers whose head does not start at zero, so that the first predictions have a mean square above 0.1.
    ///
    /// ## Why is this bad
    ///
    /// Noise, velocity and preconditioned targets have mean zero and variance 1. A network that starts by predicting 0 has
    /// a loss of 1, one that starts by predicting noise of its own, of mean square q, a loss of 1 + q, and spends its
    /// first steps on forgetting it. DDPM, ADM, EDM and DiT start the head at zero. Stable Diffusion in diffusers, U-ViT and
    /// SD3 do not, and train. A remark.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Guesses(x: image[3, 16, 16], t: timestep) -> image[3, 16, 16] {
    ///     let c = t -> sinusoid(64) -> linear(32) @time
    ///     (x -> conv2d(32, kernel: 3) @stem + c) -> group_norm(groups: 8) @norm -> silu() -> conv2d(3, kernel: 3) @head
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Waits(x: image[3, 16, 16], t: timestep) -> image[3, 16, 16] {
    ///     let c = t -> sinusoid(64) -> linear(32) @time
    ///     (x -> conv2d(32, kernel: 3) @stem + c) -> group_norm(groups: 8) @norm -> silu()
    ///         -> conv2d(3, kernel: 3, init: zero) @head
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Starts the head at zero, where it is an operator that is called in one place (unsafe: the network starts differently;
    /// weights still load).
    ///
    /// ## References
    ///
    /// * hojonathanho/diffusion `nn.py` (`init_scale=0.`), facebookresearch/DiT `models.py`: heads that start at zero.
    /// * Zhang et al., *Fixup Initialization*, ICLR 2019: the last layer of the network starts at zero.
    ///
    /// ## Threads
    ///
    /// * crowsonkb/k-diffusion#113: why the head starts at zero; the answer: outputs should start at the mean of the
    ///   targets, so that no time is lost with learning it.
    /// * MotrixLab/MotionDiffuse#13: the same; the author: the noise that is to be predicted has mean zero, so that
    ///   training is steady.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC` prints the mean square of the output, `archc probe SPEC --format json` measures it: the
    /// loss of predicting noise starts above 1 by so much.
    "init/nonzero-head", Info
    pub struct NonzeroHead {
        place: Span,
        square: f64,
    }

    check(context) {
        let graph = context.graph;
        let told = |kind: Kind| matches!(kind, Kind::Timestep | Kind::Sigma);
        let denoises = graph.process.is_some() || graph.inputs.iter().any(|input| told(graph.node(input.node).ty.kind));
        let found = || {
            let output = match Preconditioning::of(graph) {
                Some(parts) => parts.network,
                None => graph.outputs.first()?.node,
            };
            let square = context.signal().square(output).filter(|square| *square > LOUD)?;
            let head = head(context, output)?;
            let finding = NonzeroHead { place: context.place(head), square };
            Some((head, finding))
        };
        if denoises { found().into_iter().collect() } else { vec![] }
    }

    report(finding, _context) {
        Report {
            message: "the head of this denoiser does not start at zero".to_owned(),
            labels: vec![(
                finding.place,
                format!("the first predictions have mean square {}", figure(finding.square)),
            )],
            notes: vec![],
            help: Some("start it at zero: `init: zero`".to_owned()),
        }
    }

    fixes(finding, context) {
        let head = context.call(finding.place).filter(Call::is_operator);
        let fix = |call: Call| Fix::new("start the head at zero", Safety::Unsafe, vec![call.set("init", "zero")]);
        head.map(fix).into_iter().collect()
    }
}

/// The last layer before an output.
fn head(context: &Context<'_>, output: NodeId) -> Option<NodeId> {
    let mut at = output;
    for _ in 0..MAX_BEHIND {
        match passage(context.graph, at)? {
            Passage::Project | Passage::Transform if !context.graph.node(at).parameters.is_empty() => return Some(at),
            Passage::Add | Passage::Normalize | Passage::Source => return None,
            Passage::Keep
            | Passage::Scale
            | Passage::Gate
            | Passage::Resample
            | Passage::Project
            | Passage::Transform
            | Passage::Join
            | Passage::Cut => at = context.streams().main_operand(at)?,
        }
    }
    None
}
