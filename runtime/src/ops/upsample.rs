//! Nearest-neighbour upsampling.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::Upsample;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

impl Lower for Upsample {
    /// Each pixel repeated, then each row: no index arithmetic, and a gradient that is a sum.
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let shape = call.shape::<4>();
        Value::of(repeat_pixels(call.operand(), shape, self.factor as usize))
    }
}

/// Each pixel `factor` times in both directions; `shape` is that of the result.
pub(super) fn repeat_pixels<B: Backend>(x: Value<B>, shape: [usize; 4], factor: usize) -> Tensor<B, 4> {
    let [batch, channels, height, width] = shape;
    let (rows, columns) = (height / factor, width / factor);
    let x: Tensor<B, 3> = x.reshape([batch * channels * rows, columns, 1]);
    let wide = x.repeat_dim(2, factor).reshape([batch * channels * rows, 1, width]);
    wide.repeat_dim(1, factor).reshape(shape)
}
