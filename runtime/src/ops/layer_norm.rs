//! Layer normalisation.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::kernels::norm::Rows;
use crate::value::Value;
use archc_compiler::ops::LayerNorm;

impl Lower for LayerNorm {
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let channels = call.shape.last().copied().unwrap_or(1);
        let rows = Rows { groups: 1, channels, positions: 1, eps: self.eps, centred: true, silu: call.tail.silu };
        let x = call.operand().primitive();
        Value::Float(B::normalize(rows, x, call.affine()))
    }
}
