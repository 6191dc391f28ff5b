//! Magnitude-preserving linear map: the weight is normalised at every use.

use super::linear::{affine_flow, affine_flow_back};
use super::{
    Alignment, Alignments, Flow, Gradients, Link, Linear, Misuse, Obligations, Operator, ParameterMoments, Parameters,
    Passage,
};
use crate::analysis::liveness::facts::{Facts, Grid, Line};
use crate::analysis::moments::Moments;
use crate::init::Init;
use crate::operator;
use crate::types::Type;
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

    fn moments(&self, _: &[&Type], operands: &[Moments], parameters: &[ParameterMoments]) -> Moments {
        magnitude_moments(1.0, self.eps, operands, parameters)
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
pub(super) fn magnitude_moments(taps: f64, eps: f64, operands: &[Moments], parameters: &[ParameterMoments]) -> Moments {
    let (Some(x), Some(weight)) = (operands.first(), parameters.first()) else {
        return Moments::unknown("an operand is missing");
    };
    if weight.mean != 0.0 {
        return Moments::unknown("weights with a mean correlate the channels");
    }
    let rms = libm::sqrt(weight.square());
    let row = rms / (eps + rms);
    x.map(|_, square| Moments::known(0.0, taps * row * row * square))
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
