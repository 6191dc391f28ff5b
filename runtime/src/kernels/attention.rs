//! Scaled dot-product attention without a matrix of all scores.
//!
//! The softmax is taken over blocks of keys as they come, with a running maximum and sum (Milakov & Gimelshein 2018; Dao
//! et al. 2022). Queries, keys and values are read where they lie, heads of packed projections too, and the result is
//! written as tokens, so that nothing is permuted. The gradient makes the scores again, for some queries at a time.

use super::linear::{Matrix, product, product_into};
use super::simd;
use super::{Own, flex};
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Bool, Tensor, TensorData, TensorMetadata, TensorPrimitive, activation};
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_flex::FlexTensor;
use multiversion::multiversion;
use rayon::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    pub heads: usize,
    /// Whether a query sees only keys that are not behind it.
    pub causal: bool,
}

/// Backends that attend. The default is made of Burn's operations.
pub trait AttentionKernel: Own {
    /// `softmax(q k^T / sqrt(width) + bias) v` by head: `q` is `[batch, queries, heads * width]`, `k` and `v` have keys in
    /// place of queries, `bias` is `[batch, heads, queries, keys]`, any of the first three of which may be one. `[batch, queries, heads * width of v]`.
    fn attend(
        heads: Heads,
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        composed::<Self>(heads, q, k, v, bias)
    }

    /// Gradients of `q`, `k` and `v` where there is no bias; only where there is a kernel.
    fn attend_backward(_: Heads, _: [FloatTensor<Self>; 3], _: FloatTensor<Self>) -> Option<[FloatTensor<Self>; 3]> {
        None
    }
}

/// Products on strided views: only the result is copied, back to tokens.
fn composed<B: Backend>(
    heads: Heads,
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    bias: Option<FloatTensor<B>>,
) -> FloatTensor<B> {
    let split = |x: FloatTensor<B>| {
        let x: Tensor<B, 3> = Tensor::from_primitive(TensorPrimitive::Float(x));
        let [batch, tokens, channels] = x.dims();
        x.reshape([batch, tokens, heads.heads, channels / heads.heads]).swap_dims(1, 2)
    };
    let (q, k, v): (Tensor<B, 4>, Tensor<B, 4>, Tensor<B, 4>) = (split(q), split(k), split(v));
    let [batch, _, queries, width] = q.dims();
    let keys = k.dims()[2];
    let device = q.device();
    let mut scores = q.mul_scalar(1.0 / (width as f64).sqrt()).matmul(k.swap_dims(2, 3));
    if let Some(bias) = bias {
        scores = scores + Tensor::from_primitive(TensorPrimitive::Float(bias));
    }
    if heads.causal {
        let mask: Vec<bool> = (0..queries).flat_map(|query| (0..keys).map(move |key| key > query)).collect();
        let later: Tensor<B, 4, Bool> = Tensor::from_data(TensorData::new(mask, [1, 1, queries, keys]), &device);
        scores = scores.mask_fill(later, f32::NEG_INFINITY);
    }
    let mixed = activation::softmax(scores, 3).matmul(v);
    let channels = mixed.dims()[3] * heads.heads;
    mixed.swap_dims(1, 2).reshape([batch, queries, channels]).into_primitive().tensor()
}

/// Tokens of one operand as they lie in memory.
#[derive(Clone, Copy)]
struct Tokens<'a> {
    elements: &'a [f32],
    batch: usize,
    token: usize,
    /// Channels of one head.
    width: usize,
}

impl<'a> Tokens<'a> {
    /// The tokens of one head from `start` on, a row each.
    fn head(&self, batch: usize, head: usize, start: usize) -> Matrix<'a> {
        let from = batch * self.batch + head * self.width + start * self.token;
        Matrix { elements: self.elements.get(from..).unwrap_or(&[]), row: self.token, column: 1 }
    }
}

/// A tensor of tokens whose channels are neighbours.
fn dense_channels(tensor: FlexTensor) -> FlexTensor {
    let usable = matches!(tensor.layout().strides(), [batch, token, 1] if *batch >= 0 && *token >= 0);
    if usable { tensor } else { tensor.to_contiguous() }
}

