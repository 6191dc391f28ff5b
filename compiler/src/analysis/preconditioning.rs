//! What EDM's preconditioning is for, as identities: proved where the coefficients are known as functions of sigma, and
//! followed over the levels of noise of the schedule in any case.
//!
//! Karras et al., *Elucidating the Design Space of Diffusion-Based Generative Models*, NeurIPS 2022, appendix B.6: the
//! network's input and its target have unit variance at every level, and its squared error weighs the same.

use super::algebra::{Fraction, Radical};
use super::numbers::{functions_of_sigma, numbers_at};
use super::stacks::passage;
use crate::ir::{Declared, Graph, NodeId};
use crate::ops::{Op, Passage};
use archc_process::{Level, Prediction, Process, Scale, Weighting};
use serde::Serialize;

/// Levels of noise at which the identities are looked at.
const LEVELS: usize = 64;
/// A coefficient that differs by less, relative to itself, between levels is a constant.
const VARIES: f64 = 0.01;

/// A product of numbers that the model computes, and one that is written.
#[derive(Clone, Debug)]
pub(crate) struct Factor {
    parts: Vec<NodeId>,
    constant: f64,
}

impl Factor {
    const ONE: Self = Self { parts: Vec::new(), constant: 1.0 };

    fn is_one(&self) -> bool {
        self.parts.is_empty() && self.constant == 1.0
    }

    /// With what one more node multiplies by, and the node that it multiplies; none where it is no product with a number.
    fn and(&self, graph: &Graph, node: NodeId) -> Option<(Self, NodeId)> {
        let mut more = self.clone();
        let op = graph.node(node).op()?;
        if let Op::Affine(affine) = op {
            more.constant *= affine.scale;
            return (affine.shift == 0.0).then_some((more, graph.operand(node, 0)?));
        }
        let Op::Multiply(_) = op else { return None };
        let operands = graph.operands(node);
        let [a, b] = operands.as_slice() else { return None };
        let (number, rest) = match (graph.node(*a).ty.kind.is_scalar(), graph.node(*b).ty.kind.is_scalar()) {
            (true, false) => (*a, *b),
            (false, true) => (*b, *a),
            _ => return None,
        };
        more.parts.push(number);
        Some((more, rest))
    }

    /// All that a value is multiplied by in the end, what that is, and the first of the products.
    fn behind(graph: &Graph, node: NodeId) -> (Self, NodeId, Option<NodeId>) {
        let (mut factor, mut at, mut first) = (Self::ONE, node, None);
        while let Some((more, rest)) = factor.and(graph, at) {
            (factor, at, first) = (more, rest, Some(at));
        }
        (factor, at, first)
    }

    /// Its value among those of the numbers of a model.
    fn value(&self, numbers: &[Option<f64>]) -> Option<f64> {
        self.parts.iter().try_fold(self.constant, |product, part| Some(product * (*numbers.get(part.index())?)?))
    }

    /// It as a function of sigma.
    fn function(&self, functions: &[Option<Radical>]) -> Option<Radical> {
        let of = |part: &NodeId| functions.get(part.index()).cloned().flatten();
        let start = Radical::number(self.constant);
        self.parts.iter().try_fold(start, |product, part| Some(of(part)?.times(&product)))
    }
}

/// The coefficients of a model that holds its own preconditioning, `skip * x + out * F(input * x)`.
#[derive(Clone, Debug)]
pub(crate) struct Preconditioning {
    skip: Factor,
    out: Factor,
    input: Factor,
    /// `F(input * x)`.
    pub network: NodeId,
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
        let (a, b) = (Factor::behind(graph, *first), Factor::behind(graph, *second));
        let ((skip, _, kept), (out, network, _)) = match (a.1 == x, b.1 == x) {
            (true, false) => (a, b),
            (false, true) => (b, a),
            _ => return None,
        };
        let (input, entry) = entering(graph, x, kept.unwrap_or(sum))?;
        // Without a number on either summand it is a residual sum.
        let has_form = !skip.is_one() || !out.is_one();
        has_form.then_some(Self { skip, out, input, network, entry, sum })
    }

    /// Of a model that scales what comes in, and leaves away `skip * x` behind the network.
    fn without_skip(graph: &Graph) -> Option<Self> {
        let sum = graph.outputs.first()?.node;
        let (out, network, _) = Factor::behind(graph, sum);
        let x = graph.noisy_input()?;
        let (input, entry) = entering(graph, x, sum)?;
        // What was scaled may be what is kept.
        let kept = graph.operands(network).into_iter().any(|operand| Factor::behind(graph, operand).1 == x);
        if kept && matches!(graph.node(network).op()?, Op::Add(_)) {
            return None;
        }
        Some(Self { skip: Factor { parts: vec![], constant: 0.0 }, out, input, network, entry, sum })
    }

    /// Skip, out, and input where the numbers of the model are these.
    fn values(&self, numbers: &[Option<f64>]) -> Option<[f64; 3]> {
        Some([self.skip.value(numbers)?, self.out.value(numbers)?, self.input.value(numbers)?])
    }
}

