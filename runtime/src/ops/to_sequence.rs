//! Tokens to a sequence with its channels first.

use super::{Call, Lower};
use crate::value::Value;
use archc_compiler::ops::ToSequence;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

impl Lower for ToSequence {
    fn run<B: Backend>(&self, mut call: Call<'_, B>) -> Value<B> {
        let x: Tensor<B, 3> = call.operand().tensor();
        Value::of(x.swap_dims(1, 2))
    }
}
