//! Falling deviations of noise that end at none.

use super::entry;
use crate::ranges::steps;
use crate::schedule::karras;
use crate::{Chain, Level, Point, ProcessError, Spacing};

/// Deviations of noise, falling, with what the network is told at each. A last deviation of zero follows.
#[derive(Debug, Clone, PartialEq)]
pub struct Sigmas {
    points: Vec<(f64, f64)>,
    start: f64,
}

impl Sigmas {
    /// The levels of `count` steps of a chain. The network is told the step.
    pub fn of_chain(chain: &Chain, spacing: Spacing, count: usize) -> Result<Self, ProcessError> {
        let sigmas = chain.sigmas();
        let point = |step: &usize| Ok((entry(&sigmas, *step)?, chain.time(*step)? as f64));
        let points: Result<Vec<_>, ProcessError> = spacing.steps(chain.len(), count)?.iter().rev().map(point).collect();
        let points = points?;
        let largest = points.first().map_or(0.0, |(sigma, _)| *sigma);
        let start = match spacing {
            Spacing::Leading { .. } => libm::hypot(largest, 1.0),
            Spacing::Linspace | Spacing::Trailing => largest,
        };
        Ok(Self { points, start })
    }

    /// As many levels between the same ends, with `sigma^(1/rho)` in equal distances. The network is told the step of
    /// the chain at which the logarithm of the deviation would be the same, between steps if need be.
    pub fn spaced_by_rho(&self, chain: &Chain, rho: f64) -> Result<Self, ProcessError> {
        let (Some((largest, _)), Some((smallest, _))) = (self.points.first(), self.points.last()) else {
            return Err(ProcessError::TooFewSteps { what: "a sampler", least: 1, steps: 0 });
        };
        if self.points.len() == 1 {
            return Ok(self.clone());
        }
        let logarithms: Vec<f64> = chain.sigmas().into_iter().map(libm::log).collect();
        let sigmas = karras(*smallest, *largest, rho, self.points.len())?;
        let points = sigmas.into_iter().map(|sigma| (sigma, position(&logarithms, libm::log(sigma)))).collect();
        Ok(Self { points, start: self.start })
    }

    /// The same deviations, of which the network is told the nearest whole step.
    #[must_use]
    pub fn told_whole_steps(mut self) -> Self {
        self.points.iter_mut().for_each(|(_, time)| *time = time.round_ties_even());
        self
    }

    /// Levels of EDM. The network is told the deviation.
    pub fn edm(sigma_min: f64, sigma_max: f64, rho: f64, count: usize) -> Result<Self, ProcessError> {
        let points = karras(sigma_min, sigma_max, rho, count)?.into_iter().map(|sigma| (sigma, sigma)).collect();
        Ok(Self { points, start: sigma_max })
    }

    /// Deviations with what the network is told at each, falling, above zero.
    pub fn of(points: Vec<(f64, f64)>) -> Result<Self, ProcessError> {
        steps("a sampler", points.len(), 1)?;
        let falls = points.iter().zip(points.iter().skip(1)).all(|((sigma, _), (next, _))| next < sigma);
        let start = points.first().map_or(0.0, |(sigma, _)| *sigma);
        if !falls || !start.is_finite() || points.last().is_some_and(|(sigma, _)| *sigma <= 0.0) {
            return Err(ProcessError::Contradiction("deviations of the noise have to fall and stay positive".into()));
        }
        Ok(Self { points, start })
    }

    /// Number of steps.
    #[must_use]
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether there are no steps, which never holds.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// What unit noise is multiplied by before the first step.
    #[must_use]
    pub fn start(&self) -> f64 {
        self.start
    }

    /// The deviations, the zero at the end included.
    pub fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.points.iter().map(|(sigma, _)| *sigma).chain(std::iter::once(0.0))
    }

    /// What the network is told at each step.
    pub fn times(&self) -> impl Iterator<Item = f64> + '_ {
        self.points.iter().map(|(_, time)| *time)
    }

    /// The deviation at a step and behind it.
    pub(super) fn pair(&self, step: usize) -> Result<(f64, f64), ProcessError> {
        let (sigma, _) = entry(&self.points, step)?;
        Ok((sigma, self.points.get(step + 1).map_or(0.0, |(next, _)| *next)))
    }

    /// Where the denoiser is asked at a step, for a value to which noise of this deviation was added.
    pub(super) fn point(&self, step: usize) -> Result<Point, ProcessError> {
        let (sigma, time) = entry(&self.points, step)?;
        Ok(Point { level: Level::variance_exploding(sigma), time })
    }
}

/// Where a number lies in an ascending list, between entries if need be.
fn position(list: &[f64], number: f64) -> f64 {
    let above = list.partition_point(|entry| *entry <= number);
    let low = above.saturating_sub(1).min(list.len().saturating_sub(2));
    match (list.get(low), list.get(low + 1)) {
        (Some(below), Some(above)) => low as f64 + ((number - below) / (above - below)).clamp(0.0, 1.0),
        _ => 0.0,
    }
}
