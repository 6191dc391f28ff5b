//! How much signal and how much noise a value holds.

use crate::ProcessError;
use crate::ranges::within;
use serde::{Deserialize, Serialize};

/// A noisy value is `signal · x0 + noise · n`, with `x0` the data and `n` unit normal noise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// Factor of the data.
    pub signal: f64,
    /// Factor of the noise.
    pub noise: f64,
}

/// How signal and noise share the magnitude of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// `signal² + noise² = 1` (Ho et al. 2020): values keep the variance of unit data.
    VariancePreserving,
    /// `signal = 1` (Song & Ermon 2019; Karras et al. 2022): noise of deviation sigma is added to the data.
    VarianceExploding,
    /// `signal + noise = 1` (Liu et al. 2023): the straight line from data to noise.
    Flow,
}

impl Level {
    /// The level of a chain with the product `kept` of `1 - beta`.
    pub fn variance_preserving(kept: f64) -> Result<Self, ProcessError> {
        within("alpha_bar", kept, (0.0..=1.0).contains(&kept), "from 0 to 1")?;
        Ok(Self { signal: kept.sqrt(), noise: (1.0 - kept).sqrt() })
    }

    /// Data with noise of deviation `sigma`.
    #[must_use]
    pub fn variance_exploding(sigma: f64) -> Self {
        Self { signal: 1.0, noise: sigma }
    }

    /// The point `at` of the straight line from data (0) to noise (1).
    #[must_use]
    pub fn flow(at: f64) -> Self {
        Self { signal: 1.0 - at, noise: at }
    }

    /// Deviation of the noise relative to the data; infinite where no signal is left.
    #[must_use]
    pub fn sigma(self) -> f64 {
        if self.signal == 0.0 { f64::INFINITY } else { self.noise / self.signal }
    }

    /// Signal-to-noise ratio, `(signal / noise)²`; infinite where there is no noise.
    #[must_use]
    pub fn snr(self) -> f64 {
        if self.noise == 0.0 {
            return f64::INFINITY;
        }
        let ratio = self.signal / self.noise;
        ratio * ratio
    }

    /// The level with the same signal-to-noise ratio on another scale.
    pub fn on(self, scale: Scale) -> Result<Self, ProcessError> {
        let sigma = self.sigma();
        match scale {
            Scale::VarianceExploding if sigma.is_infinite() => Err(ProcessError::NoSignal),
            Scale::VarianceExploding => Ok(Self::variance_exploding(sigma)),
            Scale::VariancePreserving | Scale::Flow if sigma.is_infinite() => Ok(Self { signal: 0.0, noise: 1.0 }),
            Scale::VariancePreserving => {
                let signal = 1.0 / libm::hypot(1.0, sigma);
                Ok(Self { signal, noise: sigma * signal })
            }
            Scale::Flow => {
                let signal = 1.0 / (1.0 + sigma);
                Ok(Self { signal, noise: sigma * signal })
            }
        }
    }

    /// What a value of this level is multiplied by to become one of `other`, which has the same ratio of signal to
    /// noise.
    #[must_use]
    pub fn factor_to(self, other: Self) -> f64 {
        if self.noise > self.signal { other.noise / self.noise } else { other.signal / self.signal }
    }
}
