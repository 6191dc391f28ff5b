//! The loss of a pass, on a tape.

use super::batch::Batch;
use super::perceptual::Sight;
use crate::interface::Interface;
use crate::kernels::Tape;
use crate::value::Value;
use archc_compiler::ir::Graph;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

/// The mean square of the error, weighted by the level of noise and by the channel; where the variance is learned, with the variational bound in bits beside it,
/// which trains nothing but the variance (Nichol & Dhariwal 2021, equation 16; the first step is treated as all others).
/// Errors count as a frozen network sees them, where there is one.
pub(super) fn loss<A: Tape>(
    output: Value<A>,
    graph: &Graph,
    interface: &Interface,
    sight: Option<&Sight<A>>,
    batch: &Batch,
    device: &A::Device,
) -> Tensor<A, 1> {
    let samples = batch.lessons.len();
    let shape: Vec<usize> = output.shape().into_iter().skip(1).collect();
    let width = batch.target.len() / samples.max(1);
    // Of a network that learns its variance, channels of the prediction and of the variance take turns.
    let run = if interface.learns_variance() { interface.run_of_channels(graph, &shape) / 2 } else { width };
    let rows = batch.target.len() / run.max(1);
    let per_sample = rows / samples.max(1);
    let column = |of: &dyn Fn(&archc_process::Lesson) -> f64| -> Tensor<A, 2> {
        let values: Vec<f32> =
            batch.lessons.iter().flat_map(|lesson| std::iter::repeat_n(of(lesson) as f32, per_sample)).collect();
        Tensor::from_data(TensorData::new(values, [rows, 1]), device)
    };
    let target: Tensor<A, 2> = Tensor::from_data(TensorData::new(batch.target.clone(), [rows, run]), device);
    let weight = column(&|lesson| lesson.weight);
    let counted = |error: Tensor<A, 2>| match sight {
        Some(sight) => {
            let weight = weight.reshape([samples, per_sample]).narrow(1, 0, 1);
            sight.loss(error.reshape([samples, width]), weight, batch)
        }
        None => {
            let weight = weight * channel_weights(graph, interface, &shape, run, device);
            (error.clone() * error * weight).mean()
        }
    };
    if !interface.learns_variance() {
        return counted(output.reshape([rows, run]) - target);
    }
    let halves: Tensor<A, 3> = output.reshape([rows, 2, run]);
    let half = |at: usize| -> Tensor<A, 2> { halves.clone().narrow(1, at, 1).reshape([rows, run]) };
    let error = half(0) - target;
    let squares = error.clone() * error.clone();
    let of =
        |of: fn(&archc_process::VarianceLesson) -> f64| column(&move |lesson| lesson.variance.as_ref().map_or(0.0, of));
    let (lower, upper) = (of(|own| own.lower), of(|own| own.upper));
    let fraction = (half(1) + 1.0) / 2.0;
    let above = fraction * (upper - lower.clone());
    let log_variance = above.clone() + lower;
    let off = squares.detach() * of(|own| own.mean) * log_variance.neg().exp();
    let nats = (above.clone() - 1.0 + above.neg().exp() + off) / 2.0;
    counted(error) + nats.mean() / std::f64::consts::LN_2
}

/// How much each element of a row counts besides its level of noise: what its channel does.
fn channel_weights<B: Backend>(
    graph: &Graph,
    interface: &Interface,
    shape: &[usize],
    run: usize,
    device: &B::Device,
) -> Tensor<B, 2> {
    let weights = &interface.process.channel_weights;
    if weights.is_empty() {
        return Tensor::ones([1, 1], device);
    }
    let inside = interface.inside_channel(graph, shape);
    let each = (0..run).map(|at| weights.get(at / inside % weights.len()).map_or(1.0, |weight| *weight as f32));
    Tensor::from_data(TensorData::new(each.collect::<Vec<_>>(), [1, run]), device)
}

/// A number on the host.
pub(super) fn number<B: Backend>(tensor: Tensor<B, 1>) -> f64 {
    tensor
        .into_data()
        .convert::<f32>()
        .to_vec::<f32>()
        .ok()
        .and_then(|v| v.first().copied())
        .map_or(f64::NAN, f64::from)
}
