//! Filtering of images in the frequency domain, by constant matrices.

use super::{Call, Lower};
use crate::value::Value;
use archc_compiler::ops::Fourier;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

impl Lower for Fourier {
    /// `high * x + (low - high) * P x`. The matrices are symmetric but for the sign of their imaginary parts, so that which
    /// side they are multiplied from makes no difference: two signs cancel.
    fn run<B: Backend>(&self, mut call: Call<'_, B>) -> Value<B> {
        let shape = call.shape::<4>();
        let [_, _, height, width] = shape;
        let x: Tensor<B, 4> = call.operand().reshape(shape);
        let gain = self.low - self.high;
        if gain == 0.0 || self.covers(height) && self.covers(width) {
            return Value::of(x.mul_scalar(self.low));
        }
        let (rows, columns) = (self.projection(height), self.projection(width));
        let low = filtered(x.clone(), &rows.real, &columns.real, call.device);
        let low =
            if self.is_real() { low } else { low - filtered(x.clone(), &rows.imaginary, &columns.imaginary, call.device) };
        let low = low.mul_scalar(gain);
        Value::of(if self.high == 0.0 { low } else { x.mul_scalar(self.high) + low })
    }
}

/// Columns of each image times one square matrix, rows times another.
fn filtered<B: Backend>(x: Tensor<B, 4>, rows: &[f64], columns: &[f64], device: &B::Device) -> Tensor<B, 4> {
    let [batch, channels, height, width] = x.dims();
    let maps = batch * channels;
    let matrix = |values: &[f64], size: usize| {
        let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
        Tensor::<B, 2>::from_data(TensorData::new(values, [size, size]), device)
    };
    let wide = x.reshape([maps * height, width]).matmul(matrix(columns, width));
    let turned = wide.reshape([maps, height, width]).swap_dims(1, 2).reshape([maps * width, height]);
    let tall = turned.matmul(matrix(rows, height)).reshape([maps, width, height]).swap_dims(1, 2);
    tall.reshape([batch, channels, height, width])
}
