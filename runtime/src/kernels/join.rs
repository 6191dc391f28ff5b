//! Putting matrices side by side in memory that is there already, so that none is in memory twice.

use super::{Own, flex};
use burn::backend::{Autodiff, Flex};
use burn::tensor::ops::{FloatTensor, FloatTensorOps};
use burn::tensor::{Shape, Slice, TensorMetadata};
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;

/// Backends that write a part of a tensor in place. The default is Burn's.
pub trait JoinKernel: Own {
    /// Zeros of a shape, of the kind of `like`, whose memory the system gives when it is written.
    fn room(shape: Shape, like: &FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_zeros(shape, &Self::float_device(like), like.dtype().into())
    }

    /// `whole` with `part` at `start` along an axis.
    fn write_part(whole: FloatTensor<Self>, part: FloatTensor<Self>, axis: usize, start: usize) -> FloatTensor<Self> {
        composed::<Self>(whole, part, axis, start)
    }
}

fn composed<B: Own>(whole: FloatTensor<B>, part: FloatTensor<B>, axis: usize, start: usize) -> FloatTensor<B> {
    let range = |(at, size): (usize, usize)| if at == axis { start..start + size } else { 0..size };
    let ranges: Vec<Slice> = part.shape().to_vec().into_iter().enumerate().map(range).map(Slice::from).collect();
    B::float_slice_assign(whole, &ranges, part)
}

impl JoinKernel for Flex {
    fn room(shape: Shape, like: &FloatTensor<Self>) -> FloatTensor<Self> {
        if Self::has_kernels(like) {
            return flex::tensor(vec![0.0; shape.num_elements()], shape);
        }
        Self::float_zeros(shape, &Self::float_device(like), like.dtype().into())
    }

    fn write_part(whole: FloatTensor<Self>, part: FloatTensor<Self>, axis: usize, start: usize) -> FloatTensor<Self> {
        let behind = |shape: &Shape, from: usize| shape.to_vec().iter().skip(from).product::<usize>();
        let (row, own) = (behind(&whole.shape(), axis), behind(&part.shape(), axis));
        let first = start * behind(&whole.shape(), axis + 1);
        let mut whole = whole;
        if !Self::has_kernels(&whole) || !Self::has_kernels(&part) || flex::own_elements(&mut whole).is_none() {
            return composed::<Self>(whole, part, axis, start);
        }
        let part = flex::contiguous(part);
        if let Some(elements) = flex::own_elements(&mut whole) {
            let rows = elements.chunks_exact_mut(row.max(1)).zip(flex::elements(&part).chunks_exact(own.max(1)));
            for (whole, part) in rows {
                if let Some(to) = whole.get_mut(first..first + own) {
                    to.copy_from_slice(part);
                }
            }
        }
        whole
    }
}

/// Nothing of it is on a tape.
impl<B: JoinKernel, C: CheckpointStrategy> JoinKernel for Autodiff<B, C> {}

#[cfg(feature = "cuda")]
impl JoinKernel for super::Cuda {}

#[cfg(test)]
mod tests {
    use super::super::testing::draw;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn equals_burn(seed: u64, sizes in prop::array::uniform3(1usize..6), more in 0usize..5, axis in 0usize..3) {
            let mut large = sizes.to_vec();
            if let Some(size) = large.get_mut(axis) {
                *size += more;
            }
            let [whole, part]: [FloatTensor<Flex>; 2] =
                draw(seed, &[large, sizes.to_vec()]).try_into().expect("two tensors");
            let start = (seed as usize) % (more + 1);
            let expected = composed::<Flex>(whole.clone(), part.clone(), axis, start);
            let copy = flex::tensor(flex::elements(&whole).to_vec(), whole.shape());
            let found = Flex::write_part(copy, part, axis, start);
            prop_assert_eq!(flex::elements(&found), flex::elements(&expected));
        }
    }
}
