//! Root-mean-square normalisation.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::kernels::norm::Rows;
use crate::value::Value;
use archc_compiler::ops::RmsNorm;

impl Lower for RmsNorm {
    /// With a row for each position and head.
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let channels = call.shape.last().copied().unwrap_or(1) / (self.heads as usize).max(1);
        let rows = Rows { groups: 1, channels, positions: 1, eps: self.eps, centred: false, silu: call.tail.silu };
        let x = call.operand().primitive();
        Value::Float(B::normalize(rows, x, call.affine()))
    }
}
