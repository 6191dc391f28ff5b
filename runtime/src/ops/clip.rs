//! Limits to a range.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::Clip;
use burn::tensor::{Shape, Tensor};

impl Lower for Clip {
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let count = call.shape.iter().product();
        let x: Tensor<B, 1> = call.operand().reshape([count]);
        let y = x.clamp(self.low, self.high);
        Value::Float(B::float_reshape(y.into_primitive().tensor(), Shape::from(call.shape)))
    }
}
