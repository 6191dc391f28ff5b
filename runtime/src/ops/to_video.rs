//! Images of frames to a video.

use super::{Call, Lower};
use crate::kernels::Kernels;
use crate::value::Value;
use archc_compiler::ops::ToVideo;

impl Lower for ToVideo {
    /// Frames lie one behind the other: only the shape changes.
    fn run<B: Kernels>(&self, mut call: Call<'_, B>) -> Value<B> {
        let shape = call.shape::<5>();
        Value::of(call.operand().reshape(shape))
    }
}
