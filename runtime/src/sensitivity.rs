//! How strongly a network answers to small errors of a sample, channel by channel.

use crate::data::Samples;
use crate::error::RunError;
use crate::frozen::Frozen;
use crate::host::HostTensor;
use crate::init;
use crate::session::{Device, Passes, Request, Session, Weights, open_with};
use rand::Rng;
use rand::seq::SliceRandom;

/// The largest error that a derivative is taken over, relative to the root of the mean square of a sample. In f32 it has
/// to be so large that the difference of two values still has digits.
pub(crate) const STEP: f64 = 1.0 / 256.0;

/// How often it is looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probing {
    /// Samples that errors are added to; all if there are fewer.
    pub samples: usize,
    /// Draws of an error in each channel of each sample.
    pub draws: usize,
    /// Samples in one pass.
    pub batch: usize,
    /// Of the samples that are picked, and of the errors.
    pub seed: u64,
}

/// The mean square of the Jacobian for each channel `c`, `E mean (J e_c)^2`: the mean square by which the elements of the
/// network's value change, relative to that of an error in this channel alone.
///
/// Errors are random signs `e_c`, whose expectation is the sum of squares of the Jacobian's columns of that channel
/// (Hutchinson 1990), and are as small as a forward difference may be. Their sum over all channels is how strongly the
/// value answers to errors of a sample that are independent and of one variance. `each` is told the passes that are done,
/// and how many there will be.
pub fn sensitivity(
    frozen: &Frozen,
    samples: &Samples,
    probing: &Probing,
    device: Device,
    mut each: impl FnMut(usize, usize),
) -> Result<Vec<f64>, RunError> {
    let session = open_with(&frozen.plan.graph, device, Weights::Tensors(&frozen.parameters), Passes::None)?;
    let (channels, inside) = frozen.channels();
    let mut rows: Vec<usize> = (0..samples.len()).collect();
    rows.shuffle(&mut init::stream(probing.seed, "sensitivity.samples"));
    rows.truncate(probing.samples);
    let mut signs = init::stream(probing.seed, "sensitivity.errors");
    let width = samples.width();
    let mut sums = vec![0.0; channels];
    let passes = rows.len().div_ceil(probing.batch) * (1 + channels * probing.draws);
    let mut done = 0;
    let mut look = |values: Vec<f32>| -> Result<Vec<f32>, RunError> {
        let value = value(&*session, frozen, values)?;
        done += 1;
        each(done, passes);
        Ok(value)
    };
    for rows in rows.chunks(probing.batch) {
        let clean = samples.rows(rows);
        let steps: Vec<f64> = clean.chunks(width).map(|own| STEP * magnitude(own)).collect();
        let still = look(clean.clone())?;
        let features = still.len() / rows.len();
        for (channel, sum) in sums.iter_mut().enumerate() {
            for _ in 0..probing.draws {
                let moved = clean.iter().enumerate().map(|(at, own)| {
                    let is_hit = at % width / inside % channels == channel;
                    if !is_hit {
                        return *own;
                    }
                    let step = steps.get(at / width).copied().unwrap_or(0.0) as f32;
                    if signs.random() { own + step } else { own - step }
                });
                let value = look(moved.collect())?;
                for ((still, value), step) in still.chunks(features).zip(value.chunks(features)).zip(&steps) {
                    let squares: f64 = still.iter().zip(value).map(|(a, b)| f64::from(b - a).powi(2)).sum();
                    *sum += squares / features as f64 / (step * step);
                }
            }
        }
    }
    let count = (rows.len() * probing.draws).max(1) as f64;
    let gains: Vec<f64> = sums.into_iter().map(|sum| sum / count).collect();
    if gains.iter().all(|gain| gain.is_finite()) && gains.iter().sum::<f64>() > 0.0 {
        return Ok(gains);
    }
    let name = frozen.plan.graph.name();
    Err(RunError::Unsupported(format!("{name} gives no channel a weight: its value answers to errors by {gains:?}")))
}

/// Sensitivities as weights of channels: their mean is one.
#[must_use]
pub fn channel_weights(gains: &[f64]) -> Vec<f64> {
    let mean = gains.iter().sum::<f64>() / gains.len().max(1) as f64;
    gains.iter().map(|gain| gain / mean).collect()
}

/// The root of the mean square of a sample; 1 for one that is zero everywhere.
pub(crate) fn magnitude(sample: &[f32]) -> f64 {
    let squares: f64 = sample.iter().map(|value| f64::from(*value).powi(2)).sum();
    let root = (squares / sample.len().max(1) as f64).sqrt();
    if root > 0.0 { root } else { 1.0 }
}

/// The value that counts, for some samples.
fn value(session: &dyn Session, frozen: &Frozen, samples: Vec<f32>) -> Result<Vec<f32>, RunError> {
    let count = samples.len() / frozen.sample().iter().product::<usize>().max(1);
    let shape = std::iter::once(count).chain(frozen.sample().iter().copied()).collect();
    let request = Request { inputs: vec![HostTensor::f32(shape, samples)], gradients: false, keep: vec![frozen.at] };
    let mut response = session.run(&request)?;
    let value = response.kept.remove(&frozen.at);
    Ok(value.map(HostTensor::into_f32).unwrap_or_default())
}
