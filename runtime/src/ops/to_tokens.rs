//! Image, sequence or vector to tokens.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::ToTokens;
use burn::tensor::Tensor;

impl Lower for ToTokens {
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let [batch, tokens, channels] = call.shape::<3>();
        // A vector is an image of one pixel.
        let x: Tensor<B, 3> = call.operand().reshape([batch, channels, tokens]);
        Value::of(x.swap_dims(1, 2))
    }
}
