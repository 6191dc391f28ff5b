//! Sine-cosine positions that are computed, not stored.

use super::{Call, Lower};
use crate::value::Value;
use archc_compiler::ops::SincosGrid;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

impl Lower for SincosGrid {
    fn run<B: Backend>(&self, call: Call<'_, B>) -> Value<B> {
        let table = self.positions().at(call.sizes);
        let values: Vec<f32> = table.map(|table| table.values(self.features).collect()).unwrap_or_default();
        let table: Tensor<B, 3> = Tensor::from_data(TensorData::new(values, call.shape::<3>()), call.device);
        Value::of(table)
    }
}
