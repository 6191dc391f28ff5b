//! Sine-cosine positions that are computed, not stored.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::SincosGrid;
use burn::tensor::{Tensor, TensorData};

impl Lower for SincosGrid {
    fn run<B: Kernels>(&self, call: Call<'_, B>) -> Value<B> {
        let table = self.positions().at(call.sizes);
        let values: Vec<f32> = table.map(|table| table.values(self.features).collect()).unwrap_or_default();
        let table: Tensor<B, 3> = Tensor::from_data(TensorData::new(values, call.shape::<3>()), call.device);
        Value::of(table)
    }
}
