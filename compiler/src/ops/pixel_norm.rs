//! Normalisation of magnitude at each position.

use super::group_norm::norm_flops;
use super::{
    Alignment, Alignments, Flow, Gradients, Misuse, Obligations, Operator, Parameters, Passage,
    channels_of, Sent};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Class, Moments, Unknown};
use super::signals::{Response, Signals};
use crate::operator;
use crate::types::Type;
use smallvec::smallvec;

operator! {
    /// Divides the channels at each position by their root mean square: `y = x / (eps + sqrt(mean(x^2)))`.
    ///
    /// On images, tokens and vectors, without parameters. With `groups`, each group of neighbouring channels by itself:
    /// with as many as there are heads it normalises queries and keys. Karras et al., ICLR 2018 (pixel norm); with eps
    /// outside of the root, as here, NVlabs/edm2 `normalize`.
    "pixel_norm"(x)
    pub struct PixelNorm {
        /// Number of groups; has to divide the channels.
        groups: u64 = 1,
        /// Added to the root mean square.
        eps: f64 = 1e-4,
    }
}

impl PixelNorm {
    fn scale(&self, x: &Moments) -> f64 {
        1.0 / (self.eps + libm::sqrt(x.square()))
    }
}

impl Operator for PixelNorm {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        let channels = channels_of(operands, 0, "pixel_norm")?;
        if channels % self.groups != 0 {
            let message = format!("{channels} channels cannot be divided into {} groups", self.groups);
            return Err(Misuse::new("shape/groups", message).at(0));
        }
        operands.first().map(|x| (*x).clone()).ok_or_else(|| Misuse::new("type/kind", "`pixel_norm` lacks x"))
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    /// Unit magnitude, up to eps.
    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let x = at.operand(0)?;
        let scale = self.scale(&x);
        let moments = Moments { edge: 1.0, uneven: 0.0, ..x.scaled(scale).at_most(Class::Within5) };
        Ok(Response { moments, carries: smallvec![scale] })
    }

    /// `(dy - y mean(dy y)) / rms`
    fn signal_back(&self, at: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        let channels = at.channels(0) / self.groups.max(1) as f64;
        let factor = self.scale(&at.operand(0)?) * libm::sqrt((1.0 - 1.0 / channels).max(0.0));
        Ok(smallvec![gradient.scaled(factor).at_most(Class::Within5)])
    }

    fn flops(&self, _: &[&[u64]], result: &[u64]) -> u64 {
        norm_flops(result, false) / 2
    }

    fn passage(&self) -> Passage {
        Passage::Normalize
    }

    fn alignments(&self, operands: &[&Type], result: &Type) -> Alignments {
        operands.iter().map(|x| Alignment::elementwise(x, result)).collect()
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        let x = at.operand(0);
        Grid::build(at.rows, at.columns, |row, column| {
            let (own, line) = (x.at(row, column), x.row(row));
            // Dividing each position by its own number keeps a mean over channels zero, but none over positions.
            let varied = line.has(Facts::POSITIONS);
            let mean = own.has(Facts::MEAN_CHANNELS) || self.groups > 1 && own.has(Facts::CHANNELS);
            own.with(Facts::POSITIONS, own.nonzero() && varied)
                .with(Facts::MEAN_POSITIONS, own.nonzero() && varied)
                .with(Facts::MEAN_CHANNELS, mean)
                .with(Facts::MEAN_ALL, mean && (varied || own.has(Facts::MEAN_ALL)))
        })
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        // dx = (dy - n mean(dy n)) / rms, up to eps, which keeps the direction of x alive.
        let x = at.operand(0);
        Gradients::of_operands([x.map(|row, column, own| {
            let (dy, line, x_line) = (gradient.at(row, column), gradient.row(row), x.row(row));
            if !x_line.nonzero() {
                return dy;
            }
            let reached = dy.nonzero() || line.nonzero() && own.nonzero();
            let varied = line.has(Facts::POSITIONS) || x_line.has(Facts::POSITIONS);
            let mean = dy.has(Facts::MEAN_CHANNELS)
                || x_line.has(Facts::CHANNELS) && (own.has(Facts::MEAN_CHANNELS) || self.groups > 1);
            let over_positions = x_line.has(Facts::POSITIONS) || line.has(Facts::MEAN_POSITIONS);
            Facts::NONZERO
                .with(Facts::POSITIONS, varied)
                .with(Facts::CHANNELS, line.has(Facts::CHANNELS) || x_line.has(Facts::CHANNELS))
                .with(Facts::MEAN_POSITIONS, over_positions)
                .with(Facts::MEAN_CHANNELS, mean)
                .with(Facts::MEAN_ALL, mean && over_positions)
                .when(reached)
        })])
    }
}
