//! Layer and group normalisation in one pass of each thread over its rows, with the SiLU that may follow.
//!
//! `y = (x - mean) / sqrt(variance + eps) * weight + bias`, with mean and variance of each row (Ba et al. 2016, Wu & He
//! 2018). With SiLU behind, `y * sigmoid(y)`, the normalised values are never stored: forward they live in a row that is in
//! the cache, and backward they are computed again from `x`, which training keeps in any case.

use super::simd;
use super::{Own, flex};
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorMetadata, TensorPrimitive, activation};
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use multiversion::multiversion;
use rayon::prelude::*;

/// What is normalised together: `x` is `[samples * groups, channels, positions]`, and a row of it is one unit. Channel
/// `c` of row `r` is channel `(r % groups) * channels + c` of the weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rows {
    pub groups: usize,
    /// Channels of one group.
    pub channels: usize,
    pub positions: usize,
    /// Added to the variance.
    pub eps: f64,
    /// Whether SiLU follows.
    pub silu: bool,
}

impl Rows {
    fn len(&self) -> usize {
        self.channels * self.positions
    }

    /// Channels of all groups.
    fn width(&self) -> usize {
        self.groups * self.channels
    }
}

/// Weight and bias, `[groups * channels]` each.
pub type Affine<B> = (FloatTensor<B>, FloatTensor<B>);

/// Gradients of `x`, and of weight and bias where there are any.
pub type NormGradients<B> = (FloatTensor<B>, Option<Affine<B>>);

/// Backends that normalise. The default is made of Burn's operations.
pub trait NormKernel: Own {
    /// In the shape of `x`.
    fn normalize(rows: Rows, x: FloatTensor<Self>, affine: Option<Affine<Self>>) -> FloatTensor<Self> {
        composed::<Self>(rows, x, affine)
    }

    /// Gradients from that of the result; only where there is a kernel.
    fn normalize_backward(
        _: Rows,
        _: FloatTensor<Self>,
        _: Option<Affine<Self>>,
        _: FloatTensor<Self>,
    ) -> Option<NormGradients<Self>> {
        None
    }
}

/// Statistics by row; then one factor and one summand for each row and channel, applied to a matrix, the form that
/// Burn's CPU backend vectorises.
fn composed<B: Backend>(rows: Rows, x: FloatTensor<B>, affine: Option<Affine<B>>) -> FloatTensor<B> {
    let shape = x.shape();
    let count = shape.num_elements() / rows.len().max(1);
    let matrix = |x: FloatTensor<B>, size: [usize; 2]| -> Tensor<B, 2> {
        Tensor::from_primitive(TensorPrimitive::Float(B::float_reshape(x, size.into())))
    };
    let x = matrix(x, [count, rows.len()]);
    let centred = x.clone() - x.mean_dim(1);
    let variance = (centred.clone() * centred.clone()).mean_dim(1);
    let mut y = centred * variance.add_scalar(rows.eps).sqrt().recip();
    if let Some((weight, bias)) = affine {
        let [lines, columns] = match rows.positions {
            1 => [count / rows.groups, rows.width()],
            positions => [count * rows.channels, positions],
        };
        // One value for each line, or the same line for all.
        let spread = |values: FloatTensor<B>| match rows.positions {
            1 => matrix(values, [1, rows.width()]),
            _ => matrix(values, [1, rows.width()]).repeat_dim(0, count / rows.groups).reshape([lines, 1]),
        };
        y = y.reshape([lines, columns]) * spread(weight) + spread(bias);
    }
    if rows.silu {
        y = activation::silu(y);
    }
    B::float_reshape(y.into_primitive().tensor(), shape)
}

/// Mean and `1 / sqrt(variance + eps)` of a row, in two passes, since the square of a large mean would drown a small
/// variance.
#[inline(always)]
fn statistics(x: &[f32], eps: f64) -> (f32, f32) {
    // Partial sums stay short enough for floats.
    const PART: usize = 4096;
    let count = x.len() as f64;
    let sum: f64 = x.chunks(PART).map(|part| f64::from(simd::fold(part, |x| [x])[0])).sum();
    let mean = (sum / count) as f32;
    let squares: f64 = x.chunks(PART).map(|part| f64::from(simd::fold(part, |x| [(x - mean) * (x - mean)])[0])).sum();
    (mean, (1.0 / (squares / count + eps).sqrt()) as f32)
}

/// SiLU in place.
#[inline(always)]
fn activate(y: &mut [f32]) {
    for y in y {
        *y *= simd::sigmoid(*y);
    }
}

