//! `process/preconditioning-identity`

use crate::analysis::preconditioning::{Claim, Preconditioning, Twice, identities, target_of_data, weight_without_output};
use crate::ir::Declared;
use crate::lint::{Context, Report, process_node};
use crate::words::short;
use archc_grammar::{Edit, Fix, Safety, Span};
use archc_process::Prediction;

/// Factor from one that is still right: what a deviation wrong by a fifth makes.
const TOLERANCE: f64 = 1.5;

rule! {
    /// ## What it does
    ///
    /// Finds preconditioned networks whose input, whose target, or the weight of whose loss is not 1 at every level of
    /// noise: with the coefficients of the `process`, or with those that the model computes itself, `c_skip * x + c_out *
    /// F(c_in * x)`. The identities are proved where the coefficients are made of powers and roots of sigma (`archc
    /// predict` says so), and looked at in 64 levels of the schedule where they are not. Weightings that mean to prefer
    /// some levels (`min_snr`, `p2`, `sigma_sqrt`, `cosmap`) are taken as they are.
    ///
    /// Also networks that are preconditioned twice, by the model and by the process, and those that scale their input by
    /// `c_in` and weigh the loss for the preconditioning, but leave `c_skip` or `c_out` away. The target is that of the
    /// `prediction`: what `c_skip * x + c_out * F` makes with EDM's coefficients is the data, `x0`.
    ///
    /// ## Why is this bad
    ///
    /// Preconditioning exists to make three numbers 1: the variance of the network's input, `c_in^2 (sigma_data^2 +
    /// sigma^2)`; that of its target, `((1 - c_skip)^2 sigma_data^2 + c_skip^2 sigma^2) / c_out^2`; and the weight of
    /// its squared error, `lambda c_out^2`. With a uniform weight the latter goes from 4e-6 to 0.25 between the ends of
    /// EDM's schedule: what fine detail the network draws hardly counts. With the weight of EDM and without `c_out` errors
    /// count 250,000 times at sigma 0.002 and 4 times at 80. With `c_in` applied twice the variance of the input is 4 at
    /// little noise and 0.00016 at 80.
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
    /// Weighs the loss for the preconditioning; says `prediction: x0` as well where the model's coefficients are right for
    /// that; takes the preconditioning of the process away where the model holds one (unsafe: the network is trained for
    /// something else). Coefficients that the model computes itself are left alone.
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
        let found = || Some((process_node(context)?, find(context)?));
        found().into_iter().collect()
    }

    report(finding, context) {
        let around = context.graph.process.as_ref().and_then(|declared| finding.what.around(declared));
        let label = (finding.place, format!("at sigma = {}", figure(finding.sigma)));
        Report {
            message: finding.what.message(figure(finding.value)),
            labels: std::iter::once(label).chain(around).collect(),
            notes: vec![format!("for data of deviation {}", short(finding.sigma_data))],
            help: Some(finding.what.help()),
        }
    }

    fixes(finding, context) {
        let Some(declared) = context.graph.process.as_ref() else { return vec![] };
        let weighting = format!("edm(sigma_data: {})", short(finding.sigma_data));
        let (title, entries) = match finding.what {
            Identity::Loss => ("weigh the loss for the preconditioning", vec![("weighting", weighting)]),
            Identity::Twice => ("leave it to the model", vec![("precondition", "none".to_owned())]),
            Identity::Prediction(_) if declared.entry("weighting").is_some() => {
                ("predict the data", vec![("prediction", "x0".to_owned()), ("weighting", weighting)])
            }
            Identity::Prediction(_) => ("predict the data", vec![("prediction", format!("x0; weighting: {weighting}"))]),
            Identity::Input | Identity::Target | Identity::OutputLoss | Identity::OutputTarget => return vec![],
        };
        let edits: Option<Vec<Edit>> =
            entries.iter().map(|(name, value)| context.entry(declared, name, value)).collect();
        edits.map(|edits| Fix::new(title, Safety::Unsafe, edits)).into_iter().collect()
    }
}

