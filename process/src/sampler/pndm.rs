//! Steps with the memory of three before.

use super::{LastStep, Noise, Sampler, entry};
use crate::{Chain, Denoiser, Field, Level, Point, Prediction, ProcessError};

/// What the newest of several predictions and those before it count in a step (Adams and Bashforth): 1, 2, 3, or 4 of them.
const WEIGHTS: [&[f64]; 4] = [
    &[1.0],
    &[3.0 / 2.0, -1.0 / 2.0],
    &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
    &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
];

/// The pseudo linear multi-step method (Liu et al. 2022, "Pseudo numerical methods for diffusion models on manifolds",
/// equation 12) without Runge-Kutta steps: goes along a mean of what the network has said in the last four steps. The
/// first step is made twice, the second time along the mean of what it said at both ends (diffusers, `PNDMScheduler` with
/// `skip_prk_steps`).
#[derive(Debug, Clone, PartialEq)]
pub struct Pndm {
    steps: Vec<Step>,
    /// What is averaged: means of velocities are none of noise.
    prediction: Prediction,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Step {
    /// Where the denoiser is asked.
    point: Point,
    /// From where to where it goes.
    from: Level,
    to: Level,
    /// Whether it is the first step once more.
    again: bool,
}

impl Pndm {
    /// The steps `visited` of a chain, ascending; there is one step more. `prediction` is what the network says.
    pub fn new(chain: &Chain, visited: &[usize], prediction: Prediction, last: LastStep) -> Result<Self, ProcessError> {
        let short = chain.respaced(visited)?;
        let points: Result<Vec<Point>, ProcessError> = (0..short.len())
            .rev()
            .map(|step| Ok(Point { level: short.level(step)?, time: short.time(step)? as f64 }))
            .collect();
        let points = points?;
        let end = Level::variance_preserving(last.kept(chain)?)?;
        let behind = |at: usize| points.get(at + 1).map_or(end, |next| next.level);
        let mut steps: Vec<Step> = points
            .iter()
            .enumerate()
            .map(|(at, point)| Step { point: *point, from: point.level, to: behind(at), again: false })
            .collect();
        if let (Some(first), Some(second)) = (steps.first().copied(), points.get(1)) {
            steps.insert(1, Step { point: *second, again: true, ..first });
        }
        Ok(Self { steps, prediction })
    }
}

impl Sampler for Pndm {
    fn steps(&self) -> usize {
        self.steps.len()
    }

    fn start(&self) -> f64 {
        1.0
    }

    /// Leaves predictions in the memory, the newest first, and the first step its value behind them.
    fn step<T, D, N>(&self, step: usize, x: &T, memory: &mut Vec<T>, denoiser: &mut D, _: &mut N) -> Result<T, D::Error>
    where
        T: Field,
        D: Denoiser<T>,
        N: Noise<T>,
    {
        let Step { point, from, to, again } = entry(&self.steps, step)?;
        let known = denoiser.denoise(x, point)?;
        let said = self.prediction.target_of(&known.x0, &known.noise, point.level);
        let along = |x: &T, said: &T| -> Result<T, D::Error> {
            let x0 = self.prediction.data_of(x, said, from)?;
            let noise = self.prediction.noise_of(x, said, from)?;
            Ok(T::combine(to.signal, &x0, to.noise, &noise))
        };
        if again {
            // Who begins here has nothing to make once more.
            let (Some(start), Some(first)) = (memory.pop(), memory.first()) else { return Ok(x.clone()) };
            return along(&start, &T::combine(0.5, &said, 0.5, first));
        }
        memory.truncate(WEIGHTS.len() - 1);
        memory.insert(0, said);
        let weights = WEIGHTS.get(memory.len() - 1).copied().unwrap_or_default();
        let mean = memory.iter().zip(weights).fold(None, |sum: Option<T>, (said, weight)| {
            Some(sum.map_or_else(|| said.scaled(*weight), |sum| sum.plus(*weight, said)))
        });
        let next = along(x, mean.as_ref().unwrap_or(x))?;
        if step == 0 {
            memory.push(x.clone());
        }
        Ok(next)
    }
}
