//! Sinusoidal features of numbers.

use super::{
    Alignment, Alignments, Flow, Gradients, Link, Misuse, Obligations, Operator, Parameters, Passage, Sent,
};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Class, Moments, Unknown};
use super::signals::{Response, Signals};
use crate::dim::Dim;
use crate::operator;
use crate::types::{Axis, Kind, Type};

crate::choice! {
    /// Which half comes first.
    pub enum SinusoidOrder {
        /// Cosines, then sines: DiT, SD, guided-diffusion.
        CosFirst = "cos_first",
        /// Sines, then cosines: DDPM.
        SinFirst = "sin_first",
    }
}

operator! {
    /// Sines and cosines of a number at geometrically spaced frequencies: `timestep -> vector[features]`.
    ///
    /// Of several numbers, one token for each: `vector[n] -> tokens[n, features]`, `tokens[n, 1] -> tokens[n, features]`.
    /// With `half = features / 2`, frequency `i` is `max_period ^ (-i / (half - shift))` for `i` in `0..half`.
    /// Vaswani et al. 2017; `shift: 1` and sines first in hojonathanho/diffusion, `shift: 0` and cosines first in
    /// facebookresearch/DiT. Frequencies and products are computed in f32, as upstream does.
    "sinusoid"(t)
    pub struct Sinusoid {
        /// Channels for each number; an even number.
        features: u64,
        /// The longest period is this times 2 pi.
        max_period: f64 = 10000.0,
        /// Subtracted from the number of frequencies in the exponent.
        shift: f64 = 0.0,
        /// Which half comes first.
        order: SinusoidOrder = SinusoidOrder::CosFirst,
    }
}

impl Operator for Sinusoid {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        if !self.features.is_multiple_of(2) {
            let message = format!("sinusoids come in pairs; {} features are odd", self.features);
            return Err(Misuse::new("shape/remainder", message));
        }
        if (self.features / 2) as f64 <= self.shift {
            let message = format!("{} features leave no frequency for a shift of {}", self.features, self.shift);
            return Err(Misuse::new("shape/range", message));
        }
        match operands {
            [t] if t.kind.is_scalar() => Ok(Type::vector(self.features).with_batch(t.batch.clone())),
            [t] if t.kind == Kind::Vector => {
                let dims = t.dims.iter().cloned().chain([Dim::Known(self.features)]);
                Ok(Type::new(Kind::Tokens, dims).with_batch(t.batch.clone()))
            }
            [t] if t.kind == Kind::Tokens && t.channels() == Some(1) => {
                Ok((*t).clone().with(Axis::Channel, self.features.into()))
            }
            _ => {
                let found = operands.first().map_or_else(String::new, |t| t.to_string());
                let message = format!("`sinusoid` needs a number, a vector or tokens of one channel, found {found}");
                Err(Misuse::new("type/kind", message).at(0))
            }
        }
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    /// For times uniform on 0..1000. The mean square is exactly 1/2 for any time.
    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        // Evenly spaced ones stand for all where there are many.
        let half = (self.features / 2) as f64;
        let count = (self.features / 2).min(4096);
        let mean_of = |at: u64| {
            let at = at as f64 * half / count as f64;
            let frequency = libm::pow(self.max_period, -at / (half - self.shift));
            let end = 1000.0 * frequency;
            (libm::sin(end) + 1.0 - libm::cos(end)) / end / 2.0
        };
        let mean = (0..count).map(mean_of).sum::<f64>() / count as f64;
        let moments = Moments::uniform(mean, 0.5);
        // Several numbers need not be times, and need not be alike.
        let several = at.result.kind == Kind::Tokens;
        Ok(Response::fresh(if several { moments.at_most(Class::Factor2) } else { moments }))
    }

    /// Slopes grow with the frequency, up to 1 per step of time.
    fn signal_back(&self, _: &Signals<'_>, _: &Moments) -> Result<Sent, Unknown> {
        Err(Unknown::because("gradients of times are not predicted"))
    }

    fn flops(&self, _: &[&[u64]], result: &[u64]) -> u64 {
        2 * result.iter().product::<u64>()
    }

    fn passage(&self) -> Passage {
        Passage::Source
    }

    fn alignments(&self, operands: &[&Type], result: &Type) -> Alignments {
        let aligned = |t: &&Type| Alignment { channels: Link::Unrelated, ..Alignment::elementwise(t, result) };
        operands.iter().map(aligned).collect()
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        // The cosines of zero are one.
        Grid::filled(at.rows, at.columns, Facts::GENERIC)
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        let (t, live) = (at.operand(0), gradient.any_nonzero() && at.operand(0).any_nonzero());
        Gradients::of_operands([Grid::filled(t.rows(), t.columns(), Facts::GENERIC.when(live))])
    }
}
