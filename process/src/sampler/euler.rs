//! Steps along the slope.

use super::{Noise, Sampler, Sigmas};
use crate::{Denoiser, Field};

/// Follows the slope `(x - x0) / sigma` from one deviation of the noise to the next (Karras et al. 2022, section 3).
#[derive(Debug, Clone, PartialEq)]
pub struct Euler {
    sigmas: Sigmas,
}

impl Euler {
    /// Along these deviations.
    #[must_use]
    pub fn new(sigmas: Sigmas) -> Self {
        Self { sigmas }
    }
}

impl Sampler for Euler {
    fn steps(&self) -> usize {
        self.sigmas.len()
    }

    fn start(&self) -> f64 {
        self.sigmas.start()
    }

    fn step<T, D, N>(&self, step: usize, x: &T, _: &mut Vec<T>, denoiser: &mut D, _: &mut N) -> Result<T, D::Error>
    where
        T: Field,
        D: Denoiser<T>,
        N: Noise<T>,
    {
        let (sigma, next) = self.sigmas.pair(step)?;
        // The expected noise is the slope.
        let slope = denoiser.denoise(x, self.sigmas.point(step)?)?.noise;
        Ok(x.plus(next - sigma, &slope))
    }
}
