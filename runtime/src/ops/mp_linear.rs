//! Magnitude-preserving linear map.

use super::pixel_norm::magnitude;
use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::MpLinear;
use burn::tensor::backend::Backend;
use burn::tensor::{Shape, Tensor, module};

impl Lower for MpLinear {
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let x = call.operand();
        let inputs = x.shape().last().copied().unwrap_or(1);
        let rows = x.shape().iter().product::<usize>() / inputs.max(1);
        let x: Tensor<B, 2> = x.reshape([rows, inputs]);
        let weight: Option<Tensor<B, 2>> = call.parameter();
        let Some(weight) = weight else { return Value::of(x) };
        let y = module::linear(x, unit_rows(weight, self.eps).transpose(), None);
        Value::Float(B::float_reshape(y.into_primitive().tensor(), Shape::from(call.shape)))
    }
}

/// Rows of unit root mean square: what forced weight normalisation makes of a stored weight.
pub(crate) fn normal_rows<B: Backend>(weight: Tensor<B, 2>, eps: f64) -> Tensor<B, 2> {
    weight.clone() / magnitude(weight, 1, eps)
}

/// Rows of unit length.
pub(crate) fn unit_rows<B: Backend>(weight: Tensor<B, 2>, eps: f64) -> Tensor<B, 2> {
    let [_, inputs] = weight.dims();
    normal_rows(weight, eps).mul_scalar(1.0 / (inputs as f64).sqrt())
}
