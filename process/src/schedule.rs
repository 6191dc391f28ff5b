//! Which levels of noise there are.

use crate::ranges::{ascending, not_negative, positive, steps, within};
use crate::{Chain, Level, ProcessError, Scale};
use serde::{Deserialize, Serialize};

/// A noise schedule.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Numbered steps; the network is told the number.
    Steps {
        /// How the variances of the steps go.
        curve: Curve,
        /// Number of steps the network was trained on.
        steps: usize,
        /// Whether the chain is stretched so that it ends in pure noise (Lin et al. 2024).
        zero_terminal_snr: bool,
    },
    /// Noise whose deviation grows in equal ratios (Song et al. 2021, section 3.4).
    Ve {
        /// Smallest deviation, relative to the data.
        sigma_min: f64,
        /// Largest deviation.
        sigma_max: f64,
    },
    /// Noise levels of EDM (Karras et al. 2022, equation 5).
    Edm {
        /// Smallest deviation, relative to the data.
        sigma_min: f64,
        /// Largest deviation.
        sigma_max: f64,
        /// How strongly sampling steps crowd at low noise; 1 spaces them evenly.
        rho: f64,
    },
    /// The straight line from data to noise (Liu et al. 2023), its middle moved towards noise by `shift` (Esser et al.
    /// 2024, equation 23).
    Flow {
        /// Factor of the ratio of noise to data; 1 leaves the line as it is.
        shift: f64,
        /// What the network is told at pure noise: times run from 0 to this.
        steps: usize,
    },
}

/// How the variances of numbered steps go.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Curve {
    /// In equal distances (Ho et al. 2020).
    Linear {
        /// Variance of the first step.
        start: f64,
        /// Variance of the last step.
        end: f64,
    },
    /// The square of equal distances (Rombach et al. 2022).
    ScaledLinear {
        /// Variance of the first step.
        start: f64,
        /// Variance of the last step.
        end: f64,
    },
    /// So that what is kept goes like a squared cosine (Nichol & Dhariwal 2021, equation 17).
    Cosine {
        /// Keeps the first steps from being too small.
        offset: f64,
        /// Largest variance of a step.
        largest: f64,
    },
}

impl Curve {
    /// 1e-4 to 0.02 (Ho et al. 2020, section 4).
    pub const LINEAR: Self = Self::Linear { start: 1e-4, end: 0.02 };
    /// 0.00085 to 0.012 (configuration of the released latent diffusion models).
    pub const SCALED_LINEAR: Self = Self::ScaledLinear { start: 0.000_85, end: 0.012 };
    /// Offset 0.008, variances of at most 0.999 (Nichol & Dhariwal 2021, section 3.2).
    pub const COSINE: Self = Self::Cosine { offset: 0.008, largest: 0.999 };

    /// Variances of so many steps.
    pub fn betas(self, count: usize) -> Result<Vec<f64>, ProcessError> {
        steps("a schedule", count, 1)?;
        match self {
            Self::Linear { start, end } => {
                in_order(start, end)?;
                Ok(line(start, end, count).collect())
            }
            Self::ScaledLinear { start, end } => {
                in_order(start, end)?;
                Ok(line(start.sqrt(), end.sqrt(), count).map(|root| root * root).collect())
            }
            Self::Cosine { offset, largest } => {
                positive("offset", offset)?;
                within("largest", largest, largest > 0.0 && largest < 1.0, "above 0 and below 1")?;
                let kept = |step: usize| squared_cosine(step as f64 / count as f64, offset);
                Ok((0..count).map(|step| (1.0 - kept(step + 1) / kept(step)).min(largest)).collect())
            }
        }
    }
}

impl Schedule {
    /// A thousand steps along a curve.
    #[must_use]
    pub fn of(curve: Curve) -> Self {
        Self::Steps { curve, steps: 1000, zero_terminal_snr: false }
    }

    /// Deviations 0.01 to 50 (Song et al. 2021, appendix C, for 32 × 32 images).
    pub const VE: Self = Self::Ve { sigma_min: 0.01, sigma_max: 50.0 };
    /// Deviations 0.002 to 80, rho 7 (Karras et al. 2022, table 1).
    pub const EDM: Self = Self::Edm { sigma_min: 0.002, sigma_max: 80.0, rho: 7.0 };
    /// The straight line, told as 0 to 1000.
    pub const FLOW: Self = Self::Flow { shift: 1.0, steps: 1000 };

    /// Whether its numbers make sense.
    pub fn validate(self) -> Result<(), ProcessError> {
        match self {
            Self::Steps { .. } => self.chain().map(|_| ()),
            Self::Ve { sigma_min, sigma_max } => ascending(("sigma_min", sigma_min), ("sigma_max", sigma_max)),
            Self::Edm { sigma_min, sigma_max, rho } => {
                ascending(("sigma_min", sigma_min), ("sigma_max", sigma_max))?;
                positive("rho", rho).map(|_| ())
            }
            Self::Flow { shift, steps: count } => {
                positive("shift", shift)?;
                steps("a schedule", count, 1).map(|_| ())
            }
        }
    }

