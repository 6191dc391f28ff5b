//! Values side by side along an axis.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::Concat;
use burn::tensor::{Shape, Tensor};

impl Lower for Concat {
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let axis = call.result.axis(self.along.axis()).map_or(0, |at| at + 1);
        let batch = call.shape.first().copied().unwrap_or(1);
        let mut parts: Vec<B::FloatTensorPrimitive> = vec![];
        while !call.operands.is_empty() {
            let part = call.operand();
            let mut shape = part.shape();
            let count = shape.iter().product();
            // A part that is the same for all samples is repeated.
            let grow = shape.first().is_some_and(|own| *own != batch);
            let flat: Tensor<B, 1> = part.reshape([count]);
            let mut primitive = B::float_reshape(flat.into_primitive().tensor(), Shape::from(shape.clone()));
            if grow {
                if let Some(first) = shape.first_mut() {
                    *first = batch;
                }
                primitive = B::float_expand(primitive, Shape::from(shape));
            }
            parts.push(primitive);
        }
        Value::Float(B::float_cat(parts, axis))
    }
}
