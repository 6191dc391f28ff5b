//! Patches back to an image.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::Unpatchify;
use burn::tensor::Tensor;

impl Lower for Unpatchify {
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let [batch, channels, height, width] = call.shape::<4>();
        let patch = self.patch as usize;
        let (rows, columns) = (height / patch, width / patch);
        // [batch, rows, columns, row in patch, column in patch, channel]
        let x: Tensor<B, 6> = call.operand().reshape([batch, rows, columns, patch, patch, channels]);
        Value::of(x.permute([0, 5, 1, 3, 2, 4]).reshape([batch, channels, height, width]))
    }
}
