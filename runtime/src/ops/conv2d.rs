//! Convolution over images.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::kernels::conv2d::Window;
use crate::value::Value;
use archc_compiler::ops::Conv2d;
use burn::tensor::Tensor;

impl Lower for Conv2d {
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let x = call.operand();
        let weight: Option<Tensor<B, 4>> = call.parameter();
        let bias: Option<Tensor<B, 1>> = call.parameter();
        let Some(weight) = weight else { return x };
        let (top, left, bottom, right) = self.padding.for_kernel(self.kernel);
        let window = Window {
            stride: [self.stride.height as usize, self.stride.width as usize],
            padding: [top, left, bottom, right].map(|pad| pad as usize),
        };
        let bias = bias.map(|bias| bias.into_primitive().tensor());
        Value::Float(B::convolve(window, x.primitive(), weight.into_primitive().tensor(), bias))
    }
}
