//! Filtering of images in the frequency domain, by constant matrices.

use super::along::along;
use super::{Call, Lower};
use crate::value::Value;
use archc_compiler::ops::Fourier;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

impl Lower for Fourier {
    /// `high * x + (low - high) * P x`, where a product of imaginary parts is negative.
    fn run<B: Backend>(&self, mut call: Call<'_, B>) -> Value<B> {
        let shape = call.shape::<4>();
        let [_, _, height, width] = shape;
        let x: Tensor<B, 4> = call.operand().reshape(shape);
        let gain = self.low - self.high;
        if gain == 0.0 || self.covers(height) && self.covers(width) {
            return Value::of(x.mul_scalar(self.low));
        }
        let (rows, columns) = (self.projection(height), self.projection(width));
        let low = along(x.clone(), &rows.real, &columns.real, call.device);
        let low =
            if self.is_real() { low } else { low - along(x.clone(), &rows.imaginary, &columns.imaginary, call.device) };
        let low = low.mul_scalar(gain);
        Value::of(if self.high == 0.0 { low } else { x.mul_scalar(self.high) + low })
    }
}
