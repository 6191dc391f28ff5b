//! What a network says about a noisy value.

use crate::{Field, Level, ProcessError};
use serde::{Deserialize, Serialize};

/// What the output of a network stands for. A noisy value is `x = a · x0 + b · n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prediction {
    /// The noise `n` (Ho et al. 2020).
    Eps,
    /// The data `x0`.
    X0,
    /// The velocity along the circle, `a · n - b · x0` (Salimans & Ho 2022, appendix D).
    V,
    /// The velocity along the straight line, `n - x0` (Liu et al. 2023).
    Flow,
}

impl Prediction {
    /// Names in a spec.
    pub const NAMES: [&'static str; 4] = ["eps", "x0", "v", "flow"];

    /// The prediction with a name.
    pub fn named(name: &str) -> Result<Self, ProcessError> {
        match name {
            "eps" => Ok(Self::Eps),
            "x0" => Ok(Self::X0),
            "v" => Ok(Self::V),
            "flow" => Ok(Self::Flow),
            other => {
                Err(ProcessError::Unknown { what: "prediction", name: other.to_owned(), known: Self::NAMES.to_vec() })
            }
        }
    }

    /// Its name in a spec.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Eps => "eps",
            Self::X0 => "x0",
            Self::V => "v",
            Self::Flow => "flow",
        }
    }

    /// `(p, q)` such that what the network should say is `p · x0 + q · n`.
    #[must_use]
    pub fn target(self, at: Level) -> (f64, f64) {
        match self {
            Self::Eps => (0.0, 1.0),
            Self::X0 => (1.0, 0.0),
            Self::V => (-at.noise, at.signal),
            Self::Flow => (-1.0, 1.0),
        }
    }

    /// `(p, q)` such that the data is `p · x + q · output`.
    pub fn data(self, at: Level) -> Result<(f64, f64), ProcessError> {
        match self {
            Self::X0 => Ok((0.0, 1.0)),
            Self::Eps | Self::V | Self::Flow => {
                let (p, q) = self.target(at);
                // x = a x0 + b n and output = p x0 + q n, solved for x0.
                let determinant = at.signal * q - at.noise * p;
                if determinant == 0.0 {
                    return Err(ProcessError::NoSignal);
                }
                Ok((q / determinant, -at.noise / determinant))
            }
        }
    }

    /// `(p, q)` such that the noise is `p · x + q · output`.
    pub fn noise(self, at: Level) -> Result<(f64, f64), ProcessError> {
        match self {
            Self::Eps => Ok((0.0, 1.0)),
            Self::X0 | Self::V | Self::Flow => {
                let (p, q) = self.target(at);
                let determinant = at.signal * q - at.noise * p;
                if determinant == 0.0 {
                    return Err(ProcessError::NoNoise);
                }
                Ok((-p / determinant, at.signal / determinant))
            }
        }
    }

    /// What the network should say.
    pub fn target_of<T: Field>(self, x0: &T, noise: &T, at: Level) -> T {
        let (p, q) = self.target(at);
        T::combine(p, x0, q, noise)
    }

    /// The data that an output means.
    pub fn data_of<T: Field>(self, x: &T, output: &T, at: Level) -> Result<T, ProcessError> {
        let (p, q) = self.data(at)?;
        Ok(T::combine(p, x, q, output))
    }

    /// The noise that an output means.
    pub fn noise_of<T: Field>(self, x: &T, output: &T, at: Level) -> Result<T, ProcessError> {
        let (p, q) = self.noise(at)?;
        Ok(T::combine(p, x, q, output))
    }
}
