//! Sum of two values.

use super::{Call, Lower, elementwise};
use crate::kernels::Kernels;
use crate::kernels::broadcast::Binary;
use crate::value::Value;
use archc_compiler::ops::Add;

impl Lower for Add {
    fn run<B: Kernels>(&self, call: Call<'_, B>) -> Value<B> {
        elementwise(call, Binary::Add)
    }
}
