//! Sinusoidal features of a number.

use super::{Call, Lower};
use crate::value::Value;
use archc_compiler::ops::Sinusoid;
use archc_compiler::ops::sinusoid::SinusoidOrder;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

impl Lower for Sinusoid {
    /// Frequencies and products in f32 and in upstream's order of operations: at times near 1000 a rounding more or
    /// less shows in the fifth digit of the result.
    fn run<B: Backend>(&self, mut call: Call<'_, B>) -> Value<B> {
        let half = (self.features / 2) as usize;
        let slope = -(self.max_period.ln()) as f32;
        let divisor = (half as f64 - self.shift) as f32;
        let frequencies: Vec<f32> = (0..half).map(|at| (slope * at as f32 / divisor).exp()).collect();
        let data = TensorData::new(frequencies, [1, half]);
        let frequencies: Tensor<B, 2> = Tensor::from_data(data, call.device);
        // One row for each number.
        let rows = call.shape.iter().product::<usize>() / (2 * half).max(1);
        let t: Tensor<B, 2> = call.operand().reshape([rows, 1]);
        let angles = t * frequencies;
        let (sines, cosines) = (angles.clone().sin(), angles.cos());
        let parts = match self.order {
            SinusoidOrder::CosFirst => vec![cosines, sines],
            SinusoidOrder::SinFirst => vec![sines, cosines],
        };
        let y = Tensor::cat(parts, 1).into_primitive().tensor();
        Value::Float(B::float_reshape(y, burn::tensor::Shape::from(call.shape)))
    }
}
