//! Limits to a range.

use super::{
    Alignment, Alignments, Flow, Gradients, Misuse, Obligations, Operator, ParameterMoments, Parameters, Passage,
    number_operand,
};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::Moments;
use crate::operator;
use crate::types::Type;

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
    fn moments(&self, _: &[&Type], operands: &[Moments], _: &[ParameterMoments]) -> Moments {
        let Some(x) = operands.first() else { return Moments::unknown("an operand is missing") };
        x.map(|mean, square| {
            let std = libm::sqrt((square - mean * mean).max(0.0));
            let (below, above) = (tail(mean, std, self.low), tail(-mean, std, -self.high));
            // What the two tails hold is replaced by the limits.
            Moments::known(
                mean + below.mass * self.low - below.first + above.mass * self.high + above.first,
                square + below.mass * self.low * self.low - below.second + above.mass * self.high * self.high
                    - above.second,
            )
        })
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

/// Mass and first two moments of a normal distribution below a limit.
struct Tail {
    mass: f64,
    first: f64,
    second: f64,
}

fn tail(mean: f64, std: f64, limit: f64) -> Tail {
    if std == 0.0 {
        let inside = if mean < limit { 1.0 } else { 0.0 };
        return Tail { mass: inside, first: inside * mean, second: inside * mean * mean };
    }
    let z = (limit - mean) / std;
    let mass = 0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2);
    let density = libm::exp(-0.5 * z * z) / libm::sqrt(2.0 * std::f64::consts::PI);
    Tail {
        mass,
        first: mean * mass - std * density,
        second: (mean * mean + std * std) * mass - std * (mean + limit) * density,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clipped(low: f64, high: f64, mean: f64, square: f64) -> (f64, f64) {
        match (Clip { low, high }).moments(&[], &[Moments::known(mean, square)], &[]) {
            Moments::Known { mean, square } => (mean, square),
            Moments::Unknown(reason) => panic_free(&reason),
        }
    }

    fn panic_free(reason: &str) -> (f64, f64) {
        assert_eq!(reason, "", "moments are known");
        (f64::NAN, f64::NAN)
    }

    /// Against a sum over a fine grid.
    #[test]
    fn moments_of_a_clipped_normal() {
        for (low, high, mean, std) in [(-1.0, 1.0, 0.0, 1.0), (-0.5, 2.0, 0.7, 1.3), (-256.0, 256.0, 0.1, 2.0)] {
            let (mut weight, mut first, mut second) = (0.0, 0.0, 0.0);
            for step in -4000..=4000 {
                let z = f64::from(step) / 500.0;
                let density = libm::exp(-0.5 * z * z);
                let value = (mean + std * z).clamp(low, high);
                weight += density;
                first += density * value;
                second += density * value * value;
            }
            let (got_mean, got_square) = clipped(low, high, mean, mean * mean + std * std);
            assert!((got_mean - first / weight).abs() < 1e-5, "mean {got_mean}");
            assert!((got_square - second / weight).abs() < 1e-4, "square {got_square}");
        }
        assert_eq!(clipped(-1.0, 1.0, 3.0, 9.0), (1.0, 1.0));
    }
}
