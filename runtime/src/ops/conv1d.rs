//! Convolution over a sequence.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::Conv1d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Tensor, module};

impl Lower for Conv1d {
    /// With a kernel of 1 a matrix product over all tokens, else Burn's convolution, which has its channels first.
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let x: Tensor<B, 3> = call.operand().tensor();
        let weight: Option<Tensor<B, 3>> = call.parameter();
        let bias: Option<Tensor<B, 1>> = call.parameter();
        let Some(weight) = weight else { return Value::of(x) };
        let [batch, tokens, inputs] = x.dims();
        let [features, _, _] = weight.dims();
        if self.is_pointwise() {
            let weight: Tensor<B, 2> = weight.reshape([features, inputs]);
            let y = module::linear(x.reshape([batch * tokens, inputs]), weight.transpose(), bias);
            return Value::of(y.reshape([batch, tokens, features]));
        }
        let options = ConvOptions::new([self.stride as usize], [self.zeros() as usize], [1], 1);
        Value::of(module::conv1d(x.swap_dims(1, 2), weight, bias, options).swap_dims(1, 2))
    }
}
