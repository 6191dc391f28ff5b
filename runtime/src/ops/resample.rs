//! Resampling of images by a separable filter.

use super::upsample::repeat_pixels;
use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::init::filter_2d;
use archc_compiler::ops::Resample;
use burn::tensor::backend::Backend;
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};
use burn::tensor::{Tensor, TensorData, module};

impl Lower for Resample {
    /// Every channel is an image of its own, so that one filter serves all of them. Means of windows that tile the
    /// image, and repeated pixels, need no convolution.
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let [batch, channels, height, width] = call.shape::<4>();
        let x = call.operand();
        let stored: Option<Tensor<B, 4>> = call.parameter();
        let factor = self.factor() as usize;
        let maps = batch * channels;
        if stored.is_none() && self.is_box() {
            if self.up > 1 {
                return Value::of(repeat_pixels(x, [batch, channels, height, width], factor));
            }
            let rows: Tensor<B, 3> = x.reshape([maps * height * factor, width, factor]);
            let rows: Tensor<B, 3> = rows.mean_dim(2).reshape([maps * height, factor, width]);
            return Value::of(rows.mean_dim(1).reshape([batch, channels, height, width]));
        }
        let filter = stored.unwrap_or_else(|| filter(self, call.device));
        let (rows, columns) = match x.shape().as_slice() {
            [_, _, rows, columns] => (*rows, *columns),
            _ => (height, width),
        };
        let x: Tensor<B, 4> = x.reshape([maps, 1, rows, columns]);
        let (stride, padding) = ([factor; 2], [self.zeros() as usize; 2]);
        let y = if self.up > 1 {
            let options = ConvTransposeOptions::new(stride, padding, [0, 0], [1, 1], 1);
            module::conv_transpose2d(x, filter.mul_scalar((factor * factor) as f64), None, options)
        } else {
            module::conv2d(x, filter, None, ConvOptions::new(stride, padding, [1, 1], 1))
        };
        Value::of(y.reshape([batch, channels, height, width]))
    }
}

fn filter<B: Backend>(resample: &Resample, device: &B::Device) -> Tensor<B, 4> {
    let taps = resample.taps();
    let values: Vec<f32> = filter_2d(&taps).into_iter().map(|tap| tap as f32).collect();
    Tensor::from_data(TensorData::new(values, [1, 1, taps.len(), taps.len()]), device)
}
