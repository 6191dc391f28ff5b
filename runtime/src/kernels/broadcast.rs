//! Sums and products of a tensor with one that has fewer axes: a gate for each channel, a shift for each sample.
//!
//! Shapes are collapsed to `[outer, middle, inner]`; the smaller operand has a stride for each of the three, zero where
//! it is repeated.

use super::simd::{self, Pairwise, Product, Sum};
use super::{Own, flex};
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Shape, Tensor, TensorMetadata, TensorPrimitive};
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use multiversion::multiversion;
use rayon::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    Add,
    Multiply,
}

/// How a small operand lies against the axes of a large one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Sizes of the large operand, and of the result.
    sizes: [usize; 3],
    /// Whether the small operand has the axis.
    has: [bool; 3],
}

impl Spread {
    /// Collapses axes. `small` has as many axes as `large`, each of its size or of one; `None` if they alternate more
    /// often than three axes can hold.
    pub fn of(large: &[usize], small: &[usize]) -> Option<Self> {
        let mut groups: Vec<(usize, bool)> = vec![];
        for (size, own) in large.iter().zip(small) {
            if *own != *size && *own != 1 {
                return None;
            }
            if *size == 1 {
                continue;
            }
            let has = own == size;
            match groups.last_mut() {
                Some((length, same)) if *same == has => *length *= size,
                _ => groups.push((*size, has)),
            }
        }
        while groups.len() < 3 {
            groups.insert(0, (1, true));
        }
        let [a, b, c] = groups.try_into().ok()?;
        Some(Self { sizes: [a.0, b.0, c.0], has: [a.1, b.1, c.1] })
    }

    /// Sizes of the small operand, with ones.
    fn small(&self) -> [usize; 3] {
        let mut sizes = self.sizes;
        for (size, has) in sizes.iter_mut().zip(self.has) {
            if !has {
                *size = 1;
            }
        }
        sizes
    }

    fn strides(&self) -> [usize; 3] {
        let [_, b, c] = self.small();
        let [x, y, z] = self.has.map(usize::from);
        [b * c * x, c * y, z]
    }

    /// Length of a row of the large operand.
    pub(super) fn inner(&self) -> usize {
        self.sizes[2]
    }

    /// What of the small operand belongs to a row: as much as the row is long, or one element.
    #[inline(always)]
    pub(super) fn row<'a>(&self, small: &'a [f32], row: usize) -> &'a [f32] {
        let [outer, middle, inner] = self.strides();
        let start = (row / self.sizes[1]) * outer + (row % self.sizes[1]) * middle;
        let length = if inner == 0 { 1 } else { self.sizes[2] };
        small.get(start..start + length).unwrap_or(&[])
    }
}

/// Backends that combine tensors of different shapes. The default repeats the small one.
pub trait BroadcastKernel: Own {
    /// `large (+ or *) small`, in the shape of `large`.
    fn broadcast(op: Binary, spread: Spread, large: FloatTensor<Self>, small: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::<Self>(op, spread, large, small)
    }

    /// Sums of `x`, or of `x * y`, over what is repeated, in the given shape; only where there is a kernel.
    fn broadcast_sum(
        _: Spread,
        _: FloatTensor<Self>,
        _: Option<FloatTensor<Self>>,
        _: Shape,
    ) -> Option<FloatTensor<Self>> {
        None
    }
}

fn composed<B: Backend>(op: Binary, spread: Spread, large: FloatTensor<B>, small: FloatTensor<B>) -> FloatTensor<B> {
    let shape = large.shape();
    let large: Tensor<B, 3> =
        Tensor::from_primitive(TensorPrimitive::Float(B::float_reshape(large, spread.sizes.into())));
    let small: Tensor<B, 3> =
        Tensor::from_primitive(TensorPrimitive::Float(B::float_reshape(small, spread.small().into())));
    let result = match op {
        Binary::Add => large + small,
        Binary::Multiply => large * small,
    };
    B::float_reshape(result.into_primitive().tensor(), shape)
}

