//! Sums and means.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::Reduce;
use archc_compiler::ops::reduce::{ReducedAxes, Reduction};
use archc_compiler::types::Axis;
use burn::tensor::{Shape, Tensor};

impl Lower for Reduce {
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let x = call.operand();
        let own = x.shape();
        let channel = call.types.first().and_then(|ty| ty.axis(Axis::Channel)).map_or(1, |at| at + 1);
        let size = |from: usize, to: usize| own.iter().take(to).skip(from).product::<usize>();
        // [batch, positions before the channels, channels, positions behind them]
        let shape = [size(0, 1), size(1, channel), size(channel, channel + 1), size(channel + 1, own.len())];
        let mut x: Tensor<B, 4> = x.reshape(shape);
        let axes: &[usize] = match self.over {
            ReducedAxes::All => &[3, 2, 1],
            ReducedAxes::Positions => &[3, 1],
            ReducedAxes::Channels => &[2],
        };
        for axis in axes {
            x = match self.by {
                Reduction::Sum => x.sum_dim(*axis),
                Reduction::Mean => x.mean_dim(*axis),
            };
        }
        Value::Float(B::float_reshape(x.into_primitive().tensor(), Shape::from(call.shape)))
    }
}
