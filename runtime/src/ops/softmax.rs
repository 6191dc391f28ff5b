//! Softmax.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::Softmax;
use archc_compiler::ops::softmax::SoftmaxAxis;
use archc_compiler::types::{Axis, Kind};
use burn::tensor::{Shape, Tensor, activation};

impl Lower for Softmax {
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let channel = call.result.axis(Axis::Channel).map_or(0, |at| at + 1);
        let shape = call.shape.clone();
        let product = |sizes: &mut dyn Iterator<Item = &usize>| sizes.product::<usize>();
        let before = product(&mut shape.iter().take(channel));
        let channels = shape.get(channel).copied().unwrap_or(1);
        let after = product(&mut shape.iter().skip(channel + 1));
        let batch = shape.first().copied().unwrap_or(1);
        let x = call.operand();
        let y = match (self.over, call.result.kind) {
            (SoftmaxAxis::Channels, _) => {
                let x: Tensor<B, 3> = x.reshape([before, channels, after]);
                activation::softmax(x, 1)
            }
            // Channels lie outside of the positions in images, inside in tokens.
            (SoftmaxAxis::Positions, Kind::Image | Kind::Sequence) => {
                let x: Tensor<B, 3> = x.reshape([batch * channels, after, 1]);
                activation::softmax(x, 1)
            }
            (SoftmaxAxis::Positions, Kind::Video) => {
                let frames = before / batch.max(1);
                let x: Tensor<B, 4> = x.reshape([batch, frames, channels, after]);
                let x = x.swap_dims(1, 2).reshape([batch * channels, frames * after, 1]);
                let y = activation::softmax(x, 1).reshape([batch, channels, frames, after]);
                y.swap_dims(1, 2).reshape([batch, frames * channels, after])
            }
            (
                SoftmaxAxis::Positions,
                Kind::Tokens
                | Kind::Vector
                | Kind::Mask
                | Kind::Scalar
                | Kind::Timestep
                | Kind::Sigma
                | Kind::Label
                | Kind::Ids,
            ) => {
                let x: Tensor<B, 3> = x.reshape([batch, before / batch.max(1), channels]);
                activation::softmax(x, 1)
            }
        };
        Value::Float(B::float_reshape(y.into_primitive().tensor(), Shape::from(shape)))
    }
}
