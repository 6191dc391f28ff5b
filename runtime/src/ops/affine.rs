//! Multiplication by a number and addition of a number.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::Affine;
use burn::tensor::Tensor;

impl Lower for Affine {
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let count = call.shape.iter().product();
        let mut x: Tensor<B, 1> = call.operand().reshape([count]);
        if self.scale != 1.0 {
            x = x.mul_scalar(self.scale);
        }
        if self.shift != 0.0 {
            x = x.add_scalar(self.shift);
        }
        Value::Float(B::float_reshape(x.into_primitive().tensor(), burn::tensor::Shape::from(call.shape)))
    }
}
