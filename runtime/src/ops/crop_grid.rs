//! The middle of a grid of tokens.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::dim::Dim;
use archc_compiler::ops::CropGrid;
use archc_compiler::types::Axis;
use burn::tensor::Tensor;

impl Lower for CropGrid {
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let [batch, kept, channels] = call.shape::<3>();
        let tokens = call.types.first().and_then(|x| x.dim(Axis::Token)).and_then(Dim::known).unwrap_or(1);
        let side = tokens.isqrt() as usize;
        // Elaboration has checked that both are at most as long as the side.
        let size = |dim: &Dim| dim.at(call.sizes).unwrap_or(0) as usize;
        let (height, width) = (size(&self.height), size(&self.width));
        let (top, left) = ((side - height.min(side)) / 2, (side - width.min(side)) / 2);
        let x: Tensor<B, 4> = call.operand().reshape([batch, side, side, channels]);
        let middle = x.slice([0..batch, top..top + height, left..left + width, 0..channels]);
        Value::of(middle.reshape([batch, kept, channels]))
    }
}
