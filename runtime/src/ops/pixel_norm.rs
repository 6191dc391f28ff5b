//! Normalisation of magnitude at each position.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::PixelNorm;
use archc_compiler::types::Axis;
use burn::tensor::backend::Backend;
use burn::tensor::{Shape, Tensor};

/// Far below every square that counts; it keeps the slope of the root finite where all channels are zero.
pub(crate) const SMALLEST_SQUARE: f64 = 1e-30;

impl Lower for PixelNorm {
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let channel = call.result.axis(Axis::Channel).map_or(0, |at| at + 1);
        let shape = call.shape.clone();
        let before: usize = shape.iter().take(channel).product();
        let channels = shape.get(channel).copied().unwrap_or(1);
        let after: usize = shape.iter().skip(channel + 1).product();
        let groups = self.groups as usize;
        let x: Tensor<B, 3> = call.operand().reshape([before * groups, channels / groups, after]);
        let y = x.clone() / magnitude(x, 1, self.eps);
        Value::Float(B::float_reshape(y.into_primitive().tensor(), Shape::from(shape)))
    }
}

/// `eps` plus the root mean square along an axis.
pub(crate) fn magnitude<B: Backend, const D: usize>(x: Tensor<B, D>, axis: usize, eps: f64) -> Tensor<B, D> {
    (x.clone() * x).mean_dim(axis).add_scalar(SMALLEST_SQUARE).sqrt().add_scalar(eps)
}
