//! Ancestral sampling of a chain.

use super::{Noise, Sampler, entry};
use crate::{Chain, Denoised, Denoiser, Field, Level, Point, Posterior, ProcessError, Variance};

/// Draws every step from its reverse distribution (Ho et al. 2020, algorithm 2).
#[derive(Debug, Clone, PartialEq)]
pub struct Ddpm {
    steps: Vec<(Point, Posterior)>,
    variance: Variance,
    clip: Option<f64>,
}

/// The distribution of the value before a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Reverse<T> {
    /// Its mean.
    pub mean: T,
    /// Logarithm of its variance.
    pub log_variance: T,
    /// The data expected there.
    pub x0: T,
}

impl Ddpm {
    /// All steps of a chain, which may be a shortened one. The expected data is limited to `-clip` to `clip`.
    pub fn new(chain: &Chain, variance: Variance, clip: Option<f64>) -> Result<Self, ProcessError> {
        if let Some(limit) = clip {
            crate::ranges::positive("clip", limit)?;
        }
        let plan = |step: usize| {
            let level = Level::variance_preserving(chain.kept_at(step)?)?;
            Ok((Point { level, time: chain.time(step)? as f64 }, chain.posterior(step)?))
        };
        let steps: Result<Vec<_>, ProcessError> = (0..chain.len()).rev().map(plan).collect();
        Ok(Self { steps: steps?, variance, clip })
    }

    /// The reverse distribution of a step, given what is known about `x`.
    pub fn reverse<T: Field>(&self, step: usize, x: &T, known: Denoised<T>) -> Result<Reverse<T>, ProcessError> {
        let (_, posterior) = entry(&self.steps, step)?;
        let x0 = match self.clip {
            Some(limit) => known.x0.clamped(-limit, limit),
            None => known.x0,
        };
        let mean = T::combine(posterior.data, &x0, posterior.current, x);
        let log_variance = match self.variance {
            Variance::FixedSmall => x.affine(0.0, posterior.log_variance),
            Variance::FixedLarge => x.affine(0.0, libm::log(posterior.largest_variance)),
            Variance::LearnedRange => {
                let fraction = known.variance.ok_or(ProcessError::NoVariance)?;
                let (low, high) = (posterior.log_variance, posterior.log_beta);
                fraction.affine((high - low) / 2.0, f64::midpoint(high, low))
            }
        };
        Ok(Reverse { mean, log_variance, x0 })
    }
}

impl Sampler for Ddpm {
    fn steps(&self) -> usize {
        self.steps.len()
    }

    fn start(&self) -> f64 {
        1.0
    }

    /// No noise is added at the last step, step 0 of the chain.
    fn step<T, D, N>(&self, step: usize, x: &T, _: &mut Vec<T>, denoiser: &mut D, noise: &mut N) -> Result<T, D::Error>
    where
        T: Field,
        D: Denoiser<T>,
        N: Noise<T>,
    {
        let (point, _) = entry(&self.steps, step)?;
        let known = denoiser.denoise(x, point)?;
        let reverse = self.reverse(step, x, known)?;
        if step + 1 == self.steps.len() {
            return Ok(reverse.mean);
        }
        let deviation = reverse.log_variance.scaled(0.5).exp();
        Ok(reverse.mean.plus(1.0, &deviation.times(&noise.draw(step, x))))
    }
}
