//! Nearest-neighbour upsampling.

use super::{Call, Lower};
use crate::value::Value;
use archc_compiler::ops::Upsample;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

impl Lower for Upsample {
    /// Each pixel repeated, then each row: no index arithmetic, and a gradient that is a sum.
    fn run<B: Backend>(&self, mut call: Call<'_, B>) -> Value<B> {
        let [batch, channels, height, width] = call.shape::<4>();
        let factor = self.factor as usize;
        let (rows, columns) = (height / factor, width / factor);
        let x: Tensor<B, 3> = call.operand().reshape([batch * channels * rows, columns, 1]);
        let wide = x.repeat_dim(2, factor).reshape([batch * channels * rows, 1, width]);
        Value::of(wide.repeat_dim(1, factor).reshape([batch, channels, height, width]))
    }
}
