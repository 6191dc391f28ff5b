//! Schedules of numbered steps, and the reverse distribution of each.

use crate::ranges::{steps, within};
use crate::{Level, ProcessError};

/// What is left of the signal where a schedule ends in pure noise and a sampler needs a finite ratio: the smallest f16
/// above zero, as the public samplers have it (diffusers, `EulerDiscreteScheduler`).
const SMALLEST_KEPT: f64 = 5.960_464_477_539_063e-8;

/// Numbered steps of added noise: step `t` multiplies by `sqrt(1 - beta)` and adds noise of variance `beta` (Ho et al.
/// 2020).
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    betas: Vec<f64>,
    /// Running product of `1 - beta`.
    kept: Vec<f64>,
    /// The step of the training chain that each step is.
    times: Vec<usize>,
}

/// The distribution of the value before a step, given the one behind it and the data: normal with mean
/// `data · x0 + current · x`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Posterior {
    /// Factor of the data.
    pub data: f64,
    /// Factor of the current value.
    pub current: f64,
    /// Variance; zero at step 0.
    pub variance: f64,
    /// Logarithm of the variance, at step 0 of that of step 1 (Nichol & Dhariwal 2021, `gaussian_diffusion.py`).
    pub log_variance: f64,
    /// Variance of the step itself, an upper bound; at step 0 the posterior variance of step 1.
    pub largest_variance: f64,
    /// Logarithm of `beta`.
    pub log_beta: f64,
}

impl Chain {
    /// A chain with these variances, which are above 0 and at most 1.
    pub fn of_betas(betas: Vec<f64>) -> Result<Self, ProcessError> {
        let count = steps("a schedule", betas.len(), 1)?;
        let mut product = 1.0;
        let mut kept = Vec::with_capacity(count);
        for (step, beta) in betas.iter().copied().enumerate() {
            within("beta", beta, beta > 0.0 && beta <= 1.0, "above 0 and at most 1")?;
            product *= 1.0 - beta;
            if product == 0.0 && step + 1 < count {
                return Err(ProcessError::SignalLost { step, steps: count });
            }
            kept.push(product);
        }
        Ok(Self { betas, kept, times: (0..count).collect() })
    }

    /// The same chain shifted and stretched so that no signal is left behind its last step, and the first step stays as
    /// it is (Lin et al. 2024, "Common diffusion noise schedules and sample steps are flawed", algorithm 1).
    pub fn with_zero_terminal_snr(&self) -> Result<Self, ProcessError> {
        let roots: Vec<f64> = self.kept.iter().map(|kept| kept.sqrt()).collect();
        let (Some(first), Some(last)) = (roots.first().copied(), roots.last().copied()) else {
            return Err(ProcessError::TooFewSteps { what: "a schedule", least: 2, steps: 0 });
        };
        if first <= last {
            return Err(ProcessError::TooFewSteps {
                what: "a schedule that ends in pure noise",
                least: 2,
                steps: self.len(),
            });
        }
        let kept: Vec<f64> = roots
            .iter()
            .map(|root| {
                let root = (root - last) * first / (first - last);
                root * root
            })
            .collect();
        Ok(Self { betas: ratios(&kept), kept, times: self.times.clone() })
    }

    /// The shorter chain that visits only the steps `kept`, in ascending order.
    pub fn respaced(&self, kept: &[usize]) -> Result<Self, ProcessError> {
        steps("a shortened schedule", kept.len(), 1)?;
        let ascends = kept.iter().zip(kept.iter().skip(1)).all(|(step, next)| step < next);
        let at = |step: &usize| Some((*self.kept.get(*step)?, *self.times.get(*step)?));
        let levels: Option<(Vec<f64>, Vec<usize>)> = kept.iter().map(at).collect();
        match levels {
            Some((kept, times)) if ascends => Ok(Self { betas: ratios(&kept), kept, times }),
            Some(_) | None => Err(ProcessError::Unordered { available: self.len() }),
        }
    }

    /// Number of steps.
    #[must_use]
    pub fn len(&self) -> usize {
        self.betas.len()
    }

    /// Whether there are no steps, which never holds.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.betas.is_empty()
    }

    /// Variance of the noise that each step adds.
    #[must_use]
    pub fn betas(&self) -> &[f64] {
        &self.betas
    }

    /// Product of `1 - beta` up to and with each step.
    #[must_use]
    pub fn kept(&self) -> &[f64] {
        &self.kept
    }

    /// The step of the training chain that a step is: the number that a network is told.
    pub fn time(&self, step: usize) -> Result<usize, ProcessError> {
        self.times.get(step).copied().ok_or(self.no_step(step))
    }

    /// The product of `1 - beta` up to and with a step.
    pub fn kept_at(&self, step: usize) -> Result<f64, ProcessError> {
        self.kept.get(step).copied().ok_or(self.no_step(step))
    }

    /// Signal and noise behind a step.
    pub fn level(&self, step: usize) -> Result<Level, ProcessError> {
        Level::variance_preserving(self.kept_at(step)?)
    }

    /// Deviation of the noise relative to the data behind each step, finite also where no signal is left.
    #[must_use]
    pub fn sigmas(&self) -> Vec<f64> {
        self.kept
            .iter()
            .map(|kept| {
                let kept = kept.max(SMALLEST_KEPT);
                ((1.0 - kept) / kept).sqrt()
            })
            .collect()
    }

    /// The distribution of the value before a step.
    pub fn posterior(&self, step: usize) -> Result<Posterior, ProcessError> {
        let kept = self.kept_at(step)?;
        let beta = self.betas.get(step).copied().ok_or(self.no_step(step))?;
        let before = step.checked_sub(1).and_then(|step| self.kept.get(step)).copied().unwrap_or(1.0);
        let variance = self.variance(step)?;
        // No noise is added at step 0; its logarithm only has to be finite.
        let least = if step == 0 { self.variance(1).unwrap_or(beta) } else { variance };
        Ok(Posterior {
            data: beta * before.sqrt() / (1.0 - kept),
            current: (1.0 - before) * (1.0 - beta).sqrt() / (1.0 - kept),
            variance,
            log_variance: libm::log(least),
            largest_variance: if step == 0 { least } else { beta },
            log_beta: libm::log(beta),
        })
    }

    fn variance(&self, step: usize) -> Result<f64, ProcessError> {
        let kept = self.kept_at(step)?;
        let before = step.checked_sub(1).and_then(|step| self.kept.get(step)).copied().unwrap_or(1.0);
        let beta = self.betas.get(step).copied().ok_or(self.no_step(step))?;
        Ok(beta * (1.0 - before) / (1.0 - kept))
    }

    fn no_step(&self, step: usize) -> ProcessError {
        ProcessError::NoSuchStep { step, steps: self.len() }
    }
}

/// The variances that lead to these products.
fn ratios(kept: &[f64]) -> Vec<f64> {
    let before = std::iter::once(1.0).chain(kept.iter().copied());
    kept.iter().zip(before).map(|(kept, before)| 1.0 - kept / before).collect()
}
