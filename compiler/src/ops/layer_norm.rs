//! Layer normalisation.

use super::group_norm::{norm_flops, norm_flow, norm_flow_back, norm_signal, norm_signal_back, Group, norm_parameters};
use super::{
    Alignment, Alignments, Flow, Gradients, Misuse, Obligations, Operator, Parameters, Passage,
    channels_of, Sent};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Moments, Unknown};
use super::signals::{Response, Signals};
use crate::operator;
use crate::types::{Kind, Type};

operator! {
    /// Normalises the channels at each position to zero mean and unit variance.
    ///
    /// `y = (x - mean) / sqrt(variance + eps) * weight + bias`. Parameters: `weight [C]`, `bias [C]`.
    /// Ba, Kiros & Hinton 2016.
    "layer_norm"(x)
    pub struct LayerNorm {
        /// Added to the variance.
        eps: f64 = 1e-5,
        /// Whether a weight and a bias for each channel follow.
        affine: bool = true,
    }
}

impl Operator for LayerNorm {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        channels_of(operands, 0, "layer_norm")?;
        match operands {
            [x] if matches!(x.kind, Kind::Tokens | Kind::Vector) => Ok((*x).clone()),
            _ => {
                let found = operands.first().map_or_else(String::new, |x| x.to_string());
                Err(Misuse::new("type/kind", format!("`layer_norm` acts on tokens and vectors, found {found}"))
                    .at(0)
                    .help("images are normalised with `group_norm`, or turned into tokens with `to_tokens()` first"))
            }
        }
    }

    fn parameters(&self, operands: &[&Type]) -> Parameters {
        norm_parameters(operands, self.affine)
    }

    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        norm_signal(at, Group { channels: at.channels(0), over_positions: false, centred: true, eps: self.eps })
    }

    fn signal_back(&self, at: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        norm_signal_back(at, gradient, Group { channels: at.channels(0), over_positions: false, centred: true, eps: self.eps })
    }

    fn flops(&self, _: &[&[u64]], result: &[u64]) -> u64 {
        norm_flops(result, self.affine)
    }

    fn passage(&self) -> Passage {
        Passage::Normalize
    }

    fn alignments(&self, operands: &[&Type], result: &Type) -> Alignments {
        operands.iter().map(|x| Alignment::elementwise(x, result)).collect()
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        norm_flow(at, |row| normalized(at.operand(0).row(row), at.columns > 1))
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        let x = at.operand(0);
        let cut = x.columns() > 1;
        let normal_gradient = match at.parameter(0) {
            Some(weight) => gradient.map(|_, column, dy| dy.times(weight.at(0, column))),
            None => gradient.clone(),
        };
        norm_flow_back(at, gradient, |row| normalized(x.row(row), cut), |row, _| {
            // dx = (dn - mean(dn) - n mean(dn n)) / sigma at each position: its sum over the channels is zero.
            let (line, x) = (normal_gradient.row(row), x.row(row));
            let varies = |fact| line.has(fact) || x.has(fact);
            let mean_over_positions = x.has(Facts::POSITIONS) || line.has(Facts::MEAN_POSITIONS);
            Facts::NONZERO
                .with(Facts::POSITIONS, varies(Facts::POSITIONS))
                .with(Facts::CHANNELS, true)
                .with(Facts::MEAN_POSITIONS, mean_over_positions)
                .with(Facts::MEAN_CHANNELS, cut)
                .with(Facts::MEAN_ALL, cut && mean_over_positions)
                .when(line.has(Facts::CHANNELS))
        })
    }
}

/// Facts of `(x - mean) / sigma` over the channels of each position. Where channels are cut into parts, a part by
/// itself is not centred.
fn normalized(x: Facts, cut: bool) -> Facts {
    Facts::NONZERO
        .with(Facts::POSITIONS, x.has(Facts::POSITIONS))
        .with(Facts::CHANNELS, true)
        .with(Facts::MEAN_POSITIONS, true)
        .with(Facts::MEAN_CHANNELS, cut)
        .with(Facts::MEAN_ALL, cut)
        .when(x.has(Facts::CHANNELS))
}
