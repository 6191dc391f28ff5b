//! Affine map of the channels.

use super::{
    Alignment, Alignments, Flow, Gradients, Link, Misuse, Obligations, Operator, ParameterCells, ParameterMoments,
    ParameterSpec, Parameters, Passage, Sent, Storage, channels_of,
};
use crate::analysis::liveness::facts::{Facts, Grid, Line};
use crate::analysis::moments::{Class, INDEPENDENT, LAGS, Lags, Moments, Unknown, zip};
use super::window::Border;
use super::signals::{Response, Signals};
use crate::init::{Fans, Init};
use crate::operator;
use crate::types::{Axis, Kind, Type};
use smallvec::{SmallVec, smallvec};

operator! {
    /// Affine map of the channels, at each position by itself: `y = W x + b`.
    ///
    /// `vector[C] -> vector[features]`, `tokens[N, C] -> tokens[N, features]`. Parameters: `weight [features, C]`,
    /// `bias [features]`. Images have their channels first; use `conv2d(features, kernel: 1)` there.
    "linear"(x)
    pub struct Linear {
        /// Channels of the result.
        features: u64,
        /// Whether a bias is added.
        bias: bool = true,
    }
}

impl Operator for Linear {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        channels_of(operands, 0, "linear")?;
        match operands {
            [x] if matches!(x.kind, Kind::Vector | Kind::Tokens) => {
                Ok((*x).clone().with(Axis::Channel, self.features.into()))
            }
            [x, ..] => Err(Misuse::new("type/kind", format!("`linear` acts on vectors and tokens, found {x}"))
                .at(0)
                .help(format!("use `conv2d({}, kernel: 1)`, or `to_tokens()` first", self.features))),
            [] => Err(Misuse::new("type/kind", "`linear` lacks its operand")),
        }
    }

    fn parameters(&self, operands: &[&Type]) -> Parameters {
        let inputs = operands.first().and_then(|x| x.channels()).unwrap_or(0);
        affine_parameters(vec![self.features, inputs], Fans { fan_in: inputs, fan_out: self.features }, self.bias)
    }

    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        affine_signal(at, at.channels(0), at.operand(0)?.similarity)
    }

    fn signal_back(&self, at: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        affine_signal_back(at, gradient, self.features as f64)
    }

    fn flops(&self, operands: &[&[u64]], result: &[u64]) -> u64 {
        let inputs = operands.first().and_then(|shape| shape.last()).copied().unwrap_or(0);
        result.iter().product::<u64>().saturating_mul(2 * inputs + u64::from(self.bias))
    }

    fn passage(&self) -> Passage {
        Passage::Project
    }

    fn alignments(&self, _: &[&Type], _: &Type) -> Alignments {
        smallvec![Alignment { channels: Link::Unrelated, tokens: Link::Same }]
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        affine_flow(at, |x| x)
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        affine_flow_back(at, gradient, |dy| dy, Line::contracts)
    }
}

/// Weight and bias of a linear map or a convolution.
pub(super) fn affine_parameters(shape: Vec<u64>, fans: Fans, bias: bool) -> Parameters {
    let features = shape.first().copied().unwrap_or(0);
    let spec = |name, shape, cells| ParameterSpec {
        name,
        shape,
        fans,
        default: Init::framework_default(),
        storage: Storage::Trained,
        cells,
    };
    let mut parameters: Parameters = smallvec![spec("weight", shape, ParameterCells::OutputByInput)];
    if bias {
        parameters.push(spec("bias", vec![features], ParameterCells::Output));
    }
    parameters
}

/// Moments of `W x + b` with `fan_in` independent terms: `E[y_i y_j] = fan_in E[w^2] E[x_i x_j] + E[b^2]`, for any
/// distribution of `x` and in expectation over the weights.
pub(super) fn affine_signal(at: &Signals<'_>, fan_in: f64, similarity: f64) -> Result<Response, Unknown> {
    windowed_signal(at, &at.operand(0)?, &[fan_in; LAGS + 2], similarity)
}

/// The same where windows reach over the border.
pub(super) fn bordered_signal(
    at: &Signals<'_>,
    x: &Moments,
    border: &Border,
    similarity: f64,
) -> Result<Response, Unknown> {
    let channels = at.channels(0);
    let mut x = *x;
    x.edge = border.edge;
    windowed_signal(at, &x, &border.taps.map(|taps| channels * taps), similarity)
}

fn windowed_signal(at: &Signals<'_>, x: &Moments, terms: &Lags, similarity: f64) -> Result<Response, Unknown> {
    let weight = fresh_weight(at)?;
    let bias = at.parameter(1).map_or(Moments::ZERO, |bias| Moments::uniform(bias.mean, bias.square()));
    let mut mapped = x.map(0.0, |second| weight.square() * second).at_most(Class::InExpectation);
    mapped.second = zip(&mapped.second, terms, |second, terms| terms * second);
    // A random map keeps angles, up to what so many outputs leave to chance.
    let similarity = similarity + 1.0 / at.size_in_result(Axis::Channel);
    Ok(Response::fresh(mapped.plus(&bias, &INDEPENDENT).similar(similarity)))
}

