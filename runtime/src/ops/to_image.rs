//! Tokens to image.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::ToImage;
use burn::tensor::Tensor;

impl Lower for ToImage {
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let shape = call.shape::<4>();
        let x: Tensor<B, 3> = call.operand().tensor();
        Value::of(x.swap_dims(1, 2).reshape(shape))
    }
}
