//! Tokens to a sequence with its channels first.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::ToSequence;
use burn::tensor::Tensor;

impl Lower for ToSequence {
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let x: Tensor<B, 3> = call.operand().tensor();
        Value::of(x.swap_dims(1, 2))
    }
}
