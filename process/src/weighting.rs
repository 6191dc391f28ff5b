//! How much the loss of each level of noise counts.

use crate::ranges::{not_negative, positive, within};
use crate::{Level, Precondition, Prediction, ProcessError};
use serde::{Deserialize, Serialize};

/// How much the squared error of a network's output counts at each level of noise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// All levels alike.
    Uniform,
    /// The error of the data times `min(SNR, gamma)` (Hang et al. 2023, section 3.4).
    MinSnr {
        /// Largest weight of an error of the data; the paper has 5.
        gamma: f64,
    },
    /// The error of the noise times `(k + SNR)^-gamma` (Choi et al. 2022, equation 8).
    P2 {
        /// Keeps the weight finite; the paper has 1.
        k: f64,
        /// How strongly nearly clean values are weighted down; the paper has 1 and 0.5.
        gamma: f64,
    },
    /// The error of the data times `(sigma² + sigma_data²) / (sigma · sigma_data)²`, which makes the error of a
    /// preconditioned network's output count alike at all levels (Karras et al. 2022, table 1).
    Edm {
        /// Standard deviation of the data.
        sigma_data: f64,
    },
    /// The error of the velocity along the straight line times `1 / noise²` (Esser et al. 2024, section 3.1).
    SigmaSqrt,
    /// The error of the velocity along the straight line times `2 / (pi (signal² + noise²))`, the density of a cosine
    /// schedule (Esser et al. 2024, section 3.1).
    Cosmap,
}

impl Weighting {
    /// Whether its numbers make sense.
    pub fn validate(self) -> Result<(), ProcessError> {
        match self {
            Self::Uniform | Self::SigmaSqrt | Self::Cosmap => Ok(()),
            Self::MinSnr { gamma } => positive("gamma", gamma).map(|_| ()),
            Self::P2 { k, gamma } => {
                positive("k", k)?;
                not_negative("gamma", gamma).map(|_| ())
            }
            Self::Edm { sigma_data } => positive("sigma_data", sigma_data).map(|_| ()),
        }
    }

    /// The deviation of the data that it is made for.
    #[must_use]
    pub fn sigma_data(self) -> Option<f64> {
        if let Self::Edm { sigma_data } = self { Some(sigma_data) } else { None }
    }

    /// The weight of the squared error of a network's output.
    ///
    /// Weightings that are stated for another prediction are carried over: an error of the output is `q` times as large
    /// an error of the data, with `q` from [`Prediction::data`].
    pub fn weight(self, prediction: Prediction, at: Level) -> Result<f64, ProcessError> {
        self.validate()?;
        let snr = at.snr();
        let of_data = |weight: f64| {
            let (_, q) = prediction.data(at)?;
            Ok(weight * q * q)
        };
        let weight = match self {
            Self::Uniform => 1.0,
            // The quotients are taken apart where one of their terms is infinite.
            Self::MinSnr { gamma } if snr.is_finite() => of_data(snr.min(gamma))?,
            Self::MinSnr { gamma } => of_data(gamma)?,
            Self::P2 { k, gamma } => {
                let (_, q) = prediction.noise(at)?;
                libm::pow(k + snr, -gamma) * q * q
            }
            Self::Edm { sigma_data } => {
                let sigma = at.sigma();
                let relative = (sigma / sigma_data) * (sigma / sigma_data);
                let weight = if sigma.is_finite() {
                    (1.0 + relative) / (sigma * sigma)
                } else {
                    1.0 / (sigma_data * sigma_data)
                };
                of_data(weight)?
            }
            Self::SigmaSqrt => prediction.per_velocity(at)? / (at.noise * at.noise),
            Self::Cosmap => {
                let density = at.signal * at.signal + at.noise * at.noise;
                prediction.per_velocity(at)? * 2.0 / (std::f64::consts::PI * density)
            }
        };
        within("the weight of the loss", weight, weight.is_finite(), "finite at every level of noise")
    }

    /// The weight of the squared error of a preconditioned network's own output, where the loss is that of a prediction.
    pub fn weight_inside(
        self,
        prediction: Prediction,
        precondition: Precondition,
        at: Level,
    ) -> Result<f64, ProcessError> {
        let weight = self.weight(prediction, at)?;
        let (_, q) = prediction.data(at)?;
        Ok(precondition.at(at)?.map_or(weight, |c| weight * (c.out / q) * (c.out / q)))
    }
}

impl Prediction {
    /// The square of the error of the velocity along the straight line, relative to that of the output.
    fn per_velocity(self, at: Level) -> Result<f64, ProcessError> {
        let ((_, data), (_, noise)) = (self.data(at)?, self.noise(at)?);
        Ok((noise - data) * (noise - data))
    }
}
