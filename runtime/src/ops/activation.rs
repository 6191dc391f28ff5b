//! Activation functions.

use super::{Call, Lower};
use crate::value::Value;
use archc_compiler::ops::Activation;
use archc_compiler::ops::activation::Function;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, activation};

impl Lower for Activation {
    fn run<B: Backend>(&self, mut call: Call<'_, B>) -> Value<B> {
        let count = call.shape.iter().product();
        let x: Tensor<B, 1> = call.operand().reshape([count]);
        let y = match self.function {
            Function::Cos => x.cos(),
            Function::Exp => x.exp(),
            Function::Gelu => activation::gelu(x),
            Function::GeluTanh => gelu_tanh(x),
            Function::Log => x.log(),
            Function::QuickGelu => x.clone() * activation::sigmoid(x.mul_scalar(1.702)),
            Function::Relu => activation::relu(x),
            Function::Rsqrt => x.sqrt().recip(),
            Function::Sigmoid => activation::sigmoid(x),
            Function::Silu => activation::silu(x),
            Function::Sin => x.sin(),
            // `log(1 + exp(x))` overflows long before its value does.
            Function::Softplus => activation::log_sigmoid(x.neg()).neg(),
            Function::Tanh => activation::tanh(x),
        };
        Value::Float(B::float_reshape(y.into_primitive().tensor(), burn::tensor::Shape::from(call.shape)))
    }
}

/// `x * sigmoid(2 u)` with `u = sqrt(2/pi) (x + 0.044715 x^3)`: the same function as `0.5 x (1 + tanh(u))`, in fewer
/// passes over memory.
fn gelu_tanh<B: Backend>(x: Tensor<B, 1>) -> Tensor<B, 1> {
    let twice = 2.0 * (2.0 / std::f64::consts::PI).sqrt();
    let cubic = (x.clone() * x.clone()).mul_scalar(0.044715 * twice).add_scalar(twice);
    let gate = activation::sigmoid(x.clone() * cubic);
    x * gate
}
