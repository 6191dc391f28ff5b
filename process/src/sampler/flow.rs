//! Steps along the straight line from noise to data.

use super::{Noise, Sampler, entry};
use crate::schedule::{line, shifted};
use crate::{Denoiser, Field, Level, Point, ProcessError, Schedule};

/// Follows the velocity `n - x0` from noise to data (Esser et al. 2024).
#[derive(Debug, Clone, PartialEq)]
pub struct FlowEuler {
    /// Points of the line, falling from 1, with the zero at the end.
    sigmas: Vec<f64>,
    steps: usize,
}

impl FlowEuler {
    /// `count` steps. The points lie in equal distances between the shifted ends and are shifted once more, which is
    /// what the published samplers do (diffusers, `FlowMatchEulerDiscreteScheduler`).
    pub fn new(shift: f64, training_steps: usize, count: usize) -> Result<Self, ProcessError> {
        Schedule::Flow { shift, steps: training_steps }.validate()?;
        crate::ranges::steps("a sampler", count, 1)?;
        if count > training_steps {
            return Err(ProcessError::TooManySteps { asked: count, available: training_steps });
        }
        let last = shifted(1.0 / training_steps as f64, shift);
        let points = line(1.0, last, count).map(|point| shifted(point, shift));
        Ok(Self { sigmas: points.chain(std::iter::once(0.0)).collect(), steps: training_steps })
    }

    /// Points of the line, the zero at the end included.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.sigmas
    }

    /// What the network is told at a step.
    pub fn time(&self, step: usize) -> Result<f64, ProcessError> {
        Ok(entry(&self.sigmas, step)? * self.steps as f64)
    }
}

impl Sampler for FlowEuler {
    fn steps(&self) -> usize {
        self.sigmas.len().saturating_sub(1)
    }

    fn start(&self) -> f64 {
        1.0
    }

    fn step<T, D, N>(&self, step: usize, x: &T, _: &mut Vec<T>, denoiser: &mut D, _: &mut N) -> Result<T, D::Error>
    where
        T: Field,
        D: Denoiser<T>,
        N: Noise<T>,
    {
        let (at, next) = (entry(&self.sigmas, step)?, entry(&self.sigmas, step + 1)?);
        let known = denoiser.denoise(x, Point { level: Level::flow(at), time: self.time(step)? })?;
        let velocity = known.noise.plus(-1.0, &known.x0);
        Ok(x.plus(next - at, &velocity))
    }
}
