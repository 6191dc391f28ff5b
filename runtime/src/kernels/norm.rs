//! Layer, root-mean-square and group normalisation in one pass of each thread over its rows, with what may follow.
//!
//! `y = (x - mean) / sqrt(variance + eps) * weight + bias`, with mean and variance of each row (Ba et al. 2016, Wu & He
//! 2018), or without the mean and with the mean square in place of the variance (Zhang & Sennrich 2019). Weight and bias may
//! be those of a sample: a modulation by a condition (AdaGN, Dhariwal & Nichol 2021; adaLN, Peebles & Xie 2023). SiLU may
//! follow, `y * sigmoid(y)`.
//!
//! The normalised values are never stored: forward they live in a row that is in the cache, and backward they are computed
//! again from `x`, which training keeps in any case. So are mean and variance, two passes over that row.

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

/// What is normalised together: `x` is `[lines * groups, channels, positions]`, and a row of it is one unit. Channel
/// `c` of row `r` is channel `(r % groups) * channels + c` of the weight. With a weight for each of several samples, so many
/// equal parts of the lines have one each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rows {
    pub groups: usize,
    /// Channels of one group.
    pub channels: usize,
    pub positions: usize,
    /// Added to the variance.
    pub eps: f64,
    /// Whether the mean is subtracted.
    pub centred: bool,
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

    /// How many samples have a weight of their own.
    fn samples(&self, weight: usize) -> usize {
        (weight / self.width().max(1)).max(1)
    }
}

/// Weight and bias, `[groups * channels]` each, or `[samples, groups * channels]`.
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
    let x = if rows.centred { x.clone() - x.mean_dim(1) } else { x };
    let variance = (x.clone() * x.clone()).mean_dim(1);
    let mut y = x * variance.add_scalar(rows.eps).sqrt().recip();
    if let Some((weight, bias)) = affine {
        let samples = rows.samples(weight.shape().num_elements());
        let lines = count / rows.groups;
        let [height, columns] = match rows.positions {
            1 => [lines, rows.width()],
            positions => [count * rows.channels, positions],
        };
        // One value for each line, or the same line for all of a sample.
        let spread = |values: FloatTensor<B>| -> Tensor<B, 2> {
            let values: Tensor<B, 3> = matrix(values, [samples, rows.width()]).unsqueeze_dim(1);
            match (rows.positions, samples) {
                (1, 1) => values.squeeze_dim(0),
                (1, _) => values.repeat_dim(1, lines / samples).reshape([height, columns]),
                _ => values.repeat_dim(1, lines / samples).reshape([height, 1]),
            }
        };
        y = y.reshape([height, columns]) * spread(weight) + spread(bias);
    }
    if rows.silu {
        y = activation::silu(y);
    }
    B::float_reshape(y.into_primitive().tensor(), shape)
}

/// Mean and `1 / sqrt(variance + eps)` of a row, in two passes, since the square of a large mean would drown a small
/// variance. Where the mean is not subtracted, zero has its place.
#[inline(always)]
fn statistics(rows: Rows, x: &[f32]) -> (f32, f32) {
    // Partial sums stay short enough for floats.
    const PART: usize = 4096;
    let count = x.len() as f64;
    let sum = || -> f64 { x.chunks(PART).map(|part| f64::from(simd::fold(part, |x| [x])[0])).sum() };
    let mean = if rows.centred { (sum() / count) as f32 } else { 0.0 };
    let squares: f64 = x.chunks(PART).map(|part| f64::from(simd::fold(part, |x| [(x - mean) * (x - mean)])[0])).sum();
    (mean, (1.0 / (squares / count + rows.eps).sqrt()) as f32)
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

/// Weights and biases of rows, as slices; ones and zeros where there are none.
#[derive(Clone, Copy)]
struct RowAffine<'a> {
    values: Option<(&'a [f32], &'a [f32])>,
    /// Rows of one sample.
    each: usize,
}

impl<'a> RowAffine<'a> {
    /// For so many rows.
    fn new(rows: Rows, count: usize, values: Option<(&'a [f32], &'a [f32])>) -> Self {
        let samples = values.map_or(1, |(weight, _)| rows.samples(weight.len()));
        Self { values, each: (count / samples).max(1) }
    }

    #[inline(always)]
    fn of(self, rows: Rows, row: usize) -> Option<(&'a [f32], &'a [f32])> {
        let start = (row / self.each) * rows.width() + (row % rows.groups) * rows.channels;
        let range = start..start + rows.channels;
        self.values.and_then(|(weight, bias)| Some((weight.get(range.clone())?, bias.get(range)?)))
    }

    /// That of the rows of one sample.
    fn of_sample(self, rows: Rows, sample: usize) -> Self {
        let range = sample * rows.width()..(sample + 1) * rows.width();
        let values = self.values.and_then(|(weight, bias)| Some((weight.get(range.clone())?, bias.get(range)?)));
        Self { values, each: self.each }
    }
}

