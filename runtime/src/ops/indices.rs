//! Numbers that count.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::Indices;
use burn::tensor::{Tensor, TensorData};

impl Lower for Indices {
    fn run<B: Kernels>(&self, call: Call<'_, B>) -> Value<B> {
        let count = call.shape::<3>()[1];
        let numbers: Vec<f32> = (0..count).map(|at| at as f32).collect();
        let numbers: Tensor<B, 3> = Tensor::from_data(TensorData::new(numbers, [1, count, 1]), call.device);
        Value::of(numbers)
    }
}