impl BroadcastKernel for Flex {
    fn broadcast(op: Binary, spread: Spread, large: FloatTensor<Self>, small: FloatTensor<Self>) -> FloatTensor<Self> {
        if !Self::has_kernels(&large) || !Self::has_kernels(&small) {
            return composed::<Self>(op, spread, large, small);
        }
        let (mut large, small) = (flex::contiguous(large), flex::contiguous(small));
        let small = flex::elements(&small);
        let shape = large.shape();
        if spread.has == [true; 3] {
            if let Some(own) = flex::own_elements(&mut large) {
                match op {
                    Binary::Add => simd::zip_in_place::<Sum>(own, small),
                    Binary::Multiply => simd::zip_in_place::<Product>(own, small),
                }
                return large;
            }
            let large = flex::elements(&large);
            let result = match op {
                Binary::Add => simd::zip::<Sum>(large, small),
                Binary::Multiply => simd::zip::<Product>(large, small),
            };
            return flex::tensor(result, shape);
        }
        if let Some(own) = flex::own_elements(&mut large) {
            match op {
                Binary::Add => rows_in_place::<Sum>(spread, own, small),
                Binary::Multiply => rows_in_place::<Product>(spread, own, small),
            }
            return large;
        }
        let mut result = flex::elements(&large).to_vec();
        match op {
            Binary::Add => rows_in_place::<Sum>(spread, &mut result, small),
            Binary::Multiply => rows_in_place::<Product>(spread, &mut result, small),
        }
        flex::tensor(result, shape)
    }

    fn broadcast_sum(
        spread: Spread,
        x: FloatTensor<Self>,
        y: Option<FloatTensor<Self>>,
        shape: Shape,
    ) -> Option<FloatTensor<Self>> {
        let (x, y) = (flex::contiguous(x), y.map(flex::contiguous));
        let sums = sums(spread, flex::elements(&x), y.as_ref().map(flex::elements));
        Some(flex::tensor(sums, shape))
    }
}

/// Rows that a thread takes at a time.
pub(super) fn rows_per_task(inner: usize) -> usize {
    (16 * 1024 / inner.max(1)).max(1)
}

fn rows_in_place<F: Pairwise>(spread: Spread, large: &mut [f32], small: &[f32]) {
    #[multiversion(targets = "simd")]
    fn run<F: Pairwise>(spread: Spread, first: usize, chunk: &mut [f32], small: &[f32]) {
        for (at, row) in chunk.chunks_mut(spread.inner()).enumerate() {
            match spread.row(small, first + at) {
                [small] => {
                    for large in row {
                        *large = F::of(*large, *small);
                    }
                }
                small => {
                    for (large, small) in row.iter_mut().zip(small) {
                        *large = F::of(*large, *small);
                    }
                }
            }
        }
    }
    let inner = spread.inner();
    let rows = rows_per_task(inner);
    let chunks = large.par_chunks_mut(rows * inner).enumerate();
    chunks.for_each(|(task, chunk)| run::<F>(spread, task * rows, chunk, small));
}

/// Adds the sums of one block along the first axis.
#[multiversion(targets = "simd")]
fn add_block(spread: Spread, x: &[f32], y: Option<&[f32]>, sums: &mut [f32]) {
    let [_, middle, inner] = spread.sizes;
    let [_, has_middle, has_inner] = spread.has;
    let step = if has_inner { inner } else { 1 };
    for row in 0..middle {
        let range = row * inner..(row + 1) * inner;
        let (Some(x), to) = (x.get(range.clone()), if has_middle { row * step } else { 0 }) else { continue };
        let y = y.and_then(|y| y.get(range));
        let Some(sums) = sums.get_mut(to..to + step) else { continue };
        match (has_inner, y) {
            (true, Some(y)) => {
                for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
                    *sum += x * y;
                }
            }
            (true, None) => {
                for (sum, x) in sums.iter_mut().zip(x) {
                    *sum += x;
                }
            }
            (false, y) => {
                let [total] = match y {
                    Some(y) => simd::fold2(x, y, |x, y| [x * y]),
                    None => simd::fold(x, |x| [x]),
                };
                if let Some(sum) = sums.first_mut() {
                    *sum += total;
                }
            }
        }
    }
}

