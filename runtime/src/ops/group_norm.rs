//! Group normalisation.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::kernels::norm::Rows;
use crate::value::Value;
use archc_compiler::ops::GroupNorm;
use archc_compiler::types::Kind;
use burn::tensor::Tensor;

impl Lower for GroupNorm {
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let kind = call.types.first().map(|ty| ty.kind);
        let x = call.operand();
        let (silu, affine) = (call.tail.silu, call.affine());
        let shape = call.shape.clone();
        // Channels and positions of one sample, where channels come first.
        let normalize = |x: Value<B>, channels: usize, positions: usize| {
            let groups = self.groups as usize;
            let channels = channels / groups;
            let rows = Rows { groups, channels, positions, eps: self.eps, centred: true, silu };
            Value::Float(B::normalize(rows, x.primitive(), affine))
        };
        match kind {
            // Tokens have their channels last.
            Some(Kind::Tokens) => {
                let x: Tensor<B, 3> = x.tensor::<3>().swap_dims(1, 2);
                let [_, channels, positions] = x.dims();
                Value::of(normalize(Value::of(x), channels, positions).tensor::<3>().swap_dims(1, 2))
            }
            // Videos are normalised over all frames together.
            Some(Kind::Video) => {
                let x: Tensor<B, 5> = x.tensor::<5>().swap_dims(1, 2);
                let [_, channels, frames, height, width] = x.dims();
                Value::of(normalize(Value::of(x), channels, frames * height * width).tensor::<5>().swap_dims(1, 2))
            }
            _ => {
                let channels = shape.get(1).copied().unwrap_or(1);
                normalize(x, channels, shape.iter().skip(2).product())
            }
        }
    }
}
