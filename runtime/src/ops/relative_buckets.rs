//! Classes of distances between tokens.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::RelativeBuckets;
use burn::tensor::{Int, Tensor, TensorData};

impl Lower for RelativeBuckets {
    fn run<B: Kernels>(&self, call: Call<'_, B>) -> Value<B> {
        let count = self.count.at(call.sizes).unwrap_or(0);
        let classes: Vec<i64> = self.classes(count).map(|class| class as i64).collect();
        let classes: Tensor<B, 2, Int> =
            Tensor::from_data(TensorData::new(classes, [1, (count * count) as usize]), call.device);
        Value::indices(classes)
    }
}
