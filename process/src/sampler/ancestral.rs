//! Steps along the slope that go too far and add noise back.

use super::{Noise, Sampler, Sigmas};
use crate::{Denoiser, Field};

/// Follows the slope below the next deviation and adds as much noise as the posterior of the step has
/// (`sample_euler_ancestral` of k-diffusion).
#[derive(Debug, Clone, PartialEq)]
pub struct EulerAncestral {
    sigmas: Sigmas,
}

impl EulerAncestral {
    /// Along these deviations.
    #[must_use]
    pub fn new(sigmas: Sigmas) -> Self {
        Self { sigmas }
    }
}

impl Sampler for EulerAncestral {
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
        let (sigma, next) = self.sigmas.pair(step)?;
        let slope = denoiser.denoise(x, self.sigmas.point(step)?)?.noise;
        let ratio = next / sigma;
        let up = next * (1.0 - ratio * ratio).max(0.0).sqrt();
        let down = next * ratio;
        let moved = x.plus(down - sigma, &slope);
        if up == 0.0 {
            return Ok(moved);
        }
        Ok(moved.plus(up, &noise.draw(step, x)))
    }
}