/// What the noisy value is multiplied by before anything else is done with it, also beside values that it is joined with,
/// and the last of the products. All uses of the value but one are looked at.
fn entering(graph: &Graph, x: NodeId, except: NodeId) -> Option<(Factor, NodeId)> {
    let (mut factor, mut at, mut entry) = (Factor::ONE, x, None);
    loop {
        let users: Vec<NodeId> = graph.users(at).map(|(user, _)| user).filter(|user| *user != except).collect();
        let [user] = users.as_slice() else { break };
        match factor.and(graph, *user) {
            Some((more, scaled)) if scaled == at => (factor, entry) = (more, Some(*user)),
            _ if matches!(passage(graph, *user), Some(Passage::Join)) => {}
            _ => break,
        }
        at = *user;
    }
    Some((factor, entry?))
}

/// A network that scales its input by something that depends on sigma although its process does so as well.
pub(crate) struct Twice {
    /// The product of the model.
    pub entry: NodeId,
    /// The level at which the variance of what the network sees is furthest from 1, and what it is there.
    pub claim: Claim,
    pub sigma_data: f64,
}

impl Twice {
    pub fn of(graph: &Graph) -> Option<Self> {
        let declared = graph.process.as_ref()?;
        let sigma_data = declared.process.precondition.sigma_data()?;
        let parts = Preconditioning::of(graph).or_else(|| Preconditioning::without_skip(graph))?;
        let values = levels(declared).map(|level| {
            let own = parts.input.value(&numbers_at(graph, level.noise))?;
            let around = declared.process.precondition.coefficients(level.noise).ok()??;
            let total = own * around.input;
            Some((level.noise, own, total * total * (sigma_data * sigma_data + level.noise * level.noise)))
        });
        let values: Vec<(f64, f64, f64)> = values.collect::<Option<_>>()?;
        // A constant brings data to unit variance.
        let first = values.first()?.1;
        let varies = values.iter().any(|(_, own, _)| (own / first - 1.0).abs() > VARIES);
        let claim = Claim::of(false, &values.iter().map(|(sigma, _, value)| (*sigma, *value)).collect::<Vec<_>>())?;
        varies.then_some(Self { entry: parts.entry, claim, sigma_data })
    }
}

/// The weight of the squared error of a model that scales its input for the noise and predicts the data itself, with a loss
/// that is weighed as if it were preconditioned behind the network as well.
pub(crate) fn weight_without_output(graph: &Graph) -> Option<(NodeId, Identities)> {
    let declared = graph.process.as_ref()?;
    let process = &declared.process;
    let sigma_data = process.weighting.sigma_data()?;
    let around = process.precondition.sigma_data().is_some() || Preconditioning::of(graph).is_some();
    if around || process.prediction != Prediction::X0 {
        return None;
    }
    let parts = Preconditioning::without_skip(graph).filter(|parts| !parts.input.parts.is_empty())?;
    Some((parts.sum, of_parts(graph, declared, &parts, sigma_data)?))
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
        let [input, target] = coefficients.variances(Prediction::X0, level, [own.skip, own.out, own.input]);
        Some((level.noise, [input, target, weight.unwrap_or(f64::NAN)]))
    };
    let out = coefficients.out_square();
    let proved = weight_of_data(process).is_some_and(|weight| weight.times(&out).is(&Fraction::number(1.0)));
    Identities::of(process, sigma_data, [true, true, proved], levels(declared).map(at).collect::<Option<Vec<_>>>()?)
}

/// Coefficients that the model computes itself.
fn of_model(graph: &Graph, declared: &Declared) -> Option<Identities> {
    let process = &declared.process;
    let sigma_data = process.data_std.or(process.weighting.sigma_data())?;
    of_parts(graph, declared, &Preconditioning::of(graph)?, sigma_data)
}

/// Variance of the target of a model that computes its own coefficients, if what it makes is taken as the data.
pub(crate) fn target_of_data(graph: &Graph) -> Option<Claim> {
    let mut declared = graph.process.clone()?;
    declared.process.prediction = Prediction::X0;
    of_model(graph, &declared).map(|found| found.target)
}

fn of_parts(graph: &Graph, declared: &Declared, parts: &Preconditioning, sigma_data: f64) -> Option<Identities> {
    let process = &declared.process;
    if process.schedule.scale() != Scale::VarianceExploding {
        return None;
    }
    let data = Edm { data: sigma_data * sigma_data };
    let at = |level: Level| {
        let own @ [_, out, _] = parts.values(&numbers_at(graph, level.noise))?;
        let weight = process.weighting.weight(process.prediction, level).unwrap_or(f64::NAN);
        let [variance, target] = data.variances(process.prediction, level, own);
        Some((level.noise, [variance, target, weight * out * out]))
    };
    let proved = data.proofs(graph, parts, process).unwrap_or([false; 3]);
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
    /// Variance of the input `c_in x` and of the target `(y - c_skip x) / c_out`, for `x = x0 + sigma n` and what is
    /// predicted, y, the data `x0` or another sum of both.
    fn variances(&self, prediction: Prediction, level: Level, [skip, out, input]: [f64; 3]) -> [f64; 2] {
        let (data, noise) = prediction.target(level);
        let sigma = level.noise;
        let (data, noise) = (data - skip, noise - skip * sigma);
        [input * input * (self.data + sigma * sigma), (data * data * self.data + noise * noise) / (out * out)]
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
        // What is proved is said of the data.
        if process.prediction != Prediction::X0 {
            return None;
        }
        let functions = functions_of_sigma(graph);
        let of = |factor: &Factor| factor.function(&functions);
        let (skip, out, input) = (of(&parts.skip)?, of(&parts.out)?.square(), of(&parts.input)?.square());
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
