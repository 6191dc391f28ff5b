//! Tokens change places with what is folded into the batch.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::TransposeTokens;
use burn::tensor::Tensor;

impl Lower for TransposeTokens {
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let shape = call.shape::<3>();
        let x: Tensor<B, 3> = call.operand().tensor();
        let ([batch, tokens, channels], folds) = (x.dims(), shape[1]);
        let x: Tensor<B, 4> = x.reshape([batch / folds.max(1), folds, tokens, channels]);
        Value::of(x.swap_dims(1, 2).reshape(shape))
    }
}