/// What is to be 1 at every level of noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    Input,
    Target,
    /// The target, which it would be for a prediction of the data rather than for this one.
    Prediction(Prediction),
    Loss,
    /// The input, since the model and the process both scale it.
    Twice,
    /// The weight, since nothing scales the output.
    OutputLoss,
    /// The target, since nothing is added to the output.
    OutputTarget,
}

impl Identity {
    fn message(self, value: String) -> String {
        let what = match self {
            Self::Twice => {
                return format!("the network is preconditioned twice, so that the variance of its input is {value}");
            }
            Self::Input => "the variance of the network's input",
            Self::Target | Self::Prediction(_) | Self::OutputTarget => "the variance of the network's target",
            Self::Loss | Self::OutputLoss => "the weight of the network's squared error",
        };
        format!("{what} is {value} rather than 1")
    }

    /// The entry of the process that has its part in it.
    fn around(self, declared: &Declared) -> Option<(Span, String)> {
        let (entry, what) = match self {
            Self::Twice => ("precondition", "the process scales its input as well"),
            Self::Prediction(_) => ("prediction", "what the output is said to be"),
            Self::OutputLoss | Self::OutputTarget => ("weighting", "weighed for what is preconditioned"),
            Self::Input | Self::Target | Self::Loss => return None,
        };
        Some((declared.place(entry), what.to_owned()))
    }

    fn help(self) -> String {
        let help = match self {
            Self::Input => "`c_in` is `1 / sqrt(sigma^2 + sigma_data^2)`, and multiplies the input once",
            Self::Target => {
                "`c_skip` is `sigma_data^2 / (sigma^2 + sigma_data^2)`, \
                 `c_out` is `sigma * sigma_data / sqrt(sigma^2 + sigma_data^2)`"
            }
            Self::Prediction(said) => {
                return format!("`c_skip * x + c_out * F` is the data here, not `{}`: write `prediction: x0`", said.name());
            }
            Self::Loss => "write `weighting: edm(sigma_data: ..)` with the `sigma_data` of the preconditioning",
            Self::Twice => "take out `precondition`: the model holds its own",
            Self::OutputLoss | Self::OutputTarget => {
                "the output that this weight is for is `c_skip * x + c_out * F(c_in * x)`, \
                 see `std.edm.edm_preconditioning`"
            }
        };
        help.to_owned()
    }
}

/// The first identity that does not hold.
fn find(context: &Context<'_>) -> Option<PreconditioningIdentity> {
    let graph = context.graph;
    let declared = graph.process.as_ref()?;
    let finding = |what, place, claim: Claim, sigma_data| {
        let Claim { sigma, value, .. } = claim;
        Some(PreconditioningIdentity { what, place, sigma, value, sigma_data })
    };
    if let Some(Twice { entry, claim, sigma_data }) = Twice::of(graph) {
        return finding(Identity::Twice, context.place(entry), claim, sigma_data);
    }
    if let Some((output, found)) = weight_without_output(graph) {
        let place = context.place(output);
        return match found.weight.and_then(off) {
            Some(claim) => finding(Identity::OutputLoss, place, claim, found.sigma_data),
            None => finding(Identity::OutputTarget, place, off(found.target)?, found.sigma_data),
        };
    }
    let found = identities(graph)?;
    if let Some(claim) = off(found.input) {
        return finding(Identity::Input, context.place(Preconditioning::of(graph)?.entry), claim, found.sigma_data);
    }
    if let Some(claim) = off(found.target) {
        // The coefficients are right, for another prediction than the declared one.
        let is_data = target_of_data(graph).is_some_and(|target| off(target).is_none());
        let what = if is_data { Identity::Prediction(declared.process.prediction) } else { Identity::Target };
        return finding(what, context.place(Preconditioning::of(graph)?.sum), claim, found.sigma_data);
    }
    finding(Identity::Loss, declared.place("weighting"), found.weight.and_then(off)?, found.sigma_data)
}

/// A number that is not 1 at some level.
fn off(claim: Claim) -> Option<Claim> {
    (!claim.proved && claim.factor() > TOLERANCE).then_some(claim)
}

/// Three digits.
fn figure(value: f64) -> String {
    let digits = format!("{value:.2e}");
    digits.parse().map_or(digits.clone(), short)
}