fn tokens(tensor: &FlexTensor, heads: usize) -> Tokens<'_> {
    let layout = tensor.layout();
    let stride = |at: usize| layout.strides().get(at).map_or(0, |stride| stride.unsigned_abs());
    let channels = tensor.shape().dims::<3>()[2];
    Tokens {
        elements: tensor.storage::<f32>().get(layout.start_offset()..).unwrap_or(&[]),
        batch: stride(0),
        token: stride(1),
        width: channels / heads,
    }
}

/// Queries and keys of one step.
const QUERIES: usize = 64;
const KEYS: usize = 256;

/// What a thread needs for its blocks.
struct Scratch {
    scores: Vec<f32>,
    mixed: Vec<f32>,
    largest: [f32; QUERIES],
    sums: [f32; QUERIES],
}

struct Shared(*mut f32);
// SAFETY: threads write different parts.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// Numbers added to scores, as they lie in memory.
#[derive(Clone, Copy)]
struct Bias<'a> {
    elements: &'a [f32],
    /// From one sample, head, or query to the next; zero where all have the same.
    strides: [usize; 3],
}

impl<'a> Bias<'a> {
    fn of(bias: &'a FlexTensor) -> Self {
        let [samples, heads, queries, keys] = bias.shape().dims::<4>();
        let stride = |size: usize, stride: usize| if size > 1 { stride } else { 0 };
        let strides = [stride(samples, heads * queries * keys), stride(heads, queries * keys), stride(queries, keys)];
        Self { elements: flex::elements(bias), strides }
    }

    fn without(self, count: usize) -> Self {
        Self { elements: self.elements.get(count..).unwrap_or(&[]), ..self }
    }

    /// Those of one head, for the queries from `first` on.
    fn head(self, sample: usize, head: usize, first: usize) -> Self {
        let [of_sample, of_head, of_query] = self.strides;
        self.without(sample * of_sample + head * of_head + first * of_query)
    }

    /// Those of a query, counted from where this starts.
    #[inline(always)]
    fn row(self, query: usize) -> &'a [f32] {
        let [.., of_query] = self.strides;
        self.without(query * of_query).elements
    }
}

/// Adds scale and bias to a row of scores, and hides keys behind the query.
#[inline(always)]
fn prepare_row(row: &mut [f32], scale: f32, bias: Option<&[f32]>, visible: usize) {
    match bias {
        Some(bias) => {
            for (score, bias) in row.iter_mut().zip(bias) {
                *score = score.mul_add(scale, *bias);
            }
        }
        None => {
            for score in row.iter_mut() {
                *score *= scale;
            }
        }
    }
    if let Some(hidden) = row.get_mut(visible..) {
        hidden.fill(f32::NEG_INFINITY);
    }
}

impl AttentionKernel for Flex {
    fn attend(
        heads: Heads,
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        let serves = [&q, &k, &v].into_iter().chain(&bias).all(Self::has_kernels);
        if !serves {
            return composed::<Self>(heads, q, k, v, bias);
        }
        let [batch, queries, _] = q.shape().dims::<3>();
        let [_, keys, channels] = v.shape().dims::<3>();
        let bias = bias.map(flex::contiguous);
        let (q, k, v) = (dense_channels(q), dense_channels(k), dense_channels(v));
        let (q, k, v) = (tokens(&q, heads.heads), tokens(&k, heads.heads), tokens(&v, heads.heads));
        let bias = bias.as_ref().map(Bias::of);
        // SAFETY: every block of queries of every head is written.
        let mut out = unsafe { simd::uninitialized(batch * queries * channels) };
        let shared = Shared(out.as_mut_ptr());
        let blocks = queries.div_ceil(QUERIES);
        let scratch = || Scratch {
            scores: vec![0.0; QUERIES * KEYS],
            mixed: vec![0.0; QUERIES * v.width],
            largest: [0.0; QUERIES],
            sums: [0.0; QUERIES],
        };
        (0..batch * heads.heads * blocks).into_par_iter().for_each_init(scratch, |scratch, task| {
            let (sample, head, block) = (task / (heads.heads * blocks), (task / blocks) % heads.heads, task % blocks);
            let first = block * QUERIES;
            let count = QUERIES.min(queries - first);
            let bias = bias.map(|bias| bias.head(sample, head, first));
            let span = Span { first, count, keys, causal: heads.causal };
            attend_to(
                span,
                q.head(sample, head, first),
                (k.head(sample, head, 0), k.width),
                (v.head(sample, head, 0), v.width),
                bias,
                scratch,
            );
            let shared = &shared;
            let start = (sample * queries + first) * channels + head * v.width;
            for (at, (row, sum)) in scratch.mixed.chunks_exact(v.width).zip(&scratch.sums).take(count).enumerate() {
                // SAFETY: the row of this query and this head, inside of `out`.
                let to = unsafe { std::slice::from_raw_parts_mut(shared.0.add(start + at * channels), v.width) };
                for (to, mixed) in to.iter_mut().zip(row) {
                    *to = mixed / sum;
                }
            }
        });
        flex::tensor(out, [batch, queries, channels].into())
    }