/// Gradients of normalised values from those of their SiLU: `(s + z s (1 - s)) * grad` with `s = sigmoid(z)`.
#[inline(always)]
fn deactivate(z: &[f32], grad: &[f32], out: &mut [f32]) {
    for ((out, z), grad) in out.iter_mut().zip(z).zip(grad) {
        let gate = simd::sigmoid(*z);
        *out = (z * gate).mul_add(1.0 - gate, gate) * grad;
    }
}

/// Weight and bias of one row, as slices; ones and zeros where there are none.
#[derive(Clone, Copy)]
struct RowAffine<'a>(Option<(&'a [f32], &'a [f32])>);

impl<'a> RowAffine<'a> {
    #[inline(always)]
    fn of(self, rows: Rows, row: usize) -> Option<(&'a [f32], &'a [f32])> {
        let start = (row % rows.groups) * rows.channels;
        let range = start..start + rows.channels;
        self.0.and_then(|(weight, bias)| Some((weight.get(range.clone())?, bias.get(range)?)))
    }
}

#[inline(always)]
fn forward_row(rows: Rows, x: &[f32], affine: Option<(&[f32], &[f32])>, y: &mut [f32]) {
    let (mean, inverse) = statistics(x, rows.eps);
    scale_row(rows, (mean, inverse), x, affine, y);
    if rows.silu {
        activate(y);
    }
}

/// The normalised values of a row, without what follows.
#[inline(always)]
fn scale_row(rows: Rows, (mean, inverse): (f32, f32), x: &[f32], affine: Option<(&[f32], &[f32])>, y: &mut [f32]) {
    match affine {
        None => {
            for (y, x) in y.iter_mut().zip(x) {
                *y = (x - mean) * inverse;
            }
        }
        Some((weight, bias)) if rows.positions == 1 => {
            for (((y, x), weight), bias) in y.iter_mut().zip(x).zip(weight).zip(bias) {
                *y = ((x - mean) * inverse).mul_add(*weight, *bias);
            }
        }
        Some((weight, bias)) => {
            let channels = y.chunks_exact_mut(rows.positions).zip(x.chunks_exact(rows.positions));
            for (((y, x), weight), bias) in channels.zip(weight).zip(bias) {
                let factor = inverse * weight;
                for (y, x) in y.iter_mut().zip(x) {
                    *y = (x - mean).mul_add(factor, *bias);
                }
            }
        }
    }
}

/// Gradient of a row; adds to the gradients of its weights and biases.
#[inline(always)]
fn backward_row(
    rows: Rows,
    (mean, inverse): (f32, f32),
    (x, grad): (&[f32], &[f32]),
    weight: Option<&[f32]>,
    sums: Option<(&mut [f32], &mut [f32])>,
    out: &mut [f32],
) {
    let normal = |x: f32| (x - mean) * inverse;
    let count = x.len() as f32;
    let positions = rows.positions;
    if let Some((to_weight, to_bias)) = sums {
        if positions == 1 {
            for (((x, grad), to_weight), to_bias) in x.iter().zip(grad).zip(to_weight).zip(to_bias) {
                *to_weight += grad * normal(*x);
                *to_bias += grad;
            }
        } else {
            let channels = x.chunks_exact(positions).zip(grad.chunks_exact(positions));
            for (((x, grad), to_weight), to_bias) in channels.zip(to_weight).zip(to_bias) {
                let [weight, bias] = simd::fold2(x, grad, |x, grad| [grad * normal(x), grad]);
                *to_weight += weight;
                *to_bias += bias;
            }
        }
    }
    // d x = inverse * (g - mean(g) - normal(x) * mean(g * normal(x))) with g = weight * grad
    match weight {
        None => {
            let [sum, product] = simd::fold2(x, grad, |x, grad| [grad, grad * normal(x)]);
            let (mean_grad, mean_product) = (sum / count, product / count);
            for ((out, x), grad) in out.iter_mut().zip(x).zip(grad) {
                *out = inverse * (grad - mean_grad - normal(*x) * mean_product);
            }
        }
        Some(weight) if positions == 1 => {
            for ((out, grad), weight) in out.iter_mut().zip(grad).zip(weight) {
                *out = grad * weight;
            }
            let [sum, product] = simd::fold2(x, out, |x, grad| [grad, grad * normal(x)]);
            let (mean_grad, mean_product) = (sum / count, product / count);
            for (out, x) in out.iter_mut().zip(x) {
                *out = inverse * (*out - mean_grad - normal(*x) * mean_product);
            }
        }
        Some(weight) => {
            let (mut sum, mut product) = (0.0, 0.0);
            let channels = x.chunks_exact(positions).zip(grad.chunks_exact(positions));
            for ((x, grad), weight) in channels.zip(weight) {
                let [own, with] = simd::fold2(x, grad, |x, grad| [grad, grad * normal(x)]);
                sum += own * weight;
                product += with * weight;
            }
            let (mean_grad, mean_product) = (sum / count, product / count);
            let channels = x.chunks_exact(positions).zip(grad.chunks_exact(positions));
            for (((x, grad), weight), out) in channels.zip(weight).zip(out.chunks_exact_mut(positions)) {
                for ((out, x), grad) in out.iter_mut().zip(x).zip(grad) {
                    *out = inverse * (grad * weight - mean_grad - normal(*x) * mean_product);
                }
            }
        }
    }
}

