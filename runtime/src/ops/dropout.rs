//! Random masks in training.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::Dropout;
use archc_compiler::ops::dropout::MaskUnit;
use burn::tensor::{Tensor, TensorData};
use rand::Rng;

impl Lower for Dropout {
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let value = call.operand();
        let Some(rng) = &mut call.masks else { return value };
        let count: usize = call.shape.iter().product();
        let samples = call.shape.first().copied().unwrap_or(1);
        let (rows, columns) = match self.per {
            MaskUnit::Element => (count, 1),
            MaskUnit::Sample => (samples, count / samples.max(1)),
        };
        let keep = 1.0 - self.rate.0;
        let factor = if self.rescale { (1.0 / keep) as f32 } else { 1.0 };
        let mask: Vec<f32> = (0..rows).map(|_| if rng.random_bool(keep) { factor } else { 0.0 }).collect();
        let data = TensorData::new(mask, [rows, 1]);
        let mask: Tensor<B, 2> = Tensor::from_data(data, call.device);
        let masked = value.reshape([rows, columns]) * mask;
        Value::Float(B::float_reshape(masked.into_primitive().tensor(), burn::tensor::Shape::from(call.shape)))
    }
}
