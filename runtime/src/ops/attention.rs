//! Scaled dot-product attention.

use super::{Call, Lower};
use crate::value::Value;
use archc_compiler::ops::Attention;
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Tensor, TensorData, activation};

impl Lower for Attention {
    /// Products on strided views: only the result is copied, back to tokens.
    fn run<B: Backend>(&self, mut call: Call<'_, B>) -> Value<B> {
        let heads = self.heads as usize;
        let split = |x: Tensor<B, 3>| {
            let [batch, tokens, channels] = x.dims();
            x.reshape([batch, tokens, heads, channels / heads]).swap_dims(1, 2)
        };
        let batch = call.shape.first().copied().unwrap_or(1);
        let q: Tensor<B, 4> = split(call.operand().tensor());
        let k = split(call.operand().tensor());
        let v = split(call.operand().tensor());
        let [_, _, queries, width] = q.dims();
        let scale = 1.0 / (width as f64).sqrt();
        let mut scores = q.mul_scalar(scale).matmul(k.swap_dims(2, 3));
        if !call.operands.is_empty() {
            let bias = call.operand();
            let [rows, keys] = [bias.shape().first().copied().unwrap_or(1), scores.dims()[3]];
            scores = scores + bias.reshape([rows, 1, 1, keys]);
        }
        if self.causal {
            scores = scores.mask_fill(later::<B>(queries, call.device), f32::NEG_INFINITY);
        }
        let mixed = activation::softmax(scores, 3).matmul(v);
        let channels = mixed.dims()[3] * heads;
        Value::of(mixed.swap_dims(1, 2).reshape([batch, queries, channels]))
    }
}

/// True where the key is later than the query.
fn later<B: Backend>(tokens: usize, device: &B::Device) -> Tensor<B, 4, Bool> {
    let mask: Vec<bool> = (0..tokens).flat_map(|query| (0..tokens).map(move |key| key > query)).collect();
    Tensor::from_data(TensorData::new(mask, [1, 1, tokens, tokens]), device)
}
