//! Affine maps: the bias lies in the result before the product is added to it, and gradients are products without
//! copies of transposed matrices.

use super::simd;
use super::{Own, flex};
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorMetadata, TensorPrimitive, module};
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use rayon::prelude::*;

/// Backends that have affine maps. The default is Burn's.
pub trait LinearKernel: Own {
    /// `x W + b`: `x` is `[rows, in]`, `weight` `[in, out]`, `bias` `[out]`.
    fn affine(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: Option<FloatTensor<Self>>) -> FloatTensor<Self> {
        composed::<Self>(x, weight, bias)
    }

    /// `g W^T`, `[rows, in]`; only where there is a kernel.
    fn affine_backward_input(_: FloatTensor<Self>, _: FloatTensor<Self>) -> Option<FloatTensor<Self>> {
        None
    }

    /// `x^T g`, `[in, out]`; only where there is a kernel.
    fn affine_backward_weight(_: FloatTensor<Self>, _: FloatTensor<Self>) -> Option<FloatTensor<Self>> {
        None
    }

    /// Sums of the columns of `g`, `[out]`; only where there is a kernel.
    fn affine_backward_bias(_: FloatTensor<Self>) -> Option<FloatTensor<Self>> {
        None
    }
}

fn composed<B: Backend>(x: FloatTensor<B>, weight: FloatTensor<B>, bias: Option<FloatTensor<B>>) -> FloatTensor<B> {
    let tensor = |x| TensorPrimitive::Float(x);
    let (x, weight): (Tensor<B, 2>, Tensor<B, 2>) =
        (Tensor::from_primitive(tensor(x)), Tensor::from_primitive(tensor(weight)));
    let bias: Option<Tensor<B, 1>> = bias.map(|bias| Tensor::from_primitive(tensor(bias)));
    module::linear(x, weight, bias).into_primitive().tensor()
}

/// A matrix in memory: where it starts, and how far it is to the next row and the next column.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub elements: &'a [f32],
    pub row: usize,
    pub column: usize,
}

impl Matrix<'_> {
    /// The matrix without the rows before `row`.
    pub fn without_rows(self, row: usize) -> Self {
        Self { elements: self.elements.get(row * self.row..).unwrap_or(&[]), ..self }
    }

    pub fn transposed(self) -> Self {
        Self { elements: self.elements, row: self.column, column: self.row }
    }

    /// Whether all elements of `rows x columns` lie in the memory.
    fn holds(&self, rows: usize, columns: usize) -> bool {
        rows == 0 || columns == 0 || (rows - 1) * self.row + (columns - 1) * self.column < self.elements.len()
    }
}

/// `c = a b`, or `c += a b`, for `a` of `m x k`, `b` of `k x n`; rows of `c` are `row` apart, its columns are neighbours.
pub(super) fn product(
    (m, n, k): (usize, usize, usize),
    a: Matrix<'_>,
    b: Matrix<'_>,
    (c, row): (&mut [f32], usize),
    add: bool,
    threads: bool,
) {
    assert!(
        a.holds(m, k) && b.holds(k, n) && (m == 0 || n == 0 || (m - 1) * row + n <= c.len()),
        "matrices lie in their memory"
    );
    // SAFETY: `c` is ours alone.
    unsafe { product_into((m, n, k), a, b, (c.as_mut_ptr(), row), add, threads) }
}

/// The same, into memory that several threads write different parts of.
///
/// # Safety
///
/// `a` and `b` hold their matrices. `c` points at memory for `m` rows of `n` floats, `row` apart, which nobody else uses.
pub(super) unsafe fn product_into(
    (m, n, k): (usize, usize, usize),
    a: Matrix<'_>,
    b: Matrix<'_>,
    (c, row): (*mut f32, usize),
    add: bool,
    threads: bool,
) {
    let parallelism = if threads { gemm::Parallelism::Rayon(0) } else { gemm::Parallelism::None };
    // SAFETY: as the caller promises; strides are those of the slices.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c,
            1,
            row as isize,
            add,
            a.elements.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.elements.as_ptr(),
            b.column as isize,
            b.row as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// A tensor of rank 2 as it lies in memory, a transposed view too; copied where its strides are negative.
pub(super) fn matrix(tensor: &burn_flex::FlexTensor) -> Option<Matrix<'_>> {
    let layout = tensor.layout();
    let [row, column] = layout.strides().try_into().ok()?;
    let (row, column) = (usize::try_from(row).ok()?, usize::try_from(column).ok()?);
    let elements = tensor.storage::<f32>().get(layout.start_offset()..)?;
    Some(Matrix { elements, row, column })
}

fn dims(tensor: &burn_flex::FlexTensor) -> [usize; 2] {
    tensor.shape().dims()
}

impl LinearKernel for Flex {
    fn affine(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: Option<FloatTensor<Self>>) -> FloatTensor<Self> {
        let serves = Self::has_kernels(&x) && Self::has_kernels(&weight) && bias.as_ref().is_none_or(Self::has_kernels);
        if !serves {
            return composed::<Self>(x, weight, bias);
        }
        let (Some(a), Some(b)) = (matrix(&x), matrix(&weight)) else {
            return composed::<Self>(x, weight, bias);
        };
        let ([rows, inputs], [_, outputs]) = (dims(&x), dims(&weight));
        // SAFETY: the product, or the bias before it, writes all elements.
        let mut y = unsafe { simd::uninitialized(rows * outputs) };
        if let Some(bias) = &bias {
            let bias = flex::contiguous(bias.clone());
            let bias = flex::elements(&bias);
            y.par_chunks_mut(outputs.max(1)).with_min_len(16).for_each(|row| row.copy_from_slice(bias));
        }
        product((rows, outputs, inputs), a, b, (&mut y, outputs), bias.is_some(), true);
        flex::tensor(y, [rows, outputs].into())
    }

