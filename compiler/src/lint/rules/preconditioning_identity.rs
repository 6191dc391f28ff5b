//! `process/preconditioning-identity`

use crate::analysis::preconditioning::{Claim, Preconditioning, identities};
use crate::lint::{Report, process_node};
use crate::words::short;
use archc_grammar::{Fix, Safety, Span};

/// Factor from one that is still right: what a deviation wrong by a fifth makes.
const TOLERANCE: f64 = 1.5;

rule! {
    /// ## What it does
    ///
    /// Finds preconditioned networks whose input, whose target, or the weight of whose loss is not 1 at every level of
    /// noise: with the coefficients of the `process`, or with those that the model computes itself, `c_skip * x + c_out *
    /// F(c_in * x)`. The identities are proved where the coefficients are made of powers and roots of sigma (`archc
    /// predict` says so), and looked at in 64 levels of the schedule where they are not. Weightings that mean to prefer some levels (`min_snr`, `p2`,
    /// `sigma_sqrt`, `cosmap`) are taken as they are.
    ///
    /// ## Why is this bad
    ///
    /// Preconditioning exists to make three numbers 1: the variance of the network's input, `c_in^2 (sigma_data^2 +
    /// sigma^2)`; that of its target, `((1 - c_skip)^2 sigma_data^2 + c_skip^2 sigma^2) / c_out^2`; and the weight of
    /// its squared error, `lambda c_out^2`. With a uniform weight the latter goes from 4e-6 to 0.25 between the ends of
    /// EDM's schedule: what fine detail the network draws hardly counts.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Denoiser(x: image[4, 32, 32]) -> image[4, 32, 32] {
    ///     process { schedule: edm; prediction: x0; precondition: edm(sigma_data: 0.5); weighting: uniform }
    ///     x -> conv2d(4, kernel: 3) @conv
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Denoiser(x: image[4, 32, 32]) -> image[4, 32, 32] {
    ///     process { schedule: edm; prediction: x0; precondition: edm(sigma_data: 0.5); weighting: edm(sigma_data: 0.5) }
    ///     x -> conv2d(4, kernel: 3) @conv
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Weighs the loss for the preconditioning (unsafe: the network is trained for something else). Coefficients that the
    /// model computes itself are left alone.
    ///
    /// ## References
    ///
    /// * Karras et al., *Elucidating the Design Space of Diffusion-Based Generative Models*, NeurIPS 2022, appendix B.6.
    ///
    /// ## Threads
    ///
    /// * lucidrains/alphafold3-pytorch#68: the weight of AlphaFold 3 divides by `(sigma + sigma_data)^2` where EDM's
    ///   divides by `(sigma sigma_data)^2`; which one is meant is discussed, and both stay.
    /// * ai2cm/ace#356: `c_in` is computed for the channels with noise and multiplied on the clean ones that are
    ///   concatenated too.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC` prints for the input, the target and the loss that they are 1 at every sigma, or how far
    /// from 1 they are, and at which sigma.
    "process/preconditioning-identity", Warning
    pub struct PreconditioningIdentity {
        what: Identity,
        place: Span,
        /// The level at which it is furthest from 1, and what it is there.
        sigma: f64,
        value: f64,
        sigma_data: f64,
    }

    check(context) {
        let found = || {
            let declared = context.graph.process.as_ref()?;
            let found = identities(context.graph)?;
            let off = |claim: Claim| (!claim.proved && claim.factor() > TOLERANCE).then_some(claim);
            let (what, place, Claim { sigma, value, .. }) = if let Some(claim) = off(found.input) {
                (Identity::Input, context.place(Preconditioning::of(context.graph)?.entry), claim)
            } else if let Some(claim) = off(found.target) {
                (Identity::Target, context.place(Preconditioning::of(context.graph)?.sum), claim)
            } else {
                (Identity::Loss, declared.place("weighting"), found.weight.and_then(off)?)
            };
            let finding = PreconditioningIdentity { what, place, sigma, value, sigma_data: found.sigma_data };
            Some((process_node(context)?, finding))
        };
        found().into_iter().collect()
    }

    report(finding, _context) {
        let PreconditioningIdentity { what, place, sigma, value, sigma_data } = finding;
        let (name, help) = match what {
            Identity::Input => ("the variance of the network's input", "`c_in` is `1 / sqrt(sigma^2 + sigma_data^2)`"),
            Identity::Target => (
                "the variance of the network's target",
                "`c_skip` is `sigma_data^2 / (sigma^2 + sigma_data^2)`, `c_out` is `sigma * sigma_data / sqrt(sigma^2 + sigma_data^2)`",
            ),
            Identity::Loss => (
                "the weight of the network's squared error",
                "write `weighting: edm(sigma_data: ..)` with the `sigma_data` of the preconditioning",
            ),
        };
        Report {
            message: format!("{name} is {} rather than 1", figure(*value)),
            labels: vec![(*place, format!("at sigma = {}", figure(*sigma)))],
            notes: vec![format!("for data of deviation {}", short(*sigma_data))],
            help: Some(help.to_owned()),
        }
    }

    fixes(finding, context) {
        let Some(declared) = context.graph.process.as_ref().filter(|_| finding.what == Identity::Loss) else {
            return vec![];
        };
        let edit = context.entry(declared, "weighting", &format!("edm(sigma_data: {})", short(finding.sigma_data)));
        let title = "weigh the loss for the preconditioning";
        edit.map(|edit| Fix::new(title, Safety::Unsafe, vec![edit])).into_iter().collect()
    }
}

/// What is to be 1 at every level of noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    Input,
    Target,
    Loss,
}

/// Three digits.
fn figure(value: f64) -> String {
    let digits = format!("{value:.2e}");
    digits.parse().map_or(digits.clone(), short)
}
