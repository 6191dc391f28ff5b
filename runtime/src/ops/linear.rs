//! Affine map of the channels.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::Linear;
use burn::tensor::{Shape, Tensor};

impl Lower for Linear {
    /// On a matrix of all positions: with a batch in front Burn would compute one weight gradient for each sample.
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let x = call.operand();
        let inputs = x.shape().last().copied().unwrap_or(1);
        let rows = x.shape().iter().product::<usize>() / inputs.max(1);
        let x: Tensor<B, 2> = x.reshape([rows, inputs]);
        let weight: Option<Tensor<B, 2>> = call.parameter();
        let bias: Option<Tensor<B, 1>> = call.parameter();
        let Some(weight) = weight else { return Value::of(x) };
        let bias = bias.map(|bias| bias.into_primitive().tensor());
        let y = B::affine(x.into_primitive().tensor(), weight.into_primitive().tensor(), bias);
        Value::Float(B::float_reshape(y, Shape::from(call.shape)))
    }
}
