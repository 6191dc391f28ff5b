//! Steps with the memory of one before.

use super::{Noise, Sampler, Sigmas, entry};
use crate::{Chain, Denoiser, Field, Level, Point, ProcessError, Scale, Spacing};

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
    before: f64,
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
                return Ok(Step { point, current: 0.0, data: 1.0, before: 0.0 });
            }
            let there = Level::variance_exploding(next).on(Scale::VariancePreserving)?;
            let width = libm::log(sigma) - libm::log(next);
            let before = match step.checked_sub(1) {
                None => 0.0,
                Some(last) => width / (2.0 * (libm::log(sigmas.pair(last)?.0) - libm::log(sigma))),
            };
            let data = -there.signal * libm::expm1(-width);
            Ok(Step { point, current: there.noise / level.noise, data, before })
        };
        let steps: Result<Vec<_>, ProcessError> = (0..sigmas.len()).map(plan).collect();
        Ok(Self { steps: steps? })
    }

    /// `count` steps of a chain. Where they are counted from its beginning, one more is counted, and the first left out
    /// (diffusers, `DPMSolverMultistepScheduler`).
    pub fn sigmas(chain: &Chain, spacing: Spacing, count: usize) -> Result<Sigmas, ProcessError> {
        crate::ranges::steps("a sampler", count, 1)?;
        if count >= chain.len() {
            return Err(ProcessError::TooManySteps { asked: count, available: chain.len().saturating_sub(1) });
        }
        let left_out = match spacing {
            Spacing::Linspace | Spacing::Leading { .. } => 1,
            Spacing::Trailing => 0,
        };
        let sigmas = chain.sigmas();
        let steps = spacing.steps(chain.len(), count + left_out)?;
        let point = |step: &usize| Ok((entry(&sigmas, *step)?, chain.time(*step)? as f64));
        let points: Result<Vec<_>, ProcessError> = steps.iter().skip(left_out).rev().map(point).collect();
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

    fn step<T, D, N>(&self, step: usize, x: &T, memory: &mut Vec<T>, denoiser: &mut D, _: &mut N) -> Result<T, D::Error>
    where
        T: Field,
        D: Denoiser<T>,
        N: Noise<T>,
    {
        let Step { point, current, data, before } = entry(&self.steps, step)?;
        let x0 = denoiser.denoise(x, point)?.x0;
        let expected = match memory.pop() {
            Some(known) if before != 0.0 => T::combine(1.0 + before, &x0, -before, &known),
            Some(_) | None => x0.clone(),
        };
        memory.push(x0);
        Ok(T::combine(current, x, data, &expected))
    }
}
