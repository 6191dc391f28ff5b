//! Which levels of noise are trained on, and how often.

use crate::ProcessError;
use crate::ranges::{finite, positive, within};
use serde::{Deserialize, Serialize};

/// How levels of noise are drawn in training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Times {
    /// All steps, or all points of the line, alike.
    Uniform,
    /// Deviations whose logarithm is normal (Karras et al. 2022, section 5).
    LogNormal {
        /// Mean of the logarithm.
        mean: f64,
        /// Its deviation.
        std: f64,
    },
    /// Points of the line from data to noise whose logit is normal (Esser et al. 2024, section 3.1).
    LogitNormal {
        /// Mean of the logit.
        mean: f64,
        /// Its deviation.
        std: f64,
    },
}

impl Times {
    /// Mean -1.2, deviation 1.2 (Karras et al. 2022, table 1).
    pub const EDM: Self = Self::LogNormal { mean: -1.2, std: 1.2 };
    /// Mean 0, deviation 1 (Esser et al. 2024, section 5.1).
    pub const SD3: Self = Self::LogitNormal { mean: 0.0, std: 1.0 };

    /// Whether its numbers make sense.
    pub fn validate(self) -> Result<(), ProcessError> {
        match self {
            Self::Uniform => Ok(()),
            Self::LogNormal { mean, std } | Self::LogitNormal { mean, std } => {
                finite("mean", mean)?;
                positive("std", std).map(|_| ())
            }
        }
    }

    /// Whether a draw is made of a unit normal number; otherwise it is made of one that is uniform from 0 to 1.
    #[must_use]
    pub fn is_normal(self) -> bool {
        match self {
            Self::Uniform => false,
            Self::LogNormal { .. } | Self::LogitNormal { .. } => true,
        }
    }

    /// What a random number draws: the deviation of the noise (`LogNormal`), or a point from 0 (data) to 1 (noise).
    pub fn drawn(self, random: f64) -> Result<f64, ProcessError> {
        self.validate()?;
        finite("a draw", random)?;
        match self {
            Self::Uniform => within("a uniform draw", random, (0.0..=1.0).contains(&random), "from 0 to 1"),
            Self::LogNormal { mean, std } => Ok(libm::exp(mean + std * random)),
            Self::LogitNormal { mean, std } => Ok(1.0 / (1.0 + libm::exp(-(mean + std * random)))),
        }
    }

    /// The numbered step that a uniform draw from 0 to 1 means.
    pub fn step(random: f64, steps: usize) -> Result<usize, ProcessError> {
        crate::ranges::steps("a schedule", steps, 1)?;
        within("a uniform draw", random, (0.0..=1.0).contains(&random), "from 0 to 1")?;
        Ok(((random * steps as f64) as usize).min(steps - 1))
    }
}
