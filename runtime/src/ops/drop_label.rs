//! Dropping of class labels in training.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::dim::Dim;
use archc_compiler::ops::DropLabel;
use archc_compiler::types::Axis;
use burn::tensor::{Bool, Tensor, TensorData};
use rand::Rng;

impl Lower for DropLabel {
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let labels = call.operand().labels();
        let Some(rng) = &mut call.masks else { return Value::indices(labels) };
        let null = call.result.dim(Axis::Class).and_then(Dim::known).unwrap_or(1) - 1;
        let dropped: Vec<bool> = (0..labels.dims()[0]).map(|_| rng.random_bool(self.rate.0)).collect();
        let mask = TensorData::new(dropped, labels.dims());
        let mask: Tensor<B, 1, Bool> = Tensor::from_data(mask, call.device);
        Value::indices(labels.mask_fill(mask, null as i64))
    }
}
