//! Root-mean-square normalisation.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::RmsNorm;
use burn::tensor::Tensor;

impl Lower for RmsNorm {
    /// On a matrix with a row for each position and head.
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let channels = call.shape.last().copied().unwrap_or(1) / (self.heads as usize).max(1);
        let rows = call.shape.iter().product::<usize>() / channels.max(1);
        let x: Tensor<B, 2> = call.operand().reshape([rows, channels]);
        let square = (x.clone() * x.clone()).mean_dim(1);
        let mut y = x * square.add_scalar(self.eps).sqrt().recip();
        let weight: Option<Tensor<B, 1>> = call.parameter();
        if let Some(weight) = weight {
            y = y * weight.reshape([1, channels]);
        }
        Value::Float(B::float_reshape(y.into_primitive().tensor(), burn::tensor::Shape::from(call.shape)))
    }
}