    fn affine_backward_input(grad: FloatTensor<Self>, weight: FloatTensor<Self>) -> Option<FloatTensor<Self>> {
        let ([rows, outputs], [inputs, _]) = (dims(&grad), dims(&weight));
        let (a, b) = (matrix(&grad)?, matrix(&weight)?);
        // SAFETY: the product writes all elements.
        let mut x = unsafe { simd::uninitialized(rows * inputs) };
        product((rows, inputs, outputs), a, b.transposed(), (&mut x, inputs), false, true);
        Some(flex::tensor(x, [rows, inputs].into()))
    }

    fn affine_backward_weight(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> Option<FloatTensor<Self>> {
        let ([rows, inputs], [_, outputs]) = (dims(&x), dims(&grad));
        let (a, b) = (matrix(&x)?, matrix(&grad)?);
        // SAFETY: the product writes all elements.
        let mut weight = unsafe { simd::uninitialized(inputs * outputs) };
        product((inputs, outputs, rows), a.transposed(), b, (&mut weight, outputs), false, true);
        Some(flex::tensor(weight, [inputs, outputs].into()))
    }

    fn affine_backward_bias(grad: FloatTensor<Self>) -> Option<FloatTensor<Self>> {
        use super::broadcast::{BroadcastKernel, Spread};
        let [rows, outputs] = dims(&grad);
        let spread = Spread::of(&[rows, outputs], &[1, outputs])?;
        Self::broadcast_sum(spread, grad, None, [outputs].into())
    }
}

impl<B: LinearKernel, C: CheckpointStrategy> LinearKernel for Autodiff<B, C> {
    fn affine(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: Option<FloatTensor<Self>>) -> FloatTensor<Self> {
        if !B::has_kernels(&x.primitive) || !B::has_kernels(&weight.primitive) {
            return composed::<Self>(x, weight, bias);
        }
        let state = (x.primitive.clone(), weight.primitive.clone());
        match bias {
            None => {
                let nodes = [x.node.clone(), weight.node.clone()];
                match LinearBackward.prepare::<C>(nodes).compute_bound().stateful() {
                    OpsKind::Tracked(prep) => prep.finish(state, B::affine(x.primitive, weight.primitive, None)),
                    OpsKind::UnTracked(prep) => prep.finish(B::affine(x.primitive, weight.primitive, None)),
                }
            }
            Some(bias) => {
                let nodes = [x.node.clone(), weight.node.clone(), bias.node.clone()];
                let y = |bias| B::affine(x.primitive, weight.primitive, Some(bias));
                match LinearBackward.prepare::<C>(nodes).compute_bound().stateful() {
                    OpsKind::Tracked(prep) => prep.finish(state, y(bias.primitive)),
                    OpsKind::UnTracked(prep) => prep.finish(y(bias.primitive)),
                }
            }
        }
    }
}

#[derive(Debug)]
struct LinearBackward;

fn backward<B: LinearKernel, const N: usize>(ops: Ops<(FloatTensor<B>, FloatTensor<B>), N>, grads: &mut Gradients) {
    let grad = grads.consume::<B>(&ops.node);
    let (x, weight) = ops.state;
    let mut parents = ops.parents.into_iter();
    let mut register = |grads: &mut Gradients, gradient: &dyn Fn() -> Option<FloatTensor<B>>| {
        if let Some(Some(parent)) = parents.next()
            && let Some(gradient) = gradient()
        {
            grads.register::<B>(parent.id, gradient);
        }
    };
    register(grads, &|| B::affine_backward_input(grad.clone(), weight.clone()));
    register(grads, &|| B::affine_backward_weight(x.clone(), grad.clone()));
    register(grads, &|| B::affine_backward_bias(grad.clone()));
}

impl<B: LinearKernel> Backward<B, 2> for LinearBackward {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        backward::<B, 2>(ops, grads);
    }
}

impl<B: LinearKernel> Backward<B, 3> for LinearBackward {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        backward::<B, 3>(ops, grads);
    }
}

#[cfg(feature = "cuda")]
impl LinearKernel for super::Cuda {}

#[cfg(test)]
mod tests {
    use super::super::testing::{Tracked, agree};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn equal_burn(seed: u64, rows in 1usize..40, inputs in 1usize..40, outputs in 1usize..40) {
            let shapes = [vec![rows, inputs], vec![inputs, outputs], vec![outputs]];
            let [x, weight, _] = shapes.clone();
            agree(
                seed,
                [x, weight],
                1e-5,
                |[x, weight]| Tracked::affine(x, weight, None),
                |[x, weight]| composed::<Tracked>(x, weight, None),
            );
            agree(
                seed,
                shapes,
                1e-5,
                |[x, weight, bias]| Tracked::affine(x, weight, Some(bias)),
                |[x, weight, bias]| composed::<Tracked>(x, weight, Some(bias)),
            );
        }
    }
}
