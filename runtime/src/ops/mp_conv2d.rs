//! Magnitude-preserving convolution.

use super::mp_linear::unit_rows;
use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::MpConv2d;
use burn::tensor::Tensor;

impl Lower for MpConv2d {
    /// The convolution by the normalised weight.
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let weight: Option<Tensor<B, 4>> = call.parameter();
        if let Some(weight) = weight {
            let [features, inputs, height, width] = weight.dims();
            let rows = weight.reshape([features, inputs * height * width]);
            let normal = unit_rows(rows, self.eps).reshape([features, inputs, height, width]);
            call.parameters.insert(0, normal.into_primitive().tensor());
        }
        self.plain().run(call)
    }
}
