//! From noise to data, step by step.
//!
//! A sampler is a plan made before the first step: the levels it visits and the coefficients of each step. It starts
//! from unit noise times [`Sampler::start`], asks a [`Denoiser`] once or twice per step, and draws noise from the caller.

mod ancestral;
mod ddim;
mod ddpm;
mod dpm_solver;
mod euler;
mod flow;
mod heun;
mod pndm;
mod sigmas;

pub use ancestral::EulerAncestral;
pub use ddim::{Ddim, LastStep};
pub use ddpm::{Ddpm, Reverse};
pub use dpm_solver::DpmSolver;
pub use euler::Euler;
pub use flow::FlowEuler;
pub use heun::{Churn, Heun};
pub use pndm::Pndm;
pub use sigmas::Sigmas;

use crate::{Denoiser, Field, ProcessError};
use std::ops::Range;

/// Unit normal noise of the same shape as a value.
pub trait Noise<T> {
    /// The noise of a step.
    fn draw(&mut self, step: usize, like: &T) -> T;
}

impl<T, F: FnMut(usize, &T) -> T> Noise<T> for F {
    fn draw(&mut self, step: usize, like: &T) -> T {
        self(step, like)
    }
}

/// No noise: for samplers that draw none.
#[derive(Debug, Clone, Copy)]
pub struct Silence;

impl<T: Field> Noise<T> for Silence {
    fn draw(&mut self, _: usize, like: &T) -> T {
        like.scaled(0.0)
    }
}

/// Walks from noise to data.
pub trait Sampler {
    /// Number of steps.
    fn steps(&self) -> usize;

    /// What unit noise is multiplied by before the first step.
    fn start(&self) -> f64;

    /// The value behind a step. `memory` is empty before the first one that is made, and holds what a sampler leaves for
    /// its next steps.
    fn step<T, D, N>(
        &self,
        step: usize,
        x: &T,
        memory: &mut Vec<T>,
        denoiser: &mut D,
        noise: &mut N,
    ) -> Result<T, D::Error>
    where
        T: Field,
        D: Denoiser<T>,
        N: Noise<T>;

    /// Walks all steps from a value on, already multiplied by [`Sampler::start`]; `watch` sees every step.
    fn sample<T, D, N>(
        &self,
        start: T,
        denoiser: &mut D,
        noise: &mut N,
        watch: impl FnMut(usize, &T),
    ) -> Result<T, D::Error>
    where
        T: Field,
        D: Denoiser<T>,
        N: Noise<T>,
    {
        self.walk(0..self.steps(), start, denoiser, noise, watch)
    }

    /// Walks some of the steps, one after the other, from what the step before them leaves.
    fn walk<T, D, N>(
        &self,
        steps: Range<usize>,
        start: T,
        denoiser: &mut D,
        noise: &mut N,
        mut watch: impl FnMut(usize, &T),
    ) -> Result<T, D::Error>
    where
        T: Field,
        D: Denoiser<T>,
        N: Noise<T>,
    {
        let mut x = start;
        let mut memory = vec![];
        for step in steps {
            x = self.step(step, &x, &mut memory, denoiser, noise)?;
            watch(step, &x);
        }
        Ok(x)
    }
}

/// The entry of a plan for a step.
fn entry<T: Copy>(plan: &[T], step: usize) -> Result<T, ProcessError> {
    plan.get(step).copied().ok_or(ProcessError::NoSuchStep { step, steps: plan.len() })
}
