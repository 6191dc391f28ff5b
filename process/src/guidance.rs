//! Classifier-free guidance.

use crate::ranges::{finite, fraction};
use crate::{Deviation, ProcessError};

/// Moves a prediction away from the one without a condition (Ho & Salimans 2022).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guidance {
    scale: f64,
    rescale: f64,
}

impl Guidance {
    /// `unconditional + scale · (conditional - unconditional)`; a scale of 1 is the conditional prediction. The share
    /// `rescale` of the result is given the deviation of the conditional prediction (Lin et al. 2024, section 3.4).
    pub fn new(scale: f64, rescale: f64) -> Result<Self, ProcessError> {
        Ok(Self { scale: finite("guidance", scale)?, rescale: fraction("rescale", rescale)? })
    }

    /// The guided prediction.
    pub fn apply<T: Deviation>(&self, conditional: &T, unconditional: &T) -> T {
        let guided = T::combine(self.scale, conditional, 1.0 - self.scale, unconditional);
        if self.rescale == 0.0 {
            return guided;
        }
        let rescaled = guided.with_deviation_of(conditional);
        T::combine(self.rescale, &rescaled, 1.0 - self.rescale, &guided)
    }
}
