//! Layer normalisation.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::kernels::norm::Rows;
use crate::value::Value;
use archc_compiler::ops::LayerNorm;
use burn::tensor::Tensor;

impl Lower for LayerNorm {
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let channels = call.shape.last().copied().unwrap_or(1);
        let rows = Rows { groups: 1, channels, positions: 1, eps: self.eps, silu: false };
        let x = call.operand().primitive();
        let (weight, bias): (Option<Tensor<B, 1>>, Option<Tensor<B, 1>>) = (call.parameter(), call.parameter());
        match (weight, bias) {
            (Some(weight), Some(bias)) => {
                let affine = (weight.into_primitive().tensor(), bias.into_primitive().tensor());
                Value::Float(B::normalize(rows, x, Some(affine)))
            }
            (Some(weight), None) => {
                let count = call.shape.iter().product::<usize>() / channels.max(1);
                let normal: Tensor<B, 2> = Value::<B>::Float(B::normalize(rows, x, None)).reshape([count, channels]);
                let y = normal * weight.reshape([1, channels]);
                Value::Float(B::float_reshape(y.into_primitive().tensor(), burn::tensor::Shape::from(call.shape)))
            }
            (None, _) => Value::Float(B::normalize(rows, x, None)),
        }
    }
}
