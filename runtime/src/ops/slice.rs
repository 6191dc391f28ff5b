//! A part of a value along an axis.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::Slice;
use burn::tensor::{Shape, Tensor};

impl Lower for Slice {
    /// With the axis in groups: `[before, groups, each, behind]`.
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let axis = call.result.axis(self.along.axis()).map_or(0, |at| at + 1);
        let x = call.operand();
        let groups = self.groups as usize;
        let kept = call.shape.get(axis).copied().unwrap_or(1) / groups.max(1);
        let before: usize = call.shape.iter().take(axis).product();
        let behind: usize = call.shape.iter().skip(axis + 1).product();
        let each = x.shape().iter().product::<usize>() / (before * groups * behind).max(1);
        // Elaboration has checked that the part lies within.
        let start = self.start.0.at(call.sizes).unwrap_or(0) as usize;
        let x: Tensor<B, 4> = x.reshape([before, groups, each, behind]);
        let part = x.slice([0..before, 0..groups, start..start + kept, 0..behind]);
        Value::Float(B::float_reshape(part.into_primitive().tensor(), Shape::from(call.shape)))
    }
}
