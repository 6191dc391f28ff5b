//! Layer normalisation.

use super::{Call, Lower};
use crate::value::Value;
use archc_compiler::ops::LayerNorm;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

impl Lower for LayerNorm {
    fn run<B: Backend>(&self, mut call: Call<'_, B>) -> Value<B> {
        let channels = call.shape.last().copied().unwrap_or(1);
        let rows = call.shape.iter().product::<usize>() / channels.max(1);
        let x: Tensor<B, 2> = call.operand().reshape([rows, channels]);
        let centred = x.clone() - x.mean_dim(1);
        let variance = (centred.clone() * centred.clone()).mean_dim(1);
        let mut y = centred * variance.add_scalar(self.eps).sqrt().recip();
        let (weight, bias): (Option<Tensor<B, 1>>, Option<Tensor<B, 1>>) = (call.parameter(), call.parameter());
        if let Some(weight) = weight {
            y = y * weight.reshape([1, channels]);
        }
        if let Some(bias) = bias {
            y = y + bias.reshape([1, channels]);
        }
        Value::Float(B::float_reshape(y.into_primitive().tensor(), burn::tensor::Shape::from(call.shape)))
    }
}
