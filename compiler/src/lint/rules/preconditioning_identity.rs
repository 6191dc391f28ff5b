//! `process/preconditioning-identity`

use crate::ir::{Declared, Graph};
use crate::lint::{Context, Preconditioning, Report, numbers_at, process_node};
use crate::words::short;
use archc_grammar::{Fix, Safety, Span};
use archc_process::{Level, Prediction, Scale, Weighting};

/// Levels of noise at which the identities are looked at.
const LEVELS: usize = 64;
/// Factor from one that is still right: what a deviation wrong by a fifth makes.
const TOLERANCE: f64 = 1.5;

rule! {
    /// ## What it does
    ///
    /// Finds preconditioned networks whose input, whose target, or the weight of whose loss is not 1 at every level of
    /// noise. Looks at 64 levels of the schedule, at coefficients of the `process` or at those that the model computes
    /// itself: `c_skip * x + c_out * F(c_in * x)`. Weightings that mean to prefer some levels (`min_snr`, `p2`,
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
    /// Weighs the loss for the preconditioning (unsafe: the network is trained for something else). Coefficients that the model
    /// computes itself are left alone.
    ///
    /// ## References
    ///
    /// * Karras et al., *Elucidating the Design Space of Diffusion-Based Generative Models*, NeurIPS 2022, appendix B.6.
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
            let worst = match declared.process.precondition.sigma_data() {
                Some(sigma_data) => of_process(declared, sigma_data),
                None => of_model(context, declared),
            };
            worst.and_then(|finding| Some((process_node(context)?, finding)))
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

/// The number furthest from 1 on a logarithmic scale, if it is further than it may.
fn worst(values: impl Iterator<Item = (f64, f64)>) -> Option<(f64, f64)> {
    let off = |value: f64| libm::log(value).abs();
    values
        .filter(|(_, value)| value.is_finite() && *value > 0.0)
        .max_by(|(_, a), (_, b)| off(*a).total_cmp(&off(*b)))
        .filter(|(_, value)| off(*value) > libm::log(TOLERANCE))
}

/// The levels of a schedule as noise added to the data.
fn levels(declared: &Declared) -> Vec<Level> {
    let levels = declared.process.schedule.levels(LEVELS).unwrap_or_default();
    levels.into_iter().filter_map(|level| level.on(Scale::VarianceExploding).ok()).collect()
}

fn is_plain(weighting: Weighting) -> bool {
    matches!(weighting, Weighting::Uniform | Weighting::Edm { .. })
}

/// Coefficients of the process keep input and target at 1 for their own data; the weight may not fit.
fn of_process(declared: &Declared, sigma_data: f64) -> Option<PreconditioningIdentity> {
    let process = &declared.process;
    if !is_plain(process.weighting) {
        return None;
    }
    let weight = |level: Level| {
        let weight = process.weighting.weight_inside(process.prediction, process.precondition, level);
        weight.ok().map(|weight| (level.noise, weight))
    };
    let (sigma, value) = worst(levels(declared).into_iter().filter_map(weight))?;
    let place = declared.place("weighting");
    Some(PreconditioningIdentity { what: Identity::Loss, place, sigma, value, sigma_data })
}

/// Coefficients that the model computes itself.
fn of_model(context: &Context<'_>, declared: &Declared) -> Option<PreconditioningIdentity> {
    let (graph, process): (&Graph, _) = (context.graph, &declared.process);
    if process.schedule.scale() != Scale::VarianceExploding || process.prediction != Prediction::X0 {
        return None;
    }
    let parts = Preconditioning::of(graph)?;
    let sigma_data = process.data_std.or(process.weighting.sigma_data())?;
    let data = sigma_data * sigma_data;
    let (mut input, mut target, mut loss) = (vec![], vec![], vec![]);
    for level in levels(declared) {
        let sigma = level.noise;
        let numbers = numbers_at(graph, sigma);
        let at = |node: crate::ir::NodeId| numbers.get(node.index()).copied().flatten();
        let (skip, out, c_in) = (at(parts.skip)?, at(parts.out)?, at(parts.input)?);
        let rest = 1.0 - skip;
        input.push((sigma, c_in * c_in * (data + sigma * sigma)));
        target.push((sigma, (rest * rest * data + skip * skip * sigma * sigma) / (out * out)));
        if let (true, Ok(weight)) = (is_plain(process.weighting), process.weighting.weight(Prediction::X0, level)) {
            loss.push((sigma, weight * out * out));
        }
    }
    let found = |what: Identity, place: Span, values: Vec<(f64, f64)>| {
        let (sigma, value) = worst(values.into_iter())?;
        Some(PreconditioningIdentity { what, place, sigma, value, sigma_data })
    };
    found(Identity::Input, context.place(parts.entry), input)
        .or_else(|| found(Identity::Target, context.place(parts.sum), target))
        .or_else(|| found(Identity::Loss, declared.place("weighting"), loss))
}

/// Three digits.
fn figure(value: f64) -> String {
    let digits = format!("{value:.2e}");
    digits.parse().map_or(digits.clone(), short)
}