#[inline(always)]
fn forward_row(rows: Rows, x: &[f32], affine: Option<(&[f32], &[f32])>, y: &mut [f32]) {
    let (mean, inverse) = statistics(rows, x);
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
    // d x = inverse * (g - mean(g) - normal(x) * mean(g * normal(x))) with g = weight * grad, without mean(g) where x is
    // not centred.
    let mean_of = |sum: f32| if rows.centred { sum / count } else { 0.0 };
    match weight {
        None => {
            let [sum, product] = simd::fold2(x, grad, |x, grad| [grad, grad * normal(x)]);
            let (mean_grad, mean_product) = (mean_of(sum), product / count);
            for ((out, x), grad) in out.iter_mut().zip(x).zip(grad) {
                *out = inverse * (grad - mean_grad - normal(*x) * mean_product);
            }
        }
        Some(weight) if positions == 1 => {
            for ((out, grad), weight) in out.iter_mut().zip(grad).zip(weight) {
                *out = grad * weight;
            }
            let [sum, product] = simd::fold2(x, out, |x, grad| [grad, grad * normal(x)]);
            let (mean_grad, mean_product) = (mean_of(sum), product / count);
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
            let (mean_grad, mean_product) = (mean_of(sum), product / count);
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

/// Gradients of rows behind each other, all of one sample, from the first group on.
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
        let found = statistics(rows, x);
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

/// In how many parts, each with sums of its own, the rows of all samples are cut at least. It does not depend on the number
/// of threads, so that sums do not either.
const PARTS: usize = 16;

/// Gradients of the rows of one sample, and those of its weight and bias.
fn backward_sample(
    rows: Rows,
    parts: usize,
    (x, grad): (&[f32], &[f32]),
    affine: RowAffine<'_>,
    out: &mut [f32],
) -> (Vec<f32>, Vec<f32>) {
    let task = affine.each.div_ceil(parts).next_multiple_of(rows.groups);
    let size = task * rows.len();
    let width = if affine.values.is_some() { rows.width() } else { 0 };
    let sums: Vec<(Vec<f32>, Vec<f32>)> = out
        .par_chunks_mut(size)
        .zip(x.par_chunks(size))
        .zip(grad.par_chunks(size))
        .map(|((out, x), grad)| {
            let (mut to_weight, mut to_bias) = (vec![0.0; width], vec![0.0; width]);
            backward_rows(rows, (x, grad), affine, (&mut to_weight, &mut to_bias), out);
            (to_weight, to_bias)
        })
        .collect();
    let (mut to_weight, mut to_bias) = (vec![0.0; width], vec![0.0; width]);
    for (weights, biases) in sums {
        to_weight.iter_mut().zip(weights).for_each(|(sum, term)| *sum += term);
        to_bias.iter_mut().zip(biases).for_each(|(sum, term)| *sum += term);
    }
    (to_weight, to_bias)
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
        let affine = affine.as_ref().map(|(weight, bias)| (flex::elements(weight), flex::elements(bias)));
        let affine = RowAffine::new(rows, values.len() / rows.len().max(1), affine);
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
        let count = values.len() / rows.len().max(1);
        let weights = affine.as_ref().map(|(weight, bias)| (flex::elements(weight), flex::elements(bias)));
        let weights = RowAffine::new(rows, count, weights);
        // SAFETY: the samples cover all elements.
        let mut out = unsafe { simd::uninitialized(values.len()) };
        let size = weights.each * rows.len();
        let samples = out.par_chunks_mut(size).zip(values.par_chunks(size)).zip(grads.par_chunks(size)).enumerate();
        let parts = PARTS.div_ceil(count.div_ceil(weights.each).max(1));
        let (to_weight, to_bias): (Vec<_>, Vec<_>) = samples
            .map(|(sample, ((out, x), grad))| {
                backward_sample(rows, parts, (x, grad), weights.of_sample(rows, sample), out)
            })
            .unzip();
        let out = flex::tensor(out, x.shape());
        let affine = affine.map(|(weight, _)| {
            let shape = weight.shape();
            (flex::tensor(to_weight.concat(), shape.clone()), flex::tensor(to_bias.concat(), shape))
        });
        Some((out, affine))
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
            positions in prop_oneof![Just(1), 2usize..40],
            own_weights: bool,
            centred: bool,
            silu: bool,
        ) {
            // Two elements have the same normal values whatever they are: their gradient is what rounding leaves of zero.
            prop_assume!(channels * positions > 2);
            let rows = Rows { groups, channels, positions, eps: 1e-5, centred, silu };
            let lines = if own_weights { 3 } else { 1 } * samples;
            let weight = vec![if own_weights { samples } else { 1 }, groups * channels];
            let x = vec![lines * groups, channels, positions];
            agree(
                seed,
                [x.clone()],
                3e-5,
                |[x]| Tracked::normalize(rows, x, None),
                |[x]| composed::<Tracked>(rows, x, None),
            );
            agree(
                seed,
                [x, weight.clone(), weight],
                3e-5,
                |[x, weight, bias]| Tracked::normalize(rows, x, Some((weight, bias))),
                |[x, weight, bias]| composed::<Tracked>(rows, x, Some((weight, bias))),
            );
        }
    }

    #[test]
    fn a_small_variance_beside_a_large_mean_is_kept() {
        let x: Vec<f32> = (0..5000).map(|at| 1000.0 + (at % 2) as f32).collect();
        let rows = Rows { groups: 1, channels: x.len(), positions: 1, eps: 0.0, centred: true, silu: false };
        let (mean, inverse) = statistics(rows, &x);
        assert_eq!((mean, inverse), (1000.5, 2.0));
    }
}
