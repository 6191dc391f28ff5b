//! Bicubic resizing of images, by constant matrices.

use super::along::along;
use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::Resize;
use burn::tensor::Tensor;

impl Lower for Resize {
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let [batch, channels, height, width] = call.shape::<4>();
        let x = call.operand();
        let (rows, columns) = match x.shape().as_slice() {
            [_, _, rows, columns] => (*rows, *columns),
            _ => (height, width),
        };
        let x: Tensor<B, 4> = x.reshape([batch, channels, rows, columns]);
        if (rows, columns) == (height, width) {
            return Value::of(x);
        }
        Value::of(along(x, &Resize::weights(rows, height), &Resize::weights(columns, width), call.device))
    }
}
