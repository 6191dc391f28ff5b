//! The token at which a text ends.

use super::{Call, Lower};
use crate::host::HostData;
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::EndToken;
use burn::tensor::{Int, Tensor, TensorData};

impl Lower for EndToken {
    /// Ids are read on the host, where the first of equal ones is sure to be found.
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let [batch, channels] = call.shape::<2>();
        let x = call.operand();
        let tokens = x.shape().get(1).copied().unwrap_or(1);
        let ids = match call.operand().to_host().data {
            HostData::I64(ids) => ids,
            HostData::F32(ids) => ids.into_iter().map(|id| id as i64).collect(),
        };
        let wanted = self.id.map(|id| id.0 as i64);
        let end = |sample: usize| {
            let text = ids.get(sample * tokens..(sample + 1) * tokens).unwrap_or_default();
            let largest = text.iter().copied().max().unwrap_or(0);
            text.iter().position(|id| *id == wanted.unwrap_or(largest)).unwrap_or(0)
        };
        let own = x.shape().first().copied().unwrap_or(1);
        let rows: Vec<i64> = (0..batch).map(|sample| ((sample % own) * tokens + end(sample)) as i64).collect();
        let rows: Tensor<B, 1, Int> = Tensor::from_data(TensorData::new(rows, [batch]), call.device);
        let x: Tensor<B, 2> = x.reshape([own * tokens, channels]);
        Value::of(x.select(0, rows))
    }
}
