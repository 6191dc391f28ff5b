//! Sinusoidal features of numbers.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::Sinusoid;
use archc_compiler::ops::sinusoid::SinusoidOrder;
use burn::tensor::{Shape, Tensor, TensorData};

impl Lower for Sinusoid {
    /// Frequencies and products in f32 and in upstream's order of operations: at times near 1000 a rounding more or
    /// less shows in the fifth digit of the result.
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let half = (self.features / 2) as usize;
        let slope = -(self.max_period.ln()) as f32;
        let divisor = (half as f64 - self.shift) as f32;
        let frequencies: Vec<f32> = (0..half).map(|at| (slope * at as f32 / divisor).exp()).collect();
        let data = TensorData::new(frequencies, [1, half]);
        let frequencies: Tensor<B, 2> = Tensor::from_data(data, call.device);
        let t = call.operand();
        let numbers = t.shape().iter().product();
        let t: Tensor<B, 2> = t.reshape([numbers, 1]);
        let angles = t * frequencies;
        let (sines, cosines) = (angles.clone().sin(), angles.cos());
        let parts = match self.order {
            SinusoidOrder::CosFirst => vec![cosines, sines],
            SinusoidOrder::SinFirst => vec![sines, cosines],
        };
        // The features of one number lie side by side, those of the next behind them.
        let features: Tensor<B, 2> = Tensor::cat(parts, 1);
        Value::Float(B::float_reshape(features.into_primitive().tensor(), Shape::from(call.shape)))
    }
}
