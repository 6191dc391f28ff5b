//! `init/late-wake-up`

use crate::analysis::liveness::Wake;
use crate::ir::ParameterId;
use crate::lint::{Context, Report};
use archc_grammar::Span;
use std::collections::BTreeMap;

rule! {
    /// ## What it does
    ///
    /// Tells of networks with parameters that do not move at the first step at which step they do, and why.
    ///
    /// ## Why is this bad
    ///
    /// It is not: a factor of zero passes no gradient on to the other factor until it has moved itself. Behind a head
    /// that starts at zero nothing but the head moves at step 1, what is behind the gates of a DiT moves at step 3.
    /// After as many steps everything trains, and the loss has lost nothing. Users who find gradients of exactly zero
    /// ask whether nothing trains; this is the answer, exact for gradient descent and for Adam. Parameters that never
    /// move are a finding of `init/dead-product`.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Waits(x: tokens[16, 32], c: vector[8]) -> tokens[16, 32] {
    ///     let gate = c -> linear(32, init: zero) @gate
    ///     x -> residual(gate: gate) { layer_norm() @norm -> linear(32) @proj }
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// Nothing, if it is meant. Where every parameter has to move at once:
    ///
    /// ```arch
    /// model Starts(x: tokens[16, 32], c: vector[8]) -> tokens[16, 32] {
    ///     let gate = c -> linear(32, init: normal(0.001)) @gate
    ///     x -> residual(gate: gate) { layer_norm() @norm -> linear(32) @proj }
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// None: it tells what happens, and nothing has to change.
    ///
    /// ## References
    ///
    /// * Peebles & Xie, *Scalable Diffusion Models with Transformers*, ICCV 2023, section 3.2: adaLN-Zero.
    ///
    /// ## Threads
    ///
    /// * Project-MONAI/GenerativeModels#419: a user finds the output of a diffusion model to be all zeros and asks
    ///   whether it gets gradients; a few passes later its weights have moved.
    /// * smallflyingpig/universal_adversarial_perturbation_generative_network_for_speaker_recognition#4: "the gradients
    ///   will also be zeros for all layers"; the author: the last layer moves first, the others later.
    /// * LTH14/mar#46: a user derives the order head, modulation, MLP by hand, and misses gradients behind the head.
    /// * microsoft/LoRA#167: a user of three LoRA layers finds gradients of zero in all but the last, and asks whether
    ///   they vanish.
    ///
    /// ## To confirm
    ///
    /// `archc probe SPEC --wake-up` trains for seven steps and prints, for each step, how many parameters are predicted
    /// to move then for the first time, and how many did.
    "init/late-wake-up", Info
    pub struct LateWakeUp {
        place: Span,
        last: u32,
        /// How many parameters first move at each step, and the first of them.
        steps: BTreeMap<u32, (usize, String)>,
    }

    check(context) {
        let graph = context.graph;
        let mut steps: BTreeMap<u32, (usize, String)> = BTreeMap::new();
        for id in graph.parameter_ids() {
            if let Some(step) = step(context, id) {
                steps.entry(step).or_insert_with(|| (0, graph.parameter(id).path.to_string())).0 += 1;
            }
        }
        let Some(last) = steps.keys().last().copied().filter(|last| *last > 1) else { return vec![] };
        let Some(late) = graph.parameter_ids().find(|id| step(context, *id) == Some(last)) else { return vec![] };
        let node = graph.parameter(late).node;
        vec![(node, LateWakeUp { place: context.place(node), last, steps })]
    }

    report(finding, _context) {
        let note = |(step, (count, first)): (&u32, &(usize, String))| match count {
            1 => format!("step {step}: `{first}`"),
            count => format!("step {step}: {count} parameters, `{first}` among them"),
        };
        Report {
            message: format!("it takes {} steps until all parameters move", finding.last),
            labels: vec![(finding.place, "waits for a factor of zero to move first".to_owned())],
            notes: finding.steps.iter().map(note).collect(),
            help: Some("nothing is wrong: zero gradients at the first steps are what starting at zero does".to_owned()),
        }
    }
}

fn step(context: &Context<'_>, id: ParameterId) -> Option<u32> {
    match context.liveness().wake(id) {
        Wake::Step(step) => Some(step),
        Wake::Never(_) | Wake::Frozen => None,
    }
}
