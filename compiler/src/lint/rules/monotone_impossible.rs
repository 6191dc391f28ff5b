//! `gate/monotone-impossible`

use crate::analysis::ranges::Trend;
use crate::ir::Direction;
use crate::lint::{Call, Report};
use crate::lint::claims::{Verdict, name_of, verdicts};
use archc_grammar::{Fix, Safety, Span};

rule! {
    /// ## What it does
    ///
    /// Finds values that are claimed to rise or to fall with a number and cannot: the shares of a softmax, which add up
    /// to one, and values that provably go the other way.
    ///
    /// ## Why is this bad
    ///
    /// The channels of a softmax sum to 1 at every level of noise. If all of them fall, so does their sum; so none of
    /// them can. A time gate of that form cannot tighten a skip at all: what it takes from one channel it gives to
    /// another, and the total stays 1, which is 1/C for each of C channels. No training changes that.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Gated(x: image[8, 16, 16], sigma: sigma) -> image[8, 16, 16] {
    ///     let slope = parameter(vector[8], init: constant(0.5)) @slope -> softplus()
    ///     let gate = (-log(sigma) * slope) -> softmax() -> claim(falls: sigma)
    ///     (x -> conv2d(8, kernel: 1) @in -> sigmoid()) * (1 + gate)
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Gated(x: image[8, 16, 16], sigma: sigma) -> image[8, 16, 16] {
    ///     let slope = parameter(vector[8], init: constant(0.5)) @slope -> softplus()
    ///     let gate = (-log(sigma) * slope) -> sigmoid() -> claim(falls: sigma)
    ///     (x -> conv2d(8, kernel: 1) @in -> sigmoid()) * (1 + gate)
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Takes a sigmoid of each channel where the logits are proved to go the way that is claimed (unsafe: the network
    /// computes something else; weights still load). Which of a claim and a sign is wrong only the author can say.
    ///
    /// ## References
    ///
    /// * Hu et al., *Squeeze-and-Excitation Networks*, CVPR 2018, section 3.2: channels are gated by sigmoids, since
    ///   several of them may be open at once.
    ///
    /// ## Threads
    ///
    /// None found that shows it alone.
    ///
    /// * fani-lab/OpeNTF#168: why outputs are sigmoids: those of a softmax always add up to one, so that a higher one
    ///   lowers others.
    /// * titu1994/keras-squeeze-excite-network#7: the same about the gates of channels.
    ///
    /// ## To confirm
    ///
    /// `archc run SPEC --inputs levels.safetensors --mid PATH --output out.safetensors`, with two levels of noise and
    /// PATH the label of the gate: summed over its channels `mid.PATH` is 1 at both.
    "gate/monotone-impossible", Error
    pub struct MonotoneImpossible {
        claim: Span,
        direction: Direction,
        number: String,
        /// The softmax, with the number of its shares; none where the direction is the other one.
        softmax: Option<(Span, Option<u64>)>,
        /// Whether its logits go the way that is claimed.
        proved: bool,
    }

    check(context) {
        let found = verdicts(context).into_iter().filter_map(|(claim, verdict)| {
            let (direction, number) = claim.along?;
            let softmax = match verdict {
                Verdict::Shares(node) => Some((context.place(node), context.graph.node(node).ty.channels())),
                Verdict::Opposite => None,
                Verdict::Proved | Verdict::Independent | Verdict::Open(_) => return None,
            };
            let logits = match verdict {
                Verdict::Shares(node) => context.graph.operand(node, 0),
                Verdict::Opposite | Verdict::Proved | Verdict::Independent | Verdict::Open(_) => None,
            };
            let trends = logits.map(|_| context.ranges().along(context.graph, number)).unwrap_or_default();
            let trend = logits.and_then(|logits| trends.get(logits.index()));
            let proved = trend == Some(&Trend::of(direction));
            let number = name_of(context.graph, number);
            Some((claim.node, MonotoneImpossible { claim: claim.span, direction, number, softmax, proved }))
        });
        found.collect()
    }

    report(finding, _context) {
        let MonotoneImpossible { claim, direction, number, softmax, .. } = finding;
        let (claimed, other, instead) = match direction {
            Direction::Rises => ("rise", "falls", "falls"),
            Direction::Falls => ("fall", "rises", "rises"),
        };
        match softmax {
            Some((place, channels)) => {
                let shares = channels.map_or("its shares add up to one".to_owned(), |count| {
                    format!("{count} shares that add up to one, whatever the noise")
                });
                Report {
                    message: format!("the shares of a softmax cannot all {claimed} with {number}"),
                    labels: vec![(*claim, format!("claimed to {claimed} with {number}")), (*place, shares)],
                    notes: vec![],
                    help: Some("a gate for each channel is `sigmoid()`".to_owned()),
                }
            }
            None => Report {
                message: format!("this value {other} with {number}"),
                labels: vec![(*claim, format!("claimed to {claimed}"))],
                notes: vec![],
                help: Some(format!("claim `{instead}:`, or turn the sign of what it is computed from")),
            },
        }
    }

    fixes(finding, context) {
        let softmax = finding.softmax.filter(|_| finding.proved).and_then(|(place, _)| context.call(place));
        let fix = |call: Call| Fix::new("take a sigmoid", Safety::Unsafe, call.renamed("sigmoid"));
        softmax.filter(|call| *call.name == *"softmax").map(fix).into_iter().collect()
    }
}