    fn attend_backward(
        heads: Heads,
        operands: [FloatTensor<Self>; 3],
        grad: FloatTensor<Self>,
    ) -> Option<[FloatTensor<Self>; 3]> {
        let [q, k, v] = operands.map(dense_channels);
        let grad = dense_channels(grad);
        let shapes = [&q, &k, &v].map(|tensor| tensor.shape());
        let [batch, queries, _] = q.shape().dims::<3>();
        let keys = k.shape().dims::<3>()[1];
        let views = [&q, &k, &v, &grad].map(|tensor| tokens(tensor, heads.heads));
        let mut results = shapes.clone().map(|shape| vec![0.0f32; shape.num_elements()]);
        let shared = results.each_mut().map(|result| Shared(result.as_mut_ptr()));
        (0..batch * heads.heads).into_par_iter().for_each(|task| {
            let (sample, head) = (task / heads.heads, task % heads.heads);
            let shared = &shared;
            let [shared_q, shared_k, shared_v] = shared;
            let to = |shared: &Shared, width: usize, tokens: usize| {
                let channels = width * heads.heads;
                // SAFETY: the head of this sample, inside of the result.
                (unsafe { shared.0.add(sample * tokens * channels + head * width) }, channels)
            };
            for first in (0..queries).step_by(QUERIES) {
                let count = QUERIES.min(queries - first);
                let [q, k, v, grad] = views;
                let (query, grads) = (q.head(sample, head, first), grad.head(sample, head, first));
                let (keys_of, values_of) = (k.head(sample, head, 0), v.head(sample, head, 0));
                let scale = 1.0 / (q.width as f32).sqrt();
                // P: the weights of these queries.
                let mut weights = vec![0.0; count * keys];
                product_t((count, keys, q.width), query, keys_of, &mut weights);
                softmax(&mut weights, keys, scale, heads.causal.then_some(first));
                let as_rows = |elements| Matrix { elements, row: keys, column: 1 };
                let as_columns = |elements| Matrix { elements, row: 1, column: keys };
                // dV += P^T dO
                // SAFETY: this head of this sample is written by this thread alone, inside of the result.
                unsafe {
                    product_into(
                        (keys, v.width, count),
                        as_columns(&weights),
                        grads,
                        to(shared_v, v.width, keys),
                        true,
                        false,
                    )
                };
                // dP = dO V^T, then dS = P (dP - sum of P dP) scale
                let mut slopes = vec![0.0; count * keys];
                product_t((count, keys, v.width), grads, values_of, &mut slopes);
                softmax_backward(&mut slopes, &weights, keys, scale);
                let (to_q, row) = to(shared_q, q.width, queries);
                // SAFETY: as above; the rows of these queries.
                unsafe {
                    let to_q = (to_q.add(first * row), row);
                    product_into((count, q.width, keys), as_rows(&slopes), keys_of, to_q, false, false);
                    product_into(
                        (keys, q.width, count),
                        as_columns(&slopes),
                        query,
                        to(shared_k, k.width, keys),
                        true,
                        false,
                    );
                }
            }
        });
        let mut tensors = results.into_iter().zip(shapes).map(|(result, shape)| flex::tensor(result, shape));
        Some([tensors.next()?, tensors.next()?, tensors.next()?])
    }
}

/// `c = a b^T`, with rows of `c` behind each other.
fn product_t((m, n, k): (usize, usize, usize), a: Matrix<'_>, b: Matrix<'_>, c: &mut [f32]) {
    product((m, n, k), a, b.transposed(), (c, n), false, false);
}

/// Some queries of one head, and the keys they see.
#[derive(Clone, Copy)]
struct Span {
    first: usize,
    count: usize,
    keys: usize,
    causal: bool,
}

