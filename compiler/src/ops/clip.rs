//! Limits to a range.

use super::{
    Alignment, Alignments, Flow, Gradients, Misuse, Obligations, Operator, Parameters, Passage,
    number_operand, Sent};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Class, Moments, Unknown, zip};
use crate::analysis::gaussian::Expansion;
use super::signals::{Response, Signals};
use crate::operator;
use crate::types::Type;
use smallvec::smallvec;

operator! {
    /// `min(max(x, low), high)`, element by element.
    ///
    /// A guard against overflow in half precision where it lies far outside of what occurs (EDM2 clips its stream to
    /// 256); no gradient passes outside of the range.
    "clip"(x)
    pub struct Clip {
        /// Smallest value of the result.
        low: f64,
        /// Largest value of the result.
        high: f64,
    }
}

impl Clip {
    fn expansion(&self, x: &Moments) -> Expansion {
        Expansion::new(x.mean, x.variance(), |x| x.clamp(self.low, self.high))
    }
}

impl Operator for Clip {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        if self.low >= self.high {
            let message = format!("nothing lies between {} and {}", self.low, self.high);
            return Err(Misuse::new("call/arguments", message).help("`low` has to be below `high`"));
        }
        number_operand(operands, 0, "clip").cloned()
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    /// For normal values.
    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let x = at.operand(0)?;
        let f = self.expansion(&x);
        let mut moments = x.map(f.mean(), |second| f.pair(x.correlation(second))).at_most(Class::Within5);
        if let Some(own) = moments.second.first_mut() {
            *own = f.square;
        }
        Ok(Response { moments, carries: smallvec![f.slope()] })
    }

    fn signal_back(&self, at: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        let x = at.operand(0)?;
        let f = self.expansion(&x);
        let slopes = x.second.map(|second| f.slope_pair(x.correlation(second)));
        let mut sent = *gradient;
        sent.second = zip(&gradient.second, &slopes, |dy, slope| dy * slope);
        Ok(smallvec![sent.at_most(Class::Within5)])
    }

    fn flops(&self, _: &[&[u64]], result: &[u64]) -> u64 {
        2 * result.iter().product::<u64>()
    }

    fn passage(&self) -> Passage {
        Passage::Transform
    }

    fn alignments(&self, operands: &[&Type], result: &Type) -> Alignments {
        operands.iter().map(|x| Alignment::elementwise(x, result)).collect()
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        let at_zero = Facts::UNIFORM.when(self.low > 0.0 || self.high < 0.0);
        at.elementwise(|x| match x {
            // Where limits bite, a centred tensor does not stay centred.
            [x] if x.nonzero() => x.or(Facts::MEAN_POSITIONS).or(Facts::MEAN_CHANNELS).or(Facts::MEAN_ALL),
            _ => at_zero,
        })
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        let inside_at_zero = self.low <= 0.0 && self.high >= 0.0;
        let x = at.operand(0);
        Gradients::of_operands([gradient.map(|row, column, dy| {
            let x = x.at(row, column);
            if !x.nonzero() {
                return dy.when(inside_at_zero);
            }
            let mask = x.or(Facts::MEAN_POSITIONS).or(Facts::MEAN_CHANNELS).or(Facts::MEAN_ALL);
            dy.times(mask)
        })])
    }
}

#[cfg(test)]
mod tests {
    use super::{Clip, Moments};

    #[test]
    fn moments_of_a_clipped_normal() {
        // Of a standard normal clipped to one deviation: 1 - 2 density(1) - ... = 0.5161 (Johnson et al. 1994).
        let f = Clip { low: -1.0, high: 1.0 }.expansion(&Moments::unit());
        assert!(f.mean().abs() < 1e-12 && (f.square - 0.516_06).abs() < 1e-3, "{}", f.square);
        let guard = Clip { low: -256.0, high: 256.0 }.expansion(&Moments::unit());
        assert!((guard.square - 1.0).abs() < 1e-9 && (guard.slope() - 1.0).abs() < 1e-9);
    }
}
