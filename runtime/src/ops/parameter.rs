//! A parameter that is a value by itself.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::Parameter;
use burn::tensor::Tensor;

impl Lower for Parameter {
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let stored = call.parameters.pop().unwrap_or_else(|| Tensor::<B, 1>::zeros([1], call.device).into_primitive().tensor());
        Value::Float(B::float_reshape(stored, burn::tensor::Shape::from(call.shape)))
    }
}
