//! What EDM's preconditioning is for, as identities: proved where the coefficients are known as functions of sigma, and
//! followed over the levels of noise of the schedule in any case.
//!
//! Karras et al., *Elucidating the Design Space of Diffusion-Based Generative Models*, NeurIPS 2022, appendix B.6: the
//! network's input and its target have unit variance at every level, and its squared error weighs the same.

use super::algebra::Fraction;
use super::numbers::{functions_of_sigma, numbers_at};
use crate::ir::{Declared, Graph, NodeId};
use crate::ops::Op;
use archc_process::{Level, Prediction, Process, Scale, Weighting};
use serde::Serialize;

/// Levels of noise at which the identities are looked at.
const LEVELS: usize = 64;

/// The coefficients of a model that holds its own preconditioning, `skip * x + out * F(input * x)`, as nodes.
pub(crate) struct Preconditioning {
    pub skip: NodeId,
    pub out: NodeId,
    /// `F(input * x)`.
    pub network: NodeId,
    pub input: NodeId,
    /// `input * x`.
    pub entry: NodeId,
    /// The sum.
    pub sum: NodeId,
}

impl Preconditioning {
    /// Of the main output, where it has that form.
    pub fn of(graph: &Graph) -> Option<Self> {
        let sum = graph.outputs.first()?.node;
        let x = graph.noisy_input()?;
        let Op::Add(_) = graph.node(sum).op()? else { return None };
        let operands = graph.operands(sum);
        let [first, second] = operands.as_slice() else { return None };
        let (kept, raw) = match (scaled(graph, *first), scaled(graph, *second)) {
            (Some(a), Some(b)) if a.1 == x => ((*first, a), b),
            (Some(a), Some(b)) if b.1 == x => ((*second, b), a),
            _ => return None,
        };
        let (skip_node, (skip, _)) = kept;
        let users: Vec<NodeId> = graph.users(x).map(|(user, _)| user).filter(|user| *user != skip_node).collect();
        let [entry] = users.as_slice() else { return None };
        let (input, _) = scaled(graph, *entry)?;
        Some(Self { skip, out: raw.0, network: raw.1, input, entry: *entry, sum })
    }
}

/// A product of a number and something else.
fn scaled(graph: &Graph, node: NodeId) -> Option<(NodeId, NodeId)> {
    let Op::Multiply(_) = graph.node(node).op()? else { return None };
    let operands = graph.operands(node);
    let [a, b] = operands.as_slice() else { return None };
    match (graph.node(*a).ty.kind.is_scalar(), graph.node(*b).ty.kind.is_scalar()) {
        (true, false) => Some((*a, *b)),
        (false, true) => Some((*b, *a)),
        _ => None,
    }
}

/// Numbers that are to be 1 at every level of noise, of a preconditioned network.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Identities {
    /// Deviation of the data that they are meant for.
    pub sigma_data: f64,
    /// Variance of what the network is given.
    pub input: Claim,
    /// Variance of what it is to predict.
    pub target: Claim,
    /// What its squared error counts; none where the weighting means to prefer some levels.
    pub weight: Option<Claim>,
}

/// A number that is to be 1 at every level of noise.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Claim {
    /// Whether it is 1 as a function of sigma, up to the rounding of the coefficients.
    pub proved: bool,
    /// The level of the schedule at which it is furthest from 1, and what it is there.
    pub sigma: f64,
    pub value: f64,
}

impl Claim {
    /// Of values by sigma; none where a level has no positive value.
    fn of(proved: bool, values: &[(f64, f64)]) -> Option<Self> {
        let off = |value: f64| libm::log(value).abs();
        if values.iter().any(|(_, value)| !(value.is_finite() && *value > 0.0)) {
            return None;
        }
        let (sigma, value) = *values.iter().max_by(|(_, a), (_, b)| off(*a).total_cmp(&off(*b)))?;
        Some(Self { proved, sigma, value })
    }

    /// The factor by which it is off, at least 1.
    pub fn factor(self) -> f64 {
        self.value.max(1.0 / self.value)
    }
}

/// Of a model with a process that says how it is preconditioned, or of one that computes the coefficients itself.
pub fn identities(graph: &Graph) -> Option<Identities> {
    let declared = graph.process.as_ref()?;
    match declared.process.precondition.sigma_data() {
        Some(sigma_data) => of_process(declared, sigma_data),
        None => of_model(graph, declared),
    }
}

/// Coefficients of the process keep input and target at 1 for their own data, as its definition says; the weight may not
/// fit.
fn of_process(declared: &Declared, sigma_data: f64) -> Option<Identities> {
    let process = &declared.process;
    let coefficients = Edm { data: sigma_data * sigma_data };
    let at = |level: Level| {
        let weight = process.weighting.weight_inside(process.prediction, process.precondition, level);
        let own = process.precondition.coefficients(level.noise).ok()??;
        let [input, target] = coefficients.variances(level.noise, [own.input, own.skip, own.out]);
        Some((level.noise, [input, target, weight.unwrap_or(f64::NAN)]))
    };
    let out = coefficients.out_square();
    let proved = weight_of_data(process).is_some_and(|weight| weight.times(&out).is(&Fraction::number(1.0)));
    Identities::of(process, sigma_data, [true, true, proved], levels(declared).map(at).collect::<Option<Vec<_>>>()?)
}

