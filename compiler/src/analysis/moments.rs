//! First and second moments of values at initialisation.
//!
//! A moment is an average over parameters, samples and elements. Each operator computes its own from those of its
//! operands; where it cannot, it says why, and everything behind it is unknown for the same reason.

use std::borrow::Cow;

/// What is known of the elements of a value at initialisation.
#[derive(Clone, Debug, PartialEq)]
pub enum Moments {
    Known {
        /// Mean of the elements.
        mean: f64,
        /// Mean of their squares.
        square: f64,
    },
    Unknown(Cow<'static, str>),
}

impl Moments {
    pub fn unknown(reason: impl Into<Cow<'static, str>>) -> Self {
        Moments::Unknown(reason.into())
    }

    pub fn known(mean: f64, square: f64) -> Self {
        Moments::Known { mean, square }
    }

    /// Zero mean, unit variance: what inputs of a denoiser are scaled to.
    pub const UNIT: Moments = Moments::Known { mean: 0.0, square: 1.0 };

    pub fn square(&self) -> Option<f64> {
        match self {
            Moments::Known { square, .. } => Some(*square),
            Moments::Unknown(_) => None,
        }
    }

    /// Applies a formula to known moments.
    pub fn map(&self, f: impl FnOnce(f64, f64) -> Moments) -> Moments {
        match self {
            Moments::Known { mean, square } => f(*mean, *square),
            Moments::Unknown(reason) => Moments::Unknown(reason.clone()),
        }
    }

    /// Applies a formula to two known moments.
    pub fn with(&self, other: &Moments, f: impl FnOnce((f64, f64), (f64, f64)) -> Moments) -> Moments {
        match (self, other) {
            (Moments::Known { mean: a, square: aa }, Moments::Known { mean: b, square: bb }) => f((*a, *aa), (*b, *bb)),
            (Moments::Unknown(reason), _) | (_, Moments::Unknown(reason)) => Moments::Unknown(reason.clone()),
        }
    }

    /// The sum of independent values.
    pub fn plus(&self, other: &Moments) -> Moments {
        self.with(other, |(a, aa), (b, bb)| Moments::known(a + b, aa + bb + 2.0 * a * b))
    }

    /// The product of independent values.
    pub fn times(&self, other: &Moments) -> Moments {
        self.with(other, |(a, aa), (b, bb)| Moments::known(a * b, aa * bb))
    }
}
