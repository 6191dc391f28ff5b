//! Root-mean-square normalisation.

use super::group_norm::{Group, norm_signal, norm_signal_back};
use super::{
    Alignment, Alignments, Flow, Gradients, Link, Misuse, Obligations, Operator, ParameterCells, Sent,
    ParameterSpec, Parameters, Passage, Storage, channels_of,
};
use super::attention::nearest_divisors;
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Moments, Unknown};
use super::signals::{Response, Signals};
use crate::init::{Fans, Init};
use crate::operator;
use crate::types::{Kind, Type};
use smallvec::smallvec;

operator! {
    /// Brings the channels at each position to unit mean square, without centring them.
    ///
    /// `y = x / sqrt(mean(x^2) + eps) * weight`. Parameter: `weight [C / heads]`. With `heads`, so many equal parts of the
    /// channels are normalised each by itself and share one weight: how SD3.5 normalises queries and keys.
    /// Zhang & Sennrich 2019.
    "rms_norm"(x)
    pub struct RmsNorm {
        /// Added to the mean square.
        eps: f64 = 1e-6,
        /// Whether a weight for each channel follows.
        affine: bool = true,
        /// Parts of the channels that are normalised each by itself; has to divide them.
        heads: u64 = 1,
    }
}

impl RmsNorm {
    fn group(&self, at: &Signals<'_>) -> Group {
        let channels = at.channels(0) / self.heads.max(1) as f64;
        Group { channels, over_positions: false, centred: false, eps: self.eps }
    }
}

impl Operator for RmsNorm {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        let channels = channels_of(operands, 0, "rms_norm")?;
        let x = match operands {
            [x] if matches!(x.kind, Kind::Tokens | Kind::Vector) => *x,
            _ => {
                let found = operands.first().map_or_else(String::new, |x| x.to_string());
                return Err(Misuse::new("type/kind", format!("`rms_norm` acts on tokens and vectors, found {found}"))
                    .at(0)
                    .help("turn images and sequences into tokens with `to_tokens()` first"));
            }
        };
        if channels % self.heads != 0 {
            let message = format!("{channels} channels cannot be divided into {} heads", self.heads);
            let fitting = nearest_divisors(channels, self.heads);
            return Err(Misuse::new("shape/heads", message).help(format!("numbers of heads that fit: {fitting}")));
        }
        Ok(x.clone())
    }

    fn parameters(&self, operands: &[&Type]) -> Parameters {
        let channels = operands.first().and_then(|x| x.channels()).unwrap_or(0);
        if !self.affine {
            return Parameters::new();
        }
        smallvec![ParameterSpec {
            name: "weight",
            shape: vec![channels / self.heads.max(1)],
            fans: Fans { fan_in: 1, fan_out: 1 },
            default: Init::ONE,
            storage: Storage::Trained,
            cells: ParameterCells::Output,
        }]
    }

    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        norm_signal(at, self.group(at))
    }

    fn signal_back(&self, at: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        norm_signal_back(at, gradient, self.group(at))
    }

    fn flops(&self, _: &[&[u64]], result: &[u64]) -> u64 {
        result.iter().product::<u64>() * if self.affine { 4 } else { 3 }
    }

    fn passage(&self) -> Passage {
        Passage::Normalize
    }

    fn alignments(&self, operands: &[&Type], result: &Type) -> Alignments {
        operands
            .iter()
            .map(|x| {
                let aligned = Alignment::elementwise(x, result);
                // A weight that is shared by heads has no parts of its own.
                if self.heads == 1 { aligned } else { Alignment { channels: Link::Unrelated, ..aligned } }
            })
            .collect()
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        Grid::build(at.rows, at.columns, |row, column| {
            let normal = self.normal(at, row, column);
            at.parameter(0).map_or(normal, |weight| normal.times(weight.at(0, column)))
        })
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        let x = at.operand(0);
        let weighted =
            gradient.map(|_, column, dy| at.parameter(0).map_or(dy, |weight| dy.times(weight.at(0, column))));
        // dx = (dn - n mean(dn n)) / rms: the mean is the same for all channels of a head.
        let operand = x.map(|row, column, _| {
            let own = if self.heads == 1 { weighted.at(row, column) } else { weighted.row(row) };
            let scale = self.scale(x.row(row));
            let along = self.normal(at, row, column).when(weighted.row(row).nonzero());
            own.times(scale).or(along.times(scale))
        });
        let mut result = Gradients::of_operands([operand]);
        if at.parameter(0).is_some() {
            let columns = at.parameter(0).map_or(1, Grid::columns);
            let mut weight = Grid::new(1, columns);
            for row in 0..gradient.rows() {
                for column in 0..gradient.columns() {
                    let sent = self.normal(at, row, column).times(gradient.at(row, column)).sum_positions();
                    weight.add(0, column, sent);
                }
            }
            result.parameters.push(weight);
        }
        result
    }
}

impl RmsNorm {
    /// Facts of `x / rms(x)` in a cell of the result.
    fn normal(&self, at: &Flow<'_>, row: usize, column: usize) -> Facts {
        let x = at.operand(0);
        let own = if self.heads == 1 { x.at(row, column) } else { x.row(row) };
        own.times(self.scale(x.row(row)))
    }

    /// Facts of `1 / rms(x)`, from those of all channels at a row of tokens. Thanks to `eps` it is never zero.
    fn scale(&self, x: Facts) -> Facts {
        Facts::UNIFORM
            .with(Facts::POSITIONS, x.has(Facts::POSITIONS))
            .with(Facts::CHANNELS, self.heads > 1 && x.has(Facts::CHANNELS))
    }
}