/// The softmax so far of some queries: the largest score and the sum of the exponentials relative to it.
struct Running<'a> {
    largest: &'a mut [f32],
    sums: &'a mut [f32],
}

/// Goes on with the softmax of rows of scores, those of the keys from `from` on; what was mixed so far is scaled down to
/// the new largest score.
#[multiversion(targets = "simd")]
fn softmax_block(
    span: Span,
    from: usize,
    (scores, columns): (&mut [f32], usize),
    (scale, bias): (f32, Option<Bias<'_>>),
    state: Running<'_>,
    (mixed, value_width): (&mut [f32], usize),
) {
    let state = state.largest.iter_mut().zip(state.sums);
    let rows = scores.chunks_exact_mut(columns).zip(mixed.chunks_exact_mut(value_width));
    for (at, ((row, mixed), (largest, sum))) in rows.zip(state).enumerate() {
        let visible = if span.causal { (span.first + at + 1).saturating_sub(from).min(columns) } else { columns };
        prepare_row(row, scale, bias.map(|bias| bias.row(at)), visible);
        let grown = largest.max(simd::largest(row));
        for score in row.iter_mut() {
            *score = simd::exp(*score - grown);
        }
        let [own] = simd::fold(row, |x| [x]);
        if from > 0 {
            let shrink = simd::exp(*largest - grown);
            *sum *= shrink;
            for mixed in mixed {
                *mixed *= shrink;
            }
        }
        *sum += own;
        *largest = grown;
    }
}

/// The softmax of whole rows of scores. With `first`, the position of the first query, each sees the keys up to its own.
#[multiversion(targets = "simd")]
fn softmax(scores: &mut [f32], keys: usize, scale: f32, first: Option<usize>) {
    for (at, row) in scores.chunks_exact_mut(keys).enumerate() {
        prepare_row(row, scale, None, first.map_or(keys, |first| (first + at + 1).min(keys)));
        let largest = simd::largest(row);
        for weight in row.iter_mut() {
            *weight = simd::exp(*weight - largest);
        }
        let [sum] = simd::fold(row, |x| [x]);
        for weight in row.iter_mut() {
            *weight /= sum;
        }
    }
}

/// Gradients of scores, in the place of those of the weights: `P (dP - sum of P dP) scale` for each query.
#[multiversion(targets = "simd")]
fn softmax_backward(slopes: &mut [f32], weights: &[f32], keys: usize, scale: f32) {
    for (slopes, weights) in slopes.chunks_exact_mut(keys).zip(weights.chunks_exact(keys)) {
        let [mean] = simd::fold2(slopes, weights, |slope, weight| [slope * weight]);
        for (slope, weight) in slopes.iter_mut().zip(weights) {
            *slope = weight * (*slope - mean) * scale;
        }
    }
}

/// Fills `scratch.mixed` with sums of values, to be divided by `scratch.sums`.
fn attend_to(
    span: Span,
    q: Matrix<'_>,
    (k, width): (Matrix<'_>, usize),
    (v, value_width): (Matrix<'_>, usize),
    bias: Option<Bias<'_>>,
    scratch: &mut Scratch,
) {
    let Span { first, count, keys, causal } = span;
    let scale = 1.0 / (width as f32).sqrt();
    scratch.largest.fill(f32::NEG_INFINITY);
    scratch.sums.fill(0.0);
    scratch.mixed.fill(0.0);
    let keys = if causal { keys.min(first + count) } else { keys };
    for from in (0..keys).step_by(KEYS) {
        let columns = KEYS.min(keys - from);
        let Some(scores) = scratch.scores.get_mut(..count * columns) else { return };
        let (keys_here, values_here) = (k.without_rows(from), v.without_rows(from));
        product_t((count, columns, width), q, keys_here, scores);
        let bias = bias.map(|bias| bias.without(from));
        let state = Running { largest: &mut scratch.largest, sums: &mut scratch.sums };
        softmax_block(span, from, (scores, columns), (scale, bias), state, (&mut scratch.mixed, value_width));
        let weights = Matrix { elements: scores, row: columns, column: 1 };
        product(
            (count, value_width, columns),
            weights,
            values_here,
            (&mut scratch.mixed, value_width),
            from > 0,
            false,
        );
    }
}

impl<B: AttentionKernel, C: CheckpointStrategy> AttentionKernel for Autodiff<B, C> {
    fn attend(
        heads: Heads,
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        let serves = [&q, &k, &v].into_iter().all(|x| B::has_kernels(&x.primitive));
        if bias.is_some() || !serves {
            return composed::<Self>(heads, q, k, v, bias);
        }
        let nodes = [q.node.clone(), k.node.clone(), v.node.clone()];
        let [q, k, v] = [q.primitive, k.primitive, v.primitive];
        match AttentionBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let state = (heads, [q.clone(), k.clone(), v.clone()]);
                prep.finish(state, B::attend(heads, q, k, v, None))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::attend(heads, q, k, v, None)),
        }
    }
}

#[derive(Debug)]
struct AttentionBackward;

impl<B: AttentionKernel> Backward<B, 3> for AttentionBackward {
    type State = (Heads, [FloatTensor<B>; 3]);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (heads, operands) = ops.state;
        let Some(gradients) = B::attend_backward(heads, operands, grad) else { return };
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

#[cfg(feature = "cuda")]
impl AttentionKernel for super::Cuda {}

#[cfg(test)]
mod tests {
    use super::super::testing::{Tracked, agree, draw};
    use super::*;
    use proptest::prelude::*;

    fn shapes(batch: usize, [queries, keys]: [usize; 2], heads: usize, [width, values]: [usize; 2]) -> [Vec<usize>; 3] {
        [vec![batch, queries, heads * width], vec![batch, keys, heads * width], vec![batch, keys, heads * values]]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn equals_the_composition(
            seed: u64,
            batch in 1usize..3,
            heads in 1usize..4,
            queries in 1usize..150,
            keys in 1usize..300,
            width in prop::array::uniform2(1usize..20),
            causal: bool,
        ) {
            let keys = if causal { queries } else { keys };
            let heads = Heads { heads, causal };
            agree(
                seed,
                shapes(batch, [queries, keys], heads.heads, width),
                2e-5,
                |[q, k, v]| Tracked::attend(heads, q, k, v, None),
                |[q, k, v]| composed::<Tracked>(heads, q, k, v, None),
            );
        }

        #[test]
        fn adds_a_bias_to_the_scores(seed: u64, batch in 1usize..3, keys in 1usize..300, each: [bool; 3], causal: bool) {
            let queries = if causal { keys } else { 70 };
            let heads = Heads { heads: 2, causal };
            let mut shapes = shapes(batch, [queries, keys], 2, [8, 8]).to_vec();
            let [samples, of_heads, rows] = each;
            let size = |own: bool, count: usize| if own { count } else { 1 };
            shapes.push(vec![size(samples, batch), size(of_heads, 2), size(rows, queries), keys]);
            let [q, k, v, bias]: [FloatTensor<Flex>; 4] = draw(seed, &shapes).try_into().expect("four operands");
            let found = Flex::attend(heads, q.clone(), k.clone(), v.clone(), Some(bias.clone()));
            let expected = composed::<Flex>(heads, q, k, v, Some(bias));
            for (found, expected) in flex::elements(&found).iter().zip(flex::elements(&expected)) {
                prop_assert!((found - expected).abs() < 2e-5, "{found} instead of {expected}");
            }
        }

        #[test]
        fn hides_what_a_bias_hides(seed: u64, batch in 1usize..3, keys in 1usize..300, shared: bool) {
            let heads = Heads { heads: 2, causal: false };
            let mut shapes = shapes(batch, [70, keys], 2, [8, 8]).to_vec();
            shapes.push(vec![if shared { 1 } else { batch }, 1, 1, keys]);
            let [q, k, v, bias]: [FloatTensor<Flex>; 4] = draw(seed, &shapes).try_into().expect("four operands");
            // What text masks are: nothing, or as good as minus infinity. One key stays visible.
            let hides = |(at, x): (usize, &f32)| if at % keys == 0 || *x > 0.0 { 0.0 } else { -10_000.0 };
            let mask = flex::elements(&bias).iter().enumerate().map(hides).collect();
            let bias = flex::tensor(mask, bias.shape());
            let found = Flex::attend(heads, q.clone(), k.clone(), v.clone(), Some(bias.clone()));
            let expected = composed::<Flex>(heads, q, k, v, Some(bias));
            for (found, expected) in flex::elements(&found).iter().zip(flex::elements(&expected)) {
                prop_assert!((found - expected).abs() < 1e-4, "{found} instead of {expected}");
            }
        }
    }
}
