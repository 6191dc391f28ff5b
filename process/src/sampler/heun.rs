//! Steps along the mean of two slopes.

use super::{Noise, Sampler, Sigmas};
use crate::ranges::{not_negative, within};
use crate::{Denoiser, Field, Level, Point, ProcessError};

/// Averages the slopes at both ends of a step, after adding a little noise (Karras et al. 2022, algorithm 2).
#[derive(Debug, Clone, PartialEq)]
pub struct Heun {
    sigmas: Sigmas,
    churn: Churn,
}

/// Noise added before a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Churn {
    /// Added over all steps; 0 draws no noise at all.
    pub amount: f64,
    /// Smallest deviation at which it is added.
    pub from: f64,
    /// Largest deviation at which it is added.
    pub to: f64,
    /// Factor of the added noise, slightly above 1.
    pub noise: f64,
}

impl Churn {
    /// No noise is added.
    pub const NONE: Self = Self { amount: 0.0, from: 0.0, to: f64::INFINITY, noise: 1.0 };
}

impl Heun {
    /// Along these deviations.
    pub fn new(sigmas: Sigmas, churn: Churn) -> Result<Self, ProcessError> {
        not_negative("churn", churn.amount)?;
        not_negative("churn from", churn.from)?;
        not_negative("churn noise", churn.noise)?;
        within("churn to", churn.to, churn.to >= churn.from, "at least where churn begins")?;
        Ok(Self { sigmas, churn })
    }

    /// What the network is told at a deviation between two of the plan: nothing but levels of EDM are asked there.
    fn point(&self, step: usize, sigma: f64) -> Result<Point, ProcessError> {
        let planned = self.sigmas.point(step)?;
        let time = if planned.time == planned.level.noise { sigma } else { planned.time };
        Ok(Point { level: Level::variance_exploding(sigma), time })
    }
}

impl Sampler for Heun {
    fn steps(&self) -> usize {
        self.sigmas.len()
    }

    fn start(&self) -> f64 {
        self.sigmas.start()
    }

    fn step<T, D, N>(&self, step: usize, x: &T, _: &mut Vec<T>, denoiser: &mut D, noise: &mut N) -> Result<T, D::Error>
    where
        T: Field,
        D: Denoiser<T>,
        N: Noise<T>,
    {
        let (planned, next) = self.sigmas.pair(step)?;
        let churn = self.churn;
        let (mut x, mut sigma) = (x.clone(), planned);
        if churn.amount > 0.0 {
            let fresh = noise.draw(step, &x);
            if (churn.from..=churn.to).contains(&planned) {
                let most = std::f64::consts::SQRT_2 - 1.0;
                sigma *= 1.0 + (churn.amount / self.steps() as f64).min(most);
                x = x.plus((sigma * sigma - planned * planned).sqrt() * churn.noise, &fresh);
            }
        }
        let slope = denoiser.denoise(&x, self.point(step, sigma)?)?.noise;
        let moved = x.plus(next - sigma, &slope);
        if next == 0.0 {
            return Ok(moved);
        }
        let there = denoiser.denoise(&moved, self.sigmas.point(step + 1)?)?.noise;
        Ok(x.plus(next - sigma, &T::combine(0.5, &slope, 0.5, &there)))
    }
}
