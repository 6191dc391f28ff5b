//! Group normalisation.

use super::{Call, Lower};
use crate::value::Value;
use archc_compiler::ops::GroupNorm;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

impl Lower for GroupNorm {
    /// Statistics by group; then one factor and one summand for each sample and channel, applied to
    /// `[batch * channels, positions]`, the form that the CPU backend vectorises.
    fn run<B: Backend>(&self, mut call: Call<'_, B>) -> Value<B> {
        let kind = call.types.first().map(|ty| ty.kind);
        let x = call.operand();
        let (weight, bias): (Option<Tensor<B, 1>>, Option<Tensor<B, 1>>) = (call.parameter(), call.parameter());
        match kind {
            // Tokens have their channels last.
            Some(archc_compiler::types::Kind::Tokens) => {
                let x: Tensor<B, 3> = x.tensor::<3>().swap_dims(1, 2);
                let [batch, channels, positions] = x.dims();
                let y = normalize(self, x.reshape([batch * channels, positions]), batch, weight, bias);
                Value::of(y.reshape([batch, channels, positions]).swap_dims(1, 2))
            }
            // Videos are normalised over all frames together.
            Some(archc_compiler::types::Kind::Video) => {
                let x: Tensor<B, 5> = x.tensor::<5>().swap_dims(1, 2);
                let [batch, channels, frames, height, width] = x.dims();
                let flat = x.reshape([batch * channels, frames * height * width]);
                let y = normalize(self, flat, batch, weight, bias);
                Value::of(y.reshape([batch, channels, frames, height, width]).swap_dims(1, 2))
            }
            _ => {
                let shape = call.shape.clone();
                let (batch, channels) = (call.shape::<2>()[0], call.shape::<2>()[1]);
                let positions = shape.iter().skip(2).product();
                let y = normalize(self, x.reshape([batch * channels, positions]), batch, weight, bias);
                Value::Float(B::float_reshape(y.into_primitive().tensor(), burn::tensor::Shape::from(shape)))
            }
        }
    }
}

/// `x` is `[batch * channels, positions]`.
fn normalize<B: Backend>(
    norm: &GroupNorm,
    x: Tensor<B, 2>,
    batch: usize,
    weight: Option<Tensor<B, 1>>,
    bias: Option<Tensor<B, 1>>,
) -> Tensor<B, 2> {
    let [rows, positions] = x.dims();
    let channels = rows / batch.max(1);
    let groups = norm.groups as usize;
    let size = channels / groups * positions;
    let grouped = x.clone().reshape([batch * groups, size]);
    let mean = grouped.clone().mean_dim(1);
    let centred = grouped - mean.clone();
    let variance = (centred.clone() * centred).mean_dim(1);
    let inverse = variance.add_scalar(norm.eps).sqrt().recip();
    // One value for each channel of a group.
    let spread = |x: Tensor<B, 2>| x.repeat_dim(1, channels / groups).reshape([rows, 1]);
    let own = |x: Tensor<B, 1>| x.reshape([1, channels]).repeat_dim(0, batch).reshape([rows, 1]);
    let (mean, inverse) = (spread(mean), spread(inverse));
    let factor = match weight {
        Some(weight) => inverse * own(weight),
        None => inverse,
    };
    let shifted = (x - mean) * factor;
    match bias {
        Some(bias) => shifted + own(bias),
        None => shifted,
    }
}
