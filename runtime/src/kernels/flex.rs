//! Between Burn's CPU tensors and slices of floats.

use burn::tensor::{Bytes, DType, Shape};
use burn_flex::{FlexTensor, Layout};

/// The elements in C order. Copies them where they lie otherwise.
pub(super) fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.layout().contiguous_offsets().is_some() { tensor } else { tensor.to_contiguous() }
}

/// The elements of a contiguous tensor of 32-bit floats.
pub(super) fn elements(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice::<f32>().unwrap_or(&[])
}

/// The elements in place, if nothing else has them.
pub(super) fn own_elements(tensor: &mut FlexTensor) -> Option<&mut [f32]> {
    let (start, end) = tensor.layout().contiguous_offsets()?;
    tensor.try_storage_mut::<f32>()?.get_mut(start..end)
}

/// Whether the kernels, which know 32-bit floats, serve for it.
pub(super) fn is_f32(tensor: &FlexTensor) -> bool {
    tensor.dtype() == DType::F32
}

pub(super) fn tensor(elements: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(elements), Layout::contiguous(shape), DType::F32)
}
