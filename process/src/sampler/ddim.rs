//! Steps of a chain without, or with less, randomness.

use super::{Noise, Sampler, entry};
use crate::ranges::{fraction, positive};
use crate::{Chain, Denoiser, Field, Level, Point, ProcessError};

/// Goes from level to level along the expected noise (Song et al. 2021, equation 12).
#[derive(Debug, Clone, PartialEq)]
pub struct Ddim {
    steps: Vec<Step>,
    clip: Option<f64>,
}

/// What the last step ends at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LastStep {
    /// No noise.
    #[default]
    Clean,
    /// The noise of the chain's first step, as the released latent diffusion models have it.
    FirstLevel,
}

impl LastStep {
    /// The share of the variance that is signal there.
    pub(super) fn kept(self, chain: &Chain) -> Result<f64, ProcessError> {
        match self {
            Self::Clean => Ok(1.0),
            Self::FirstLevel => chain.kept_at(0),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Step {
    point: Point,
    /// Factors of the expected data, the expected noise, and new noise.
    data: f64,
    direction: f64,
    noise: f64,
}

impl Ddim {
    /// The steps `visited` of a chain, ascending. `eta` is the share of the noise of ancestral sampling: 0 draws none.
    /// The expected data is limited to `-clip` to `clip`.
    pub fn new(
        chain: &Chain,
        visited: &[usize],
        eta: f64,
        last: LastStep,
        clip: Option<f64>,
    ) -> Result<Self, ProcessError> {
        fraction("eta", eta)?;
        if let Some(limit) = clip {
            positive("clip", limit)?;
        }
        let short = chain.respaced(visited)?;
        let end = last.kept(chain)?;
        let before = |step: usize| step.checked_sub(1).map_or(Ok(end), |before| short.kept_at(before));
        let plan = |step: usize| {
            let (kept, before) = (short.kept_at(step)?, before(step)?);
            // Where the last step ends at its own level nothing is left to draw.
            let share = ((1.0 - before) / (1.0 - kept) * (1.0 - kept / before)).max(0.0);
            let noise = eta * share.sqrt();
            let direction = (1.0 - before - noise * noise).max(0.0).sqrt();
            let level = Level::variance_preserving(kept)?;
            let point = Point { level, time: short.time(step)? as f64 };
            Ok(Step { point, data: before.sqrt(), direction, noise })
        };
        let steps: Result<Vec<_>, ProcessError> = (0..short.len()).rev().map(plan).collect();
        Ok(Self { steps: steps?, clip })
    }
}

impl Sampler for Ddim {
    fn steps(&self) -> usize {
        self.steps.len()
    }

    fn start(&self) -> f64 {
        1.0
    }

    fn step<T, D, N>(&self, step: usize, x: &T, _: &mut Vec<T>, denoiser: &mut D, noise: &mut N) -> Result<T, D::Error>
    where
        T: Field,
        D: Denoiser<T>,
        N: Noise<T>,
    {
        let Step { point, data, direction, noise: deviation } = entry(&self.steps, step)?;
        let known = denoiser.denoise(x, point)?;
        let x0 = self.clip.map_or_else(|| known.x0.clone(), |limit| known.x0.clamped(-limit, limit));
        let next = T::combine(data, &x0, direction, &known.noise);
        if deviation == 0.0 {
            return Ok(next);
        }
        Ok(next.plus(deviation, &noise.draw(step, x)))
    }
}
