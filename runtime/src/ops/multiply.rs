//! Product of two values.

use super::{Call, Lower, elementwise};
use crate::value::Value;
use archc_compiler::ops::Multiply;
use burn::tensor::backend::Backend;

impl Lower for Multiply {
    fn run<B: Backend>(&self, call: Call<'_, B>) -> Value<B> {
        elementwise(call, |a, b| a * b)
    }
}
