//! Activation functions.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::Activation;

impl Lower for Activation {
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        Value::Float(B::activation(self.function, call.operand().primitive()))
    }
}
