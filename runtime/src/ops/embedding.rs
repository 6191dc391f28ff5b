//! Table lookup.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::Embedding;
use burn::tensor::Tensor;

impl Lower for Embedding {
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let labels = call.operand().labels();
        let table: Option<Tensor<B, 2>> = call.parameter();
        match table {
            Some(table) => {
                let rows = table.select(0, labels).into_primitive().tensor();
                Value::Float(B::float_reshape(rows, burn::tensor::Shape::from(call.shape)))
            }
            None => Value::indices(labels),
        }
    }
}
