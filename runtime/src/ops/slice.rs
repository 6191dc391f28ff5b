//! A part of a value along an axis.

use super::{Call, Lower};
use crate::value::Value;
use archc_compiler::ops::Slice;
use burn::tensor::backend::Backend;

impl Lower for Slice {
    fn run<B: Backend>(&self, mut call: Call<'_, B>) -> Value<B> {
        let axis = call.result.axis(self.along.axis()).map_or(0, |at| at + 1);
        let (start, size) = (self.start.0 as usize, self.size as usize);
        match call.operand() {
            Value::Float(primitive) => {
                let mut ranges: Vec<burn::tensor::Slice> = call.shape.iter().map(|size| (0..*size).into()).collect();
                if let Some(range) = ranges.get_mut(axis) {
                    *range = (start..start + size).into();
                }
                Value::Float(B::float_slice(primitive, &ranges))
            }
            labels @ Value::Int(_) => labels,
        }
    }
}
