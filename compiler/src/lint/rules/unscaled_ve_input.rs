//! `process/unscaled-ve-input`

use crate::ir::{Graph, NodeId};
use crate::lint::{Report, process_node};
use crate::ops::{Op, Passage};
use crate::words::short;
use archc_grammar::{Edit, Fix, Safety, Span};
use archc_process::{Precondition, Scale};
use std::collections::BTreeMap;

/// Mean square of an input that is too large.
const LARGEST: f64 = 100.0;

rule! {
    /// ## What it does
    ///
    /// Finds networks that see noise of large deviation as it is: the schedule adds noise to the data (`ve`, `edm`),
    /// nothing stands around the network, and its input reaches a layer without having been normalised or multiplied by
    /// something that depends on the noise. Reported where the input has a mean square above 100 at the noisiest level.
    ///
    /// ## Why is this bad
    ///
    /// Between the ends of EDM's schedule, sigma 0.002 and 80, the mean square of an input with data of deviation 0.5
    /// goes from 0.25 to 6400. With weights that suit one end, activations saturate or overflow at the other, and a
    /// normalisation further in takes away what the network would need to tell the levels apart.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Denoiser(x: image[4, 32, 32]) -> image[4, 32, 32] {
    ///     process { schedule: ve(sigma_max: 50); prediction: eps }
    ///     x -> conv2d(4, kernel: 3) @conv
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Denoiser(x: image[4, 32, 32], sigma: sigma) -> image[4, 32, 32] {
    ///     process { schedule: ve(sigma_max: 50); prediction: eps }
    ///     (x * rsqrt(sigma * sigma + 0.25)) -> conv2d(4, kernel: 3) @conv
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Lets the process precondition the network for data of the declared deviation, or of 0.5, and weigh its loss to fit
    /// (unsafe: the network is trained for something else).
    ///
    /// ## Evidence
    ///
    /// Small convolutions on images of digits learn worse with every seed, by a factor of 1.36 in the loss where 1.5 was expected
    /// (`tests/evidence/report.md`).
    ///
    /// ## References
    ///
    /// * Karras et al., *Elucidating the Design Space of Diffusion-Based Generative Models*, NeurIPS 2022, section 5.
    ///
    /// ## Threads
    ///
    /// None found that shows it alone.
    ///
    /// * LaurentMazare/diffusers-rs#32: in a port of the Euler scheduler the input of the network has to be scaled at
    ///   each step, which the schedulers before did without.
    /// * AlexiaJM/AdversarialConsistentScoreMatching#2: a largest sigma of 217 comes out for a set of images, which the
    ///   author calls normal.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC --sigma 0.002 80 --format lines`, with the ends of the schedule and a model that is given
    /// `sigma`, prints the range of the mean square behind the first layer.
    "process/unscaled-ve-input", Error
    pub struct UnscaledVeInput {
        layer: Span,
        schedule: Span,
        sigma: f64,
        square: f64,
    }

    check(context) {
        let found = || {
            let declared = context.graph.process.as_ref()?;
            let process = &declared.process;
            if process.precondition != Precondition::None || process.schedule.scale() != Scale::VarianceExploding {
                return None;
            }
            let sigma = process.noisiest().ok()?.noise;
            let data = process.data_std.unwrap_or(1.0);
            let start = data * data + sigma * sigma;
            let (layer, square) = first_layer(context.graph, start)?;
            let (layer, schedule) = (context.place(layer), declared.place("schedule"));
            Some((process_node(context)?, UnscaledVeInput { layer, schedule, sigma, square }))
        };
        found().into_iter().collect()
    }

    report(finding, _context) {
        let UnscaledVeInput { layer, schedule, sigma, square } = finding;
        Report {
            message: format!("this layer sees the noisy input unscaled, with a mean square of {}", figure(*square)),
            labels: vec![
                (*layer, "nothing before it depends on the noise".to_owned()),
                (*schedule, format!("noise of deviation up to {}", short(*sigma))),
            ],
            notes: vec![],
            help: Some(
                "multiply the input by `1 / sqrt(sigma^2 + sigma_data^2)`, or let the process do so: `precondition: edm`"
                    .to_owned(),
            ),
        }
    }

    fixes(_finding, context) {
        let Some(declared) = context.graph.process.as_ref() else { return vec![] };
        let around = format!("edm(sigma_data: {})", short(declared.process.data_std.unwrap_or(0.5)));
        let entries = [("precondition", &*around), ("prediction", "x0"), ("weighting", &*around)];
        let edits: Option<Vec<Edit>> = match declared.entry("weighting") {
            Some(_) => entries.iter().map(|(name, value)| context.entry(declared, name, value)).collect(),
            // Both that are new stand behind the schedule.
            None => {
                let both = format!("{around}; weighting: {around}");
                let new = [("precondition", &*both), ("prediction", "x0")];
                new.iter().map(|(name, value)| context.entry(declared, name, value)).collect()
            }
        };
        edits.map(|edits| Fix::new("precondition the network", Safety::Unsafe, edits)).into_iter().collect()
    }
}

/// The first layer with parameters that the noisy input reaches with a large mean square.
fn first_layer(graph: &Graph, square: f64) -> Option<(NodeId, f64)> {
    let mut reached: BTreeMap<NodeId, f64> = BTreeMap::from([(graph.noisy_input()?, square)]);
    // Users come after what they use.
    while let Some((node, square)) = reached.pop_first() {
        if square <= LARGEST {
            continue;
        }
        for (user, _) in graph.users(node) {
            let Some(op) = graph.node(user).op() else { continue };
            let passage = op.as_operator().passage();
            if matches!(passage, Passage::Normalize | Passage::Gate) {
                continue;
            }
            if !graph.node(user).parameters.is_empty() {
                return Some((user, square));
            }
            let after = match passage {
                Passage::Normalize | Passage::Gate | Passage::Source | Passage::Transform | Passage::Project => {
                    continue;
                }
                Passage::Scale => {
                    let Op::Affine(affine) = op else { continue };
                    square * affine.scale * affine.scale
                }
                Passage::Keep | Passage::Resample | Passage::Add | Passage::Join | Passage::Cut => square,
            };
            let known = reached.entry(user).or_insert(after);
            *known = known.max(after);
        }
    }
    None
}

/// Three digits.
fn figure(value: f64) -> String {
    let digits = format!("{value:.2e}");
    digits.parse().map_or(digits.clone(), short)
}
