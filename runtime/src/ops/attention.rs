//! Scaled dot-product attention.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::kernels::attention::Heads;
use crate::value::Value;
use archc_compiler::ops::Attention;
use burn::tensor::Tensor;

impl Lower for Attention {
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let [q, k, v] = std::array::from_fn(|_| call.operand().primitive());
        let bias = (!call.operands.is_empty()).then(|| {
            let bias = call.operand();
            let shape = match bias.shape().as_slice() {
                // Of a mask, the same in all heads and for all queries.
                [rows, keys] => [*rows, 1, 1, *keys],
                shape => std::array::from_fn(|axis| shape.get(axis).copied().unwrap_or(1)),
            };
            let bias: Tensor<B, 4> = bias.reshape(shape);
            bias.into_primitive().tensor()
        });
        let heads = Heads { heads: self.heads as usize, causal: self.causal };
        Value::Float(B::attend(heads, q, k, v, bias))
    }
}
