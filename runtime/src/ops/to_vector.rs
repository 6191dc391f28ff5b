//! Tokens to one vector.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::ToVector;
use burn::tensor::Tensor;

impl Lower for ToVector {
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let shape = call.shape::<2>();
        let y: Tensor<B, 2> = call.operand().reshape(shape);
        Value::of(y)
    }
}
