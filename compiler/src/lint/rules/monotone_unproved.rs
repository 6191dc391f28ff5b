//! `gate/monotone-unproved`

use crate::ir::{Direction, NodeId};
use crate::lint::Report;
use crate::lint::claims::{Verdict, name_of, verdicts};
use crate::ops::{Op, Passage};
use archc_grammar::Span;

rule! {
    /// ## What it does
    ///
    /// Finds values that are claimed to rise or to fall with a number (`claim(rises: log_snr)`, `claim(falls: sigma)`)
    /// where nothing in the way they are computed keeps them from going the other way.
    ///
    /// ## Why is this bad
    ///
    /// A gate that closes as the noise grows has to do so after training as well, and training moves every free
    /// parameter to either sign. `sigmoid(W h(t) + b)` with a learned `h` is not monotone for almost any `W`: of two
    /// layers of 64 units drawn at random, a sweep over the noise shows several changes of direction. A direction that
    /// is not built in is a hope. `sigmoid(softplus(w) * log_snr + b)` has a positive slope for every `w`. The proof
    /// follows signs and directions from the number to the gate, for all values of the parameters.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Gated(x: image[8, 16, 16], sigma: sigma) -> image[8, 16, 16] {
    ///     let gate = log(sigma) -> sinusoid(16) -> linear(8) @gate -> sigmoid() -> claim(falls: sigma)
    ///     (x * gate) -> conv2d(8, kernel: 3) @out
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// use std.gate.{snr_gate}
    /// use std.noise.{log_snr_ve}
    ///
    /// model Gated(x: image[8, 16, 16], sigma: sigma) -> image[8, 16, 16] {
    ///     let gate = sigma -> log_snr_ve() -> snr_gate(8) @gate -> claim(falls: sigma)
    ///     (x * gate) -> conv2d(8, kernel: 3) @out
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// None: from which number the gate should follow, and with which parameters, only the author can say.
    ///
    /// ## References
    ///
    /// * Sill, *Monotonic Networks*, NeurIPS 1997; Runje & Shankaranarayana, *Constrained Monotonic Neural Networks*,
    ///   ICML 2023: directions come from constrained weights.
    ///
    /// ## Threads
    ///
    /// * revsic/jax-variational-diffwave#1: which parameters of a learned noise schedule have to be positive for it to
    ///   be monotone.
    /// * niklasnolte/MonotonicNetworks#8: a network that its user believes to be monotone in an input is trained and
    ///   fits a function that is not.
    ///
    /// ## To confirm
    ///
    /// `archc run SPEC --inputs levels.safetensors --mid PATH --output out.safetensors`, with rising levels of noise
    /// and PATH the label of the gate: count the changes of direction in `mid.PATH`.
    "gate/monotone-unproved", Error
    pub struct MonotoneUnproved {
        claim: Span,
        direction: Direction,
        number: String,
        /// Where the direction gets lost, and why; none where the value does not depend on the number.
        lost: Option<(Span, String)>,
    }

    check(context) {
        let found = verdicts(context).into_iter().filter_map(|(claim, verdict)| {
            let (direction, number) = claim.along?;
            let lost = match verdict {
                Verdict::Open(node) => Some((context.place(node), reason(context.graph.node(node).op()))),
                Verdict::Independent => None,
                Verdict::Proved | Verdict::Opposite | Verdict::Shares(_) => return None,
            };
            let number = name_of(context.graph, number);
            Some((claim.node, MonotoneUnproved { claim: claim.span, direction, number, lost }))
        });
        found.collect::<Vec<(NodeId, Self)>>()
    }

    report(finding, _context) {
        let MonotoneUnproved { claim, direction, number, lost } = finding;
        let (claimed, fear) = match direction {
            Direction::Rises => ("rise", "falling"),
            Direction::Falls => ("fall", "rising"),
        };
        match lost {
            None => Report {
                message: format!("this value is claimed to {claimed} with {number} and does not depend on it"),
                labels: vec![(*claim, "claimed here".to_owned())],
                notes: vec![],
                help: Some("name the number that it is computed from".to_owned()),
            },
            Some((place, reason)) => Report {
                message: format!("nothing keeps this value from {fear} where {number} grows"),
                labels: vec![(*claim, format!("claimed to {claimed} with {number}")), (*place, reason.clone())],
                notes: vec![],
                help: Some(
                    "build the direction in: `sigmoid(softplus(slope) * log_snr + bias)` has a positive slope whatever is \
                     learned; `snr_gate` of `std.gate` is that"
                        .to_owned(),
                ),
            },
        }
    }
}

/// Why a direction gets lost at an operation.
fn reason(op: Option<&Op>) -> String {
    let Some(op) = op else { return "its direction is not known".to_owned() };
    if let Op::Softmax(_) = op {
        return "shares that add up to one: where one rises, another falls".to_owned();
    }
    if let Op::Activation(activation) = op {
        return format!("`{}` rises and falls here", activation.function.name());
    }
    let passage = op.as_operator().passage();
    let is_convolution = matches!(op, Op::Conv1d(_) | Op::Conv2d(_) | Op::Conv3d(_) | Op::MpConv2d(_));
    if passage == Passage::Project || is_convolution {
        "its weights may have either sign".to_owned()
    } else if passage == Passage::Normalize {
        "it divides by what moves as well".to_owned()
    } else if passage == Passage::Gate {
        "a factor that may have either sign".to_owned()
    } else if matches!(passage, Passage::Add | Passage::Join) {
        "one part rises, another falls".to_owned()
    } else {
        format!("`{}` keeps no direction", op.name())
    }
}