/// Gradient of `x`, of which every element has a part in `fan_out` results.
pub(super) fn affine_signal_back(at: &Signals<'_>, gradient: &Moments, fan_out: f64) -> Result<Sent, Unknown> {
    let factor = fan_out * fresh_weight(at)?.square();
    Ok(smallvec![gradient.map(0.0, |second| factor * second).at_most(Class::InExpectation).tilted(1.0)])
}

/// The same where windows reach over the border; `fan_out` is that of one tap.
pub(super) fn bordered_signal_back(
    at: &Signals<'_>,
    gradient: &Moments,
    border: &Border,
    fan_out: f64,
) -> Result<Sent, Unknown> {
    let mut sent = affine_signal_back(at, gradient, fan_out)?;
    for sent in &mut sent {
        sent.second = zip(&sent.second, &border.taps, |second, taps| taps * second);
        sent.edge = border.edge;
    }
    Ok(sent)
}

pub(super) fn fresh_weight(at: &Signals<'_>) -> Result<ParameterMoments, Unknown> {
    match at.parameter(0) {
        Some(weight) if weight.mean == 0.0 => Ok(weight),
        Some(_) => Err(Unknown::because("weights with a mean correlate the channels")),
        None => Err(Unknown::because("the weight is missing")),
    }
}

/// Facts of `y = W x + b`, where the positions of `x` go through `window` on their way.
pub(super) fn affine_flow(at: &Flow<'_>, window: impl Fn(Facts) -> Facts) -> Grid {
    let (x, weight, bias) = (at.operand(0), at.parameter(0), at.parameter(1));
    Grid::build(at.rows, at.columns, |row, column| {
        let bias = bias.map_or(Facts::ZERO, |bias| bias.at(0, column));
        let Some(weight) = weight else { return bias };
        (0..x.columns()).fold(bias, |facts, part| facts.or(mapped(weight.at(column, part), window(x.at(row, part)))))
    })
}

/// Facts of `W x`: a sum over the inputs of the weight, which are the channels of `x`.
fn mapped(weight: Facts, x: Facts) -> Facts {
    let (inputs, output_mean) = (weight.over_positions(), weight.channel_mean_over_positions());
    let (channels, position_mean) = (x.over_channels(), x.position_mean_over_channels());
    Facts::NONZERO
        .with(Facts::POSITIONS, x.has(Facts::POSITIONS))
        .with(Facts::CHANNELS, weight.has(Facts::CHANNELS))
        .with(Facts::MEAN_POSITIONS, inputs.contracts(position_mean))
        .with(Facts::MEAN_CHANNELS, output_mean.contracts(channels))
        .with(Facts::MEAN_ALL, output_mean.contracts(position_mean))
        .when(inputs.contracts(channels))
}

/// Facts of the gradients of `y = W x + b`: `window` for what reaches the positions of `x`, `contracts` for whether the
/// product of input and gradient survives the sum over positions.
pub(super) fn affine_flow_back(
    at: &Flow<'_>,
    gradient: &Grid,
    window: impl Fn(Facts) -> Facts,
    contracts: impl Fn(Line, Line) -> bool,
) -> Gradients {
    let (x, weight) = (at.operand(0), at.parameter(0));
    let mut operand = Grid::new(x.rows(), x.columns());
    let (out_parts, in_parts) = weight.map_or((1, 1), |weight| (weight.rows(), weight.columns()));
    let mut weights = Grid::new(out_parts, in_parts);
    let mut bias = Grid::new(1, at.parameter(1).map_or(1, Grid::columns));
    for row in 0..gradient.rows() {
        for column in 0..gradient.columns() {
            let dy = gradient.at(row, column);
            for part in 0..x.columns() {
                if let Some(weight) = weight {
                    let sent = mapped(weight.at(column, part).transposed(), window(dy));
                    operand.add(row.min(x.rows() - 1), part, sent);
                }
                weights.add(column, part, weight_gradient(x.at(row, part), dy, &contracts));
            }
            bias.add(0, column, dy.sum_positions());
        }
    }
    let mut parameters: SmallVec<[Grid; 2]> = smallvec![weights];
    if at.parameter(1).is_some() {
        parameters.push(bias);
    }
    Gradients { operands: smallvec![operand], parameters }
}

/// Facts of `sum over positions of dy x^T`, with inputs in the place of positions and outputs in that of channels.
fn weight_gradient(x: Facts, dy: Facts, contracts: impl Fn(Line, Line) -> bool) -> Facts {
    let (input, input_mean) = (x.over_positions(), x.channel_mean_over_positions());
    let (output, output_mean) = (dy.over_positions(), dy.channel_mean_over_positions());
    Facts::NONZERO
        .with(Facts::POSITIONS, x.has(Facts::CHANNELS))
        .with(Facts::CHANNELS, dy.has(Facts::CHANNELS))
        .with(Facts::MEAN_POSITIONS, contracts(input_mean, output))
        .with(Facts::MEAN_CHANNELS, contracts(input, output_mean))
        .with(Facts::MEAN_ALL, contracts(input_mean, output_mean))
        .when(contracts(input, output))
        .closed()
}
