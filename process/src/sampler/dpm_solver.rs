//! Steps with the memory of one before.

use super::{Noise, Sampler, Sigmas, entry};
use crate::{Denoiser, Field, Level, Point, ProcessError, Scale};

/// DPM-Solver++ (2M) (Lu et al. 2022b, algorithm 2) on the variance-preserving scale: integrates the expected data over
/// the logarithm of the signal-to-noise ratio, extrapolated from the step before. The first and the last step have no
/// such memory; the last one ends at the expected data.
#[derive(Debug, Clone, PartialEq)]
pub struct DpmSolver {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Step {
    point: Point,
    /// Factors of the current value, and of the expected data.
    current: f64,
    data: f64,
    /// What the difference to the data expected before is multiplied by.
    memory: f64,
}

impl DpmSolver {
    /// Along these deviations.
    pub fn new(sigmas: &Sigmas) -> Result<Self, ProcessError> {
        let plan = |step: usize| {
            let at = sigmas.point(step)?;
            let (sigma, next) = sigmas.pair(step)?;
            let level = at.level.on(Scale::VariancePreserving)?;
            let point = Point { level, time: at.time };
            if next == 0.0 {
                return Ok(Step { point, current: 0.0, data: 1.0, memory: 0.0 });
            }
            let there = Level::variance_exploding(next).on(Scale::VariancePreserving)?;
            let width = libm::log(sigma) - libm::log(next);
            let memory = match step.checked_sub(1) {
                None => 0.0,
                Some(before) => width / (2.0 * (libm::log(sigmas.pair(before)?.0) - libm::log(sigma))),
            };
            let data = -there.signal * libm::expm1(-width);
            Ok(Step { point, current: there.noise / level.noise, data, memory })
        };
        let steps: Result<Vec<_>, ProcessError> = (0..sigmas.len()).map(plan).collect();
        Ok(Self { steps: steps? })
    }

    /// `count` steps of a chain from its last one down to, and without, its first.
    pub fn linspace(chain: &crate::Chain, count: usize) -> Result<Sigmas, ProcessError> {
        crate::ranges::steps("a sampler", count, 1)?;
        if count >= chain.len() {
            return Err(ProcessError::TooManySteps { asked: count, available: chain.len().saturating_sub(1) });
        }
        let sigmas = chain.sigmas();
        let steps = crate::Spacing::Linspace.steps(chain.len(), count + 1)?;
        let point = |step: &usize| Ok((entry(&sigmas, *step)?, chain.time(*step)? as f64));
        let points: Result<Vec<_>, ProcessError> = steps.iter().skip(1).rev().map(point).collect();
        Sigmas::of(points?)
    }
}

impl Sampler for DpmSolver {
    fn steps(&self) -> usize {
        self.steps.len()
    }

    fn start(&self) -> f64 {
        1.0
    }

    fn step<T, D, N>(
        &self,
        step: usize,
        x: &T,
        previous: &mut Option<T>,
        denoiser: &mut D,
        _: &mut N,
    ) -> Result<T, D::Error>
    where
        T: Field,
        D: Denoiser<T>,
        N: Noise<T>,
    {
        let Step { point, current, data, memory } = entry(&self.steps, step)?;
        let x0 = denoiser.denoise(x, point)?.x0;
        let expected = match previous.as_ref() {
            Some(before) if memory != 0.0 => T::combine(1.0 + memory, &x0, -memory, before),
            Some(_) | None => x0.clone(),
        };
        *previous = Some(x0);
        Ok(T::combine(current, x, data, &expected))
    }
}
