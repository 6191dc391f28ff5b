//! Scaled dot-product attention.

use super::{Call, Lower};
use crate::value::Value;
use archc_compiler::ops::Attention;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, activation};

impl Lower for Attention {
    /// Products on strided views: only the result is copied, back to tokens.
    fn run<B: Backend>(&self, mut call: Call<'_, B>) -> Value<B> {
        let heads = self.heads as usize;
        let split = |x: Tensor<B, 3>| {
            let [batch, tokens, channels] = x.dims();
            x.reshape([batch, tokens, heads, channels / heads]).swap_dims(1, 2)
        };
        let q: Tensor<B, 4> = split(call.operand().tensor());
        let k = split(call.operand().tensor());
        let v = split(call.operand().tensor());
        let [batch, _, queries, width] = q.dims();
        let scale = 1.0 / (width as f64).sqrt();
        let weights = activation::softmax(q.mul_scalar(scale).matmul(k.swap_dims(2, 3)), 3);
        let mixed = weights.matmul(v);
        let channels = mixed.dims()[3] * heads;
        Value::of(mixed.swap_dims(1, 2).reshape([batch, queries, channels]))
    }
}
