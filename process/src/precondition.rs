//! What stands around a network so that its input and its target keep unit variance.

use crate::ranges::positive;
use crate::{Level, ProcessError, Scale};
use serde::{Deserialize, Serialize};

/// What stands around a network: the data is predicted as `skip · x + out · F(input · x, noise)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precondition {
    /// Nothing.
    None,
    /// The coefficients of EDM (Karras et al. 2022, table 1), for data of deviation `sigma_data` to which noise of
    /// deviation sigma is added.
    Edm {
        /// Standard deviation of the data.
        sigma_data: f64,
    },
}

/// The coefficients at one level of noise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coefficients {
    /// Factor of the noisy value in the prediction of the data.
    pub skip: f64,
    /// Factor of the network's output.
    pub out: f64,
    /// Factor of the network's input.
    pub input: f64,
    /// What the network is told about the noise.
    pub noise: f64,
}

impl Precondition {
    /// The deviation of EDM's data (Karras et al. 2022, section 5).
    pub const EDM: Self = Self::Edm { sigma_data: 0.5 };

    /// Whether its numbers make sense.
    pub fn validate(self) -> Result<(), ProcessError> {
        match self {
            Self::None => Ok(()),
            Self::Edm { sigma_data } => positive("sigma_data", sigma_data).map(|_| ()),
        }
    }

    /// The deviation of the data that it is made for.
    #[must_use]
    pub fn sigma_data(self) -> Option<f64> {
        match self {
            Self::None => None,
            Self::Edm { sigma_data } => Some(sigma_data),
        }
    }

    /// The coefficients for noise of deviation `sigma`, or none where nothing stands around the network.
    pub fn coefficients(self, sigma: f64) -> Result<Option<Coefficients>, ProcessError> {
        self.validate()?;
        match self {
            Self::None => Ok(None),
            Self::Edm { sigma_data } => {
                positive("sigma", sigma)?;
                let total = libm::hypot(sigma, sigma_data);
                Ok(Some(Coefficients {
                    skip: (sigma_data / total) * (sigma_data / total),
                    out: sigma * sigma_data / total,
                    input: 1.0 / total,
                    noise: libm::log(sigma) / 4.0,
                }))
            }
        }
    }

    /// The coefficients at a level, whose scale has to be the one that they are made for.
    pub fn at(self, level: Level) -> Result<Option<Coefficients>, ProcessError> {
        match self {
            Self::None => Ok(None),
            Self::Edm { .. } => self.coefficients(level.on(Scale::VarianceExploding)?.noise),
        }
    }
}
