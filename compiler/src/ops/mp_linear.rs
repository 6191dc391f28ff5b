//! Magnitude-preserving linear map: the weight is normalised at every use.

use super::linear::{fresh_weight, affine_flow, affine_flow_back};
use super::{
    Alignment, Alignments, Flow, Gradients, Link, Linear, Misuse, Obligations, Operator, Parameters,
    Passage, Sent};
use crate::analysis::liveness::facts::{Facts, Grid, Line};
use crate::analysis::moments::{Class, Moments, Unknown, zip};
use super::window::Border;
use super::signals::{Response, Signals};
use crate::init::Init;
use crate::operator;
use crate::types::{Axis, Type};
use smallvec::smallvec;

operator! {
    /// Linear map whose weight is normalised for each output channel: `y = W' x`, `W' = W / (eps + rms(W)) / sqrt(C)`.
    ///
    /// `vector[C] -> vector[features]`, `tokens[N, C] -> tokens[N, features]`. Rows of `W'` have unit length, so that the
    /// magnitude of uncorrelated inputs is kept. Parameter: `weight [features, C]`, drawn from N(0, 1); there is no bias.
    /// In training the stored weight itself is normalised before every step (forced weight normalisation). Karras et
    /// al., CVPR 2024, section 2.3 and appendix B; NVlabs/edm2 `MPConv`.
    "mp_linear"(x)
    pub struct MpLinear {
        /// Channels of the result.
        features: u64,
        /// Added to the root mean square of a row.
        eps: f64 = 1e-4,
    }
}

impl MpLinear {
    fn plain(&self) -> Linear {
        Linear { features: self.features, bias: false }
    }
}

impl Operator for MpLinear {
    fn infer(&self, operands: &[&Type], obligations: &mut Obligations) -> Result<Type, Misuse> {
        self.plain().infer(operands, obligations)
    }

    fn parameters(&self, operands: &[&Type]) -> Parameters {
        unit_normal(self.plain().parameters(operands))
    }

    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let x = at.operand(0)?;
        magnitude_signal(at, &Border::none(x.edge), self.eps, x.similarity)
    }

    fn signal_back(&self, at: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        magnitude_signal_back(at, gradient, &Border::none(gradient.edge), self.eps, self.features as f64)
    }

    fn flops(&self, operands: &[&[u64]], result: &[u64]) -> u64 {
        let inputs = operands.first().and_then(|shape| shape.last()).copied().unwrap_or(0);
        self.plain().flops(operands, result).saturating_add(normalization_flops(inputs, self.features))
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
        through_normalization(at, affine_flow_back(at, gradient, |dy| dy, Line::contracts))
    }
}

/// Parameters drawn from N(0, 1).
pub(super) fn unit_normal(mut parameters: Parameters) -> Parameters {
    for parameter in &mut parameters {
        parameter.default = Init::Normal { mean: 0.0, std: 1.0 };
    }
    parameters
}

/// Rows of unit length keep the mean square of any input, for directions drawn at random; `taps` is the share of a row
/// that meets the input.
pub(super) fn magnitude_signal(
    at: &Signals<'_>,
    border: &Border,
    eps: f64,
    similarity: f64,
) -> Result<Response, Unknown> {
    let row = row_length(at, eps)?;
    let similarity = similarity + 1.0 / at.size_in_result(Axis::Channel);
    let mut moments = at.operand(0)?.map(0.0, |second| row * row * second).similar(similarity);
    moments.second = zip(&moments.second, &border.taps, |second, taps| taps * second);
    moments.edge = border.edge;
    Ok(Response::fresh(moments.at_most(Class::InExpectation)))
}

/// Every element of `x` has a part in `features` rows of so many channels.
pub(super) fn magnitude_signal_back(
    at: &Signals<'_>,
    gradient: &Moments,
    border: &Border,
    eps: f64,
    features: f64,
) -> Result<Sent, Unknown> {
    let row = row_length(at, eps)?;
    let factor = row * row * features / at.channels(0);
    let mut sent = gradient.map(0.0, |second| factor * second).at_most(Class::InExpectation).tilted(1.0);
    sent.second = zip(&sent.second, &border.taps, |second, taps| taps * second);
    sent.edge = border.edge;
    Ok(smallvec![sent])
}

/// Length of a row of the normalised weight.
fn row_length(at: &Signals<'_>, eps: f64) -> Result<f64, Unknown> {
    let weight = fresh_weight(at)?;
    let rms = libm::sqrt(weight.square());
    Ok(rms / (eps + rms))
}

/// One normalisation of the weight for each sample: square, sum, divide.
pub(super) fn normalization_flops(inputs: u64, features: u64) -> u64 {
    inputs.saturating_mul(features).saturating_mul(3)
}

/// A gradient for the normalised weight as one for the weight: its part along the weight is taken out, which leaves
/// nothing centred or uniform that the weight is not.
pub(super) fn through_normalization(at: &Flow<'_>, gradients: Gradients) -> Gradients {
    let Gradients { operands, parameters } = gradients;
    let through = |(index, sent): (usize, Grid)| {
        sent.map(|row, column, facts| match at.parameter(index) {
            Some(weight) if facts.nonzero() => {
                let own = weight.at(row, column);
                let varied = own.has(Facts::POSITIONS) || own.has(Facts::CHANNELS);
                facts.or(Facts::GENERIC.when(varied))
            }
            _ => facts,
        })
    };
    Gradients { operands, parameters: parameters.into_iter().enumerate().map(through).collect() }
}