/// Rows behind each other, of which the first is row `first` of all.
#[multiversion(targets = "simd")]
fn forward_rows(rows: Rows, first: usize, x: &[f32], affine: RowAffine<'_>, y: &mut [f32]) {
    for (row, (y, x)) in y.chunks_exact_mut(rows.len()).zip(x.chunks_exact(rows.len())).enumerate() {
        forward_row(rows, x, affine.of(rows, first + row), y);
    }
}

/// Gradients of rows behind each other, from the start of a sample on.
#[multiversion(targets = "simd")]
fn backward_rows(
    rows: Rows,
    (x, grad): (&[f32], &[f32]),
    affine: RowAffine<'_>,
    (to_weight, to_bias): (&mut [f32], &mut [f32]),
    out: &mut [f32],
) {
    let lines = out.chunks_exact_mut(rows.len());
    let lines = lines.zip(x.chunks_exact(rows.len())).zip(grad.chunks_exact(rows.len()));
    let mut pulled = vec![0.0; if rows.silu { rows.len() } else { 0 }];
    for (row, ((out, x), grad)) in lines.enumerate() {
        let start = (row % rows.groups) * rows.channels;
        let range = start..start + rows.channels;
        let affine = affine.of(rows, row);
        let own = to_weight.get_mut(range.clone()).zip(to_bias.get_mut(range));
        let found = statistics(x, rows.eps);
        let mut grad = grad;
        if rows.silu {
            // The values themselves fit into what their gradients overwrite.
            scale_row(rows, found, x, affine, out);
            deactivate(out, grad, &mut pulled);
            grad = &pulled;
        }
        backward_row(rows, found, (x, grad), affine.map(|(weight, _)| weight), own, out);
    }
}

/// Rows that a thread takes at a time.
fn rows_per_task(len: usize) -> usize {
    (16 * 1024 / len.max(1)).max(1)
}

impl NormKernel for Flex {
    fn normalize(rows: Rows, x: FloatTensor<Self>, affine: Option<Affine<Self>>) -> FloatTensor<Self> {
        let serves = |affine: &Affine<Self>| Self::has_kernels(&affine.0) && Self::has_kernels(&affine.1);
        if !Self::has_kernels(&x) || !affine.as_ref().is_none_or(serves) {
            return composed::<Self>(rows, x, affine);
        }
        let x = flex::contiguous(x);
        let affine = affine.map(|(weight, bias)| (flex::contiguous(weight), flex::contiguous(bias)));
        let values = flex::elements(&x);
        let affine = RowAffine(affine.as_ref().map(|(weight, bias)| (flex::elements(weight), flex::elements(bias))));
        // SAFETY: the rows cover all elements.
        let mut y = unsafe { simd::uninitialized(values.len()) };
        let task = rows_per_task(rows.len());
        let size = task * rows.len();
        y.par_chunks_mut(size).zip(values.par_chunks(size)).enumerate().for_each(|(at, (y, x))| {
            forward_rows(rows, at * task, x, affine, y);
        });
        flex::tensor(y, x.shape())
    }

    fn normalize_backward(
        rows: Rows,
        x: FloatTensor<Self>,
        affine: Option<Affine<Self>>,
        grad: FloatTensor<Self>,
    ) -> Option<NormGradients<Self>> {
        let (x, grad) = (flex::contiguous(x), flex::contiguous(grad));
        let affine = affine.map(|(weight, bias)| (flex::contiguous(weight), flex::contiguous(bias)));
        let (values, grads) = (flex::elements(&x), flex::elements(&grad));
        let weights = RowAffine(affine.as_ref().map(|(weight, bias)| (flex::elements(weight), flex::elements(bias))));
        // SAFETY: the rows cover all elements.
        let mut out = unsafe { simd::uninitialized(values.len()) };
        // Parts of whole samples, each with sums of its own. They do not depend on the number of threads.
        const PARTS: usize = 16;
        let count = values.len() / rows.len().max(1);
        let task = count.div_ceil(PARTS).next_multiple_of(rows.groups);
        let size = task * rows.len();
        let sums: Vec<(Vec<f32>, Vec<f32>)> = out
            .par_chunks_mut(size)
            .zip(values.par_chunks(size))
            .zip(grads.par_chunks(size))
            .map(|((out, x), grad)| {
                let width = if weights.0.is_some() { rows.width() } else { 0 };
                let (mut to_weight, mut to_bias) = (vec![0.0; width], vec![0.0; width]);
                backward_rows(rows, (x, grad), weights, (&mut to_weight, &mut to_bias), out);
                (to_weight, to_bias)
            })
            .collect();
        let out = flex::tensor(out, x.shape());
        let Some((weight, _)) = affine else { return Some((out, None)) };
        let (mut to_weight, mut to_bias) = (vec![0.0; rows.width()], vec![0.0; rows.width()]);
        for (weights, biases) in sums {
            to_weight.iter_mut().zip(weights).for_each(|(sum, term)| *sum += term);
            to_bias.iter_mut().zip(biases).for_each(|(sum, term)| *sum += term);
        }
        let shape = weight.shape();
        Some((out, Some((flex::tensor(to_weight, shape.clone()), flex::tensor(to_bias, shape)))))
    }
}