/// Sums over what is repeated. Threads share the axes that the small operand has; a long sum along the first axis alone
/// is cut into parts that are added up in order, so that the result does not depend on the number of threads.
fn sums(spread: Spread, x: &[f32], y: Option<&[f32]>) -> Vec<f32> {
    let [outer, middle, inner] = spread.sizes;
    let [has_outer, has_middle, has_inner] = spread.has;
    let block = middle * inner;
    let part = |at: usize| -> (&[f32], Option<&[f32]>) {
        let range = at * block..(at + 1) * block;
        (x.get(range.clone()).unwrap_or(&[]), y.map(|y| y.get(range).unwrap_or(&[])))
    };
    let small_block = if has_middle { middle } else { 1 } * if has_inner { inner } else { 1 };
    let add_block = |at: usize, sums: &mut [f32]| {
        let (x, y) = part(at);
        add_block(spread, x, y, sums);
    };
    if has_outer {
        let mut result = vec![0.0; outer * small_block];
        result.par_chunks_mut(small_block).enumerate().for_each(|(at, sums)| add_block(at, sums));
        return result;
    }
    // The parts do not depend on the machine.
    const PARTS: usize = 16;
    let each = outer.div_ceil(PARTS);
    let parts: Vec<Vec<f32>> = (0..PARTS.min(outer))
        .into_par_iter()
        .map(|part| {
            let mut sums = vec![0.0; small_block];
            for at in part * each..((part + 1) * each).min(outer) {
                add_block(at, &mut sums);
            }
            sums
        })
        .collect();
    let mut result = vec![0.0; small_block];
    for part in parts {
        for (sum, term) in result.iter_mut().zip(part) {
            *sum += term;
        }
    }
    result
}

impl<B: BroadcastKernel, C: CheckpointStrategy> BroadcastKernel for Autodiff<B, C> {
    fn broadcast(op: Binary, spread: Spread, large: FloatTensor<Self>, small: FloatTensor<Self>) -> FloatTensor<Self> {
        if !B::has_kernels(&large.primitive) || !B::has_kernels(&small.primitive) {
            return composed::<Self>(op, spread, large, small);
        }
        let nodes = [large.node.clone(), small.node.clone()];
        match BroadcastBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let factors = match op {
                    Binary::Add => None,
                    Binary::Multiply => Some((large.primitive.clone(), small.primitive.clone())),
                };
                let state = (spread, factors, small.primitive.shape());
                prep.finish(state, B::broadcast(op, spread, large.primitive, small.primitive))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::broadcast(op, spread, large.primitive, small.primitive)),
        }
    }
}

#[derive(Debug)]
struct BroadcastBackward;

impl<B: BroadcastKernel> Backward<B, 2> for BroadcastBackward {
    /// The operands of a product, and the shape of the small operand.
    type State = (Spread, Option<(FloatTensor<B>, FloatTensor<B>)>, Shape);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (spread, factors, shape) = ops.state;
        let (large, small) = factors.unzip();
        let [to_large, to_small] = ops.parents;
        if let Some(parent) = to_small {
            let sum = if spread.has == [true; 3] {
                Some(match large {
                    Some(large) => B::broadcast(Binary::Multiply, spread, large, grad.clone()),
                    None => grad.clone(),
                })
                .map(|sum| B::float_reshape(sum, shape))
            } else {
                B::broadcast_sum(spread, grad.clone(), large, shape)
            };
            if let Some(sum) = sum {
                grads.register::<B>(parent.id, sum);
            }
        }
        if let Some(parent) = to_large {
            let grad = match small {
                Some(small) => B::broadcast(Binary::Multiply, spread, grad, small),
                None => grad,
            };
            grads.register::<B>(parent.id, grad);
        }
    }
}

#[cfg(feature = "cuda")]
impl BroadcastKernel for super::Cuda {}

#[cfg(test)]
mod tests {
    use super::super::testing::{Tracked, agree, spreads};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn equal_the_composition(seed: u64, (large, small, spread) in spreads(), multiply: bool) {
            let op = if multiply { Binary::Multiply } else { Binary::Add };
            agree(
                seed,
                [large, small],
                1e-5,
                |[x, y]| Tracked::broadcast(op, spread, x, y),
                |[x, y]| composed::<Tracked>(op, spread, x, y),
            );
        }
    }

    #[test]
    fn axes_that_alternate_too_often_have_no_spread() {
        assert!(Spread::of(&[2, 3, 4, 5], &[2, 1, 4, 1]).is_none());
        assert!(Spread::of(&[2, 3, 4, 5], &[2, 1, 1, 5]).is_some());
        assert!(Spread::of(&[2, 3], &[2, 2]).is_none());
    }
}
