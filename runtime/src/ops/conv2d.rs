//! Convolution over images.

use super::{Call, Lower};
use crate::value::Value;
use archc_compiler::ops::Conv2d;
use burn::tensor::backend::Backend;
use burn::tensor::ops::{ConvOptions, PadMode};
use burn::tensor::{Tensor, module};

impl Lower for Conv2d {
    fn run<B: Backend>(&self, mut call: Call<'_, B>) -> Value<B> {
        let x: Tensor<B, 4> = call.operand().tensor();
        let weight: Option<Tensor<B, 4>> = call.parameter();
        let bias: Option<Tensor<B, 1>> = call.parameter();
        let Some(weight) = weight else { return Value::of(x) };
        let (top, left, bottom, right) = self.padding.for_kernel(self.kernel);
        let [top, left, bottom, right] = [top, left, bottom, right].map(|pad| pad as usize);
        let stride = [self.stride.height as usize, self.stride.width as usize];
        let symmetric = top == bottom && left == right;
        let (x, padding) = if symmetric {
            (x, [top, left])
        } else {
            (x.pad((left, right, top, bottom), PadMode::Constant(0.0)), [0, 0])
        };
        let options = ConvOptions::new(stride, padding, [1, 1], 1);
        Value::of(module::conv2d(x, weight, bias, options))
    }
}