impl<B: NormKernel, C: CheckpointStrategy> NormKernel for Autodiff<B, C> {
    fn normalize(rows: Rows, x: FloatTensor<Self>, affine: Option<Affine<Self>>) -> FloatTensor<Self> {
        if !B::has_kernels(&x.primitive) {
            return composed::<Self>(rows, x, affine);
        }
        match affine {
            None => match NormBackward.prepare::<C>([x.node.clone()]).compute_bound().stateful() {
                OpsKind::Tracked(prep) => {
                    prep.finish((rows, x.primitive.clone(), None), B::normalize(rows, x.primitive, None))
                }
                OpsKind::UnTracked(prep) => prep.finish(B::normalize(rows, x.primitive, None)),
            },
            Some((weight, bias)) => {
                let nodes = [x.node.clone(), weight.node.clone(), bias.node.clone()];
                let affine = Some((weight.primitive, bias.primitive));
                match NormBackward.prepare::<C>(nodes).compute_bound().stateful() {
                    OpsKind::Tracked(prep) => {
                        let state = (rows, x.primitive.clone(), affine.clone());
                        prep.finish(state, B::normalize(rows, x.primitive, affine))
                    }
                    OpsKind::UnTracked(prep) => prep.finish(B::normalize(rows, x.primitive, affine)),
                }
            }
        }
    }
}

#[derive(Debug)]
struct NormBackward;

/// The rows, `x`, weight and bias.
type State<B> = (Rows, FloatTensor<B>, Option<Affine<B>>);

impl<B: NormKernel> Backward<B, 1> for NormBackward {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (rows, x, _) = ops.state;
        let [parent] = ops.parents;
        if let (Some(parent), Some((grad, _))) = (parent, B::normalize_backward(rows, x, None, grad)) {
            grads.register::<B>(parent.id, grad);
        }
    }
}

impl<B: NormKernel> Backward<B, 3> for NormBackward {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (rows, x, affine) = ops.state;
        let Some((to_x, affine)) = B::normalize_backward(rows, x, affine, grad) else { return };
        let (to_weight, to_bias) = affine.unzip();
        for (parent, grad) in ops.parents.into_iter().zip([Some(to_x), to_weight, to_bias]) {
            if let (Some(parent), Some(grad)) = (parent, grad) {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

#[cfg(feature = "cuda")]
impl NormKernel for super::Cuda {}

#[cfg(test)]
mod tests {
    use super::super::testing::{Tracked, agree};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn equal_the_composition(
            seed: u64,
            samples in 1usize..40,
            groups in 1usize..4,
            channels in 2usize..6,
            positions in 1usize..40,
            silu: bool,
        ) {
            // Two elements have the same normal values whatever they are: their gradient is what rounding leaves of zero.
            prop_assume!(channels * positions > 2);
            let rows = Rows { groups, channels, positions, eps: 1e-5, silu };
            let x = vec![samples * groups, channels, positions];
            agree(
                seed,
                [x.clone()],
                3e-5,
                |[x]| Tracked::normalize(rows, x, None),
                |[x]| composed::<Tracked>(rows, x, None),
            );
            agree(
                seed,
                [x, vec![groups * channels], vec![groups * channels]],
                3e-5,
                |[x, weight, bias]| Tracked::normalize(rows, x, Some((weight, bias))),
                |[x, weight, bias]| composed::<Tracked>(rows, x, Some((weight, bias))),
            );
        }
    }

    #[test]
    fn a_small_variance_beside_a_large_mean_is_kept() {
        let x: Vec<f32> = (0..5000).map(|at| 1000.0 + (at % 2) as f32).collect();
        let (mean, inverse) = statistics(&x, 0.0);
        assert_eq!((mean, inverse), (1000.5, 2.0));
    }
}
