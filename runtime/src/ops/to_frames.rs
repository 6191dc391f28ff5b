//! Video to the images of its frames.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::ToFrames;

impl Lower for ToFrames {
    /// Frames lie one behind the other: only the shape changes.
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let shape = call.shape::<4>();
        Value::of(call.operand().reshape(shape))
    }
}