/// Coefficients that the model computes itself.
fn of_model(graph: &Graph, declared: &Declared) -> Option<Identities> {
    let process = &declared.process;
    if process.schedule.scale() != Scale::VarianceExploding || process.prediction != Prediction::X0 {
        return None;
    }
    let parts = Preconditioning::of(graph)?;
    let sigma_data = process.data_std.or(process.weighting.sigma_data())?;
    let data = Edm { data: sigma_data * sigma_data };
    let at = |level: Level| {
        let numbers = numbers_at(graph, level.noise);
        let number = |node: NodeId| numbers.get(node.index()).copied().flatten();
        let (skip, out, input) = (number(parts.skip)?, number(parts.out)?, number(parts.input)?);
        let weight = process.weighting.weight(Prediction::X0, level).unwrap_or(f64::NAN);
        let [variance, target] = data.variances(level.noise, [input, skip, out]);
        Some((level.noise, [variance, target, weight * out * out]))
    };
    let proved = data.proofs(graph, &parts, process).unwrap_or([false; 3]);
    Identities::of(process, sigma_data, proved, levels(declared).map(at).collect::<Option<Vec<_>>>()?)
}

impl Identities {
    /// Of variances of input and target and of the weight, by sigma.
    fn of(process: &Process, sigma_data: f64, proved: [bool; 3], values: Vec<(f64, [f64; 3])>) -> Option<Self> {
        let column = |at: fn(&[f64; 3]) -> f64| -> Vec<(f64, f64)> {
            values.iter().map(|(sigma, own)| (*sigma, at(own))).collect()
        };
        let [input, target, weight] = proved;
        Some(Self {
            sigma_data,
            input: Claim::of(input, &column(|[input, ..]| *input))?,
            target: Claim::of(target, &column(|[_, target, _]| *target))?,
            weight: is_plain(process.weighting).then(|| Claim::of(weight, &column(|[.., weight]| *weight))).flatten(),
        })
    }
}

/// Data of a variance.
struct Edm {
    data: f64,
}

impl Edm {
    /// Variance of the input `c_in x` and of the target `(x0 - c_skip x) / c_out`, for `x = x0 + sigma n`.
    fn variances(&self, sigma: f64, [input, skip, out]: [f64; 3]) -> [f64; 2] {
        let rest = 1.0 - skip;
        let target = (rest * rest * self.data + skip * skip * sigma * sigma) / (out * out);
        [input * input * (self.data + sigma * sigma), target]
    }

    /// Variance of data with noise, as a function of sigma.
    fn noisy(&self) -> Fraction {
        Fraction::variable().square().plus(&Fraction::number(self.data))
    }

    /// `c_out^2 = sigma^2 sigma_data^2 / (sigma^2 + sigma_data^2)`.
    fn out_square(&self) -> Fraction {
        Fraction::variable().square().times(&Fraction::number(self.data)).times(&self.noisy().reciprocal())
    }

    /// Whether input, target and weight are 1 as functions of sigma; none where a coefficient is no such function.
    fn proofs(&self, graph: &Graph, parts: &Preconditioning, process: &Process) -> Option<[bool; 3]> {
        let functions = functions_of_sigma(graph);
        let of = |node: NodeId| functions.get(node.index()).cloned().flatten();
        let (skip, out, input) = (of(parts.skip)?, of(parts.out)?.square(), of(parts.input)?.square());
        let skip = skip.quotient()?;
        let rest = skip.times(&Fraction::number(-1.0)).plus(&Fraction::number(1.0));
        let target = rest.square().times(&Fraction::number(self.data));
        let target = target.plus(&skip.times(&Fraction::variable()).square());
        let one = Fraction::number(1.0);
        let weight = weight_of_data(process).is_some_and(|weight| weight.times(&out).is(&one));
        Some([input.times(&self.noisy()).is(&one), target.is(&out), weight])
    }
}

/// The weight of the squared error of the data under noise that is added, as a function of sigma, where it is a quotient of
/// polynomials.
fn weight_of_data(process: &Process) -> Option<Fraction> {
    let sigma = Fraction::variable().square();
    match (process.weighting, process.prediction) {
        (Weighting::Uniform, Prediction::X0) => Some(Fraction::number(1.0)),
        // An error of the noise is one of the data by sigma.
        (Weighting::Uniform, Prediction::Eps) => Some(sigma.reciprocal()),
        (Weighting::Edm { sigma_data }, _) => {
            let data = Fraction::number(sigma_data * sigma_data);
            Some(sigma.plus(&data).times(&sigma.times(&data).reciprocal()))
        }
        _ => None,
    }
}

/// The levels of the schedule as noise added to the data.
fn levels(declared: &Declared) -> impl Iterator<Item = Level> {
    let levels = declared.process.schedule.levels(LEVELS).unwrap_or_default();
    levels
        .into_iter()
        .filter_map(|level| level.on(Scale::VarianceExploding).ok())
        .filter(|level| level.noise > 0.0 && level.noise.is_finite())
}

fn is_plain(weighting: Weighting) -> bool {
    matches!(weighting, Weighting::Uniform | Weighting::Edm { .. })
}
