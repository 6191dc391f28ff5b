//! Convolution over videos.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::kernels::conv2d::padded;
use crate::value::Value;
use archc_compiler::ops::Conv3d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Tensor, module};

impl Lower for Conv3d {
    /// Burn has the channels before the frames.
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let x: Tensor<B, 5> = call.operand().tensor();
        let weight: Option<Tensor<B, 5>> = call.parameter();
        let bias: Option<Tensor<B, 1>> = call.parameter();
        let Some(weight) = weight else { return Value::of(x) };
        let x = x.swap_dims(1, 2);
        let sides = self.padding.for_kernel(self.kernel).map(|(before, behind)| (before as usize, behind as usize));
        let (x, padding) = if sides.iter().all(|(before, behind)| before == behind) {
            (x, sides.map(|(before, _)| before))
        } else {
            (padded(x, sides), [0; 3])
        };
        let stride = self.stride.0.map(|step| step as usize);
        let y = module::conv3d(x, weight, bias, ConvOptions::new(stride, padding, [1; 3], 1));
        Value::of(y.swap_dims(1, 2))
    }
}
