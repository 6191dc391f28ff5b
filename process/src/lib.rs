//! The arithmetic of diffusion: how noise is added, what a network predicts, how a loss is weighted, and how noise is
//! taken away again.
//!
//! Everything is said in terms of a [`Level`]: a noisy value is `signal · x0 + noise · n`, with `x0` the data and `n`
//! unit normal noise. A [`Schedule`] says which levels there are, a [`Prediction`] what a network says about `x0` and
//! `n`, a [`sampler`] how to walk from the noisiest level to none.
//!
//! Coefficients are `f64`. Samplers work on anything that is a [`Field`]: numbers, vectors, tensors of a library; they
//! draw no random numbers themselves. Nothing here reads files or links a tensor library.

mod chain;
mod denoiser;
mod describe;
mod error;
mod field;
mod guidance;
mod lesson;
mod level;
mod precondition;
mod prediction;
mod process;
mod ranges;
pub mod sampler;
mod schedule;
mod spacing;
mod times;
mod weighting;

pub use chain::{Chain, Posterior};
pub use denoiser::{Denoised, Denoiser, Expected, Network, Output, Point};
pub use error::ProcessError;
pub use field::{Deviation, Field};
pub use guidance::Guidance;
pub use lesson::{Lesson, Lessons, VarianceLesson};
pub use level::{Level, Scale};
pub use precondition::{Coefficients, Precondition};
pub use prediction::Prediction;
pub use process::{Process, Variance};
pub use schedule::{Curve, Schedule, karras};
pub use spacing::Spacing;
pub use times::Times;
pub use weighting::Weighting;