    /// Its numbered steps, if it has them.
    pub fn chain(self) -> Result<Chain, ProcessError> {
        match self {
            Self::Steps { curve, steps, zero_terminal_snr } => {
                let chain = Chain::of_betas(curve.betas(steps)?)?;
                if zero_terminal_snr { chain.with_zero_terminal_snr() } else { Ok(chain) }
            }
            Self::Ve { .. } | Self::Edm { .. } | Self::Flow { .. } => {
                Err(ProcessError::Contradiction("this schedule has no numbered steps".to_owned()))
            }
        }
    }

    /// The scale that the network sees its input on.
    #[must_use]
    pub fn scale(self) -> Scale {
        match self {
            Self::Steps { .. } => Scale::VariancePreserving,
            Self::Ve { .. } | Self::Edm { .. } => Scale::VarianceExploding,
            Self::Flow { .. } => Scale::Flow,
        }
    }

    /// `count` levels from the least to the most noise, in the distances that the schedule has.
    pub fn levels(self, count: usize) -> Result<Vec<Level>, ProcessError> {
        self.validate()?;
        steps("a sweep", count, 2)?;
        let at = |index: usize| index as f64 / (count - 1) as f64;
        match self {
            Self::Steps { .. } => {
                let chain = self.chain()?;
                let last = (chain.len() - 1) as f64;
                (0..count).map(|index| chain.level((at(index) * last).round_ties_even() as usize)).collect()
            }
            Self::Ve { sigma_min, sigma_max } => Ok((0..count)
                .map(|index| Level::variance_exploding(geometric(sigma_min, sigma_max, at(index))))
                .collect()),
            Self::Edm { sigma_min, sigma_max, rho } => {
                let mut sigmas = karras(sigma_min, sigma_max, rho, count)?;
                sigmas.reverse();
                Ok(sigmas.into_iter().map(Level::variance_exploding).collect())
            }
            Self::Flow { shift, .. } => Ok((0..count).map(|index| Level::flow(shifted(at(index), shift))).collect()),
        }
    }
}

/// `count` deviations from the largest to the smallest, `sigma^(1/rho)` in equal distances (Karras et al. 2022, equation
/// 5).
pub fn karras(sigma_min: f64, sigma_max: f64, rho: f64, count: usize) -> Result<Vec<f64>, ProcessError> {
    steps("a sampler", count, 1)?;
    ascending(("sigma_min", sigma_min), ("sigma_max", sigma_max))?;
    positive("rho", rho)?;
    let (low, high) = (libm::pow(sigma_min, 1.0 / rho), libm::pow(sigma_max, 1.0 / rho));
    Ok(line(high, low, count).map(|root| libm::pow(root, rho)).collect())
}

/// A deviation from `sigma_min` (0) to `sigma_max` (1) in equal ratios.
pub(crate) fn geometric(sigma_min: f64, sigma_max: f64, at: f64) -> f64 {
    sigma_min * libm::pow(sigma_max / sigma_min, at)
}

/// A deviation from `sigma_min` (0) to `sigma_max` (1) with `sigma^(1/rho)` in equal distances.
pub(crate) fn by_rho(sigma_min: f64, sigma_max: f64, rho: f64, at: f64) -> f64 {
    let (low, high) = (libm::pow(sigma_min, 1.0 / rho), libm::pow(sigma_max, 1.0 / rho));
    libm::pow(low + at * (high - low), rho)
}

/// The shift of the straight line: the ratio of noise to data times `shift`.
pub(crate) fn shifted(at: f64, shift: f64) -> f64 {
    shift * at / (1.0 + (shift - 1.0) * at)
}

/// `count` numbers in equal distances with both ends; the first alone if there is only one.
pub(crate) fn line(first: f64, last: f64, count: usize) -> impl Iterator<Item = f64> {
    let gaps = count.saturating_sub(1).max(1) as f64;
    (0..count).map(move |index| first + index as f64 / gaps * (last - first))
}

fn in_order(start: f64, end: f64) -> Result<(), ProcessError> {
    let inside = |beta: f64| beta > 0.0 && beta < 1.0;
    within("start", start, inside(start), "above 0 and below 1")?;
    within("end", end, inside(end), "above 0 and below 1")?;
    not_negative("end - start", end - start).map(|_| ()).map_err(|_| ProcessError::Order {
        low: "start",
        low_value: start,
        high: "end",
        high_value: end,
    })
}

fn squared_cosine(at: f64, offset: f64) -> f64 {
    let cosine = libm::cos((at + offset) / (1.0 + offset) * std::f64::consts::FRAC_PI_2);
    cosine * cosine
}
