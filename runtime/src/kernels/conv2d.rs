//! Convolutions over images as matrix products with the patches of the input, in place: neither input nor weights nor
//! result change their layout.

use super::broadcast::{BroadcastKernel, Spread};
use super::linear::{Matrix, product, product_into};
use super::simd;
use super::{Own, flex};
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::ops::{ConvOptions, FloatTensor, PadMode};
use burn::tensor::{DType, FloatDType, Tensor, TensorMetadata, TensorPrimitive, module};
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use rayon::prelude::*;

/// How a kernel moves over an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Down and to the right.
    pub stride: [usize; 2],
    /// Zeros at the top, left, bottom and right.
    pub padding: [usize; 4],
}

/// Backends that convolve. The default is Burn's.
pub trait Conv2dKernel: BroadcastKernel {
    /// `x` is `[batch, in, height, width]`, `weight` `[out, in, height, width]`, `bias` `[out]`.
    fn convolve(
        window: Window,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        composed::<Self>(window, x, weight, bias)
    }

    /// The gradient of an input of `size`, height and width; only where there is a kernel.
    fn convolve_backward_input(
        _: Window,
        _size: [usize; 2],
        _weight: FloatTensor<Self>,
        _grad: FloatTensor<Self>,
    ) -> Option<FloatTensor<Self>> {
        None
    }

    /// The gradient of a weight with a kernel of `size`, height and width; only where there is a kernel.
    fn convolve_backward_weight(
        _: Window,
        _size: [usize; 2],
        _x: FloatTensor<Self>,
        _grad: FloatTensor<Self>,
    ) -> Option<FloatTensor<Self>> {
        None
    }
}

fn composed<B: Backend>(
    window: Window,
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: Option<FloatTensor<B>>,
) -> FloatTensor<B> {
    let tensor = |x| TensorPrimitive::Float(x);
    let (x, weight): (Tensor<B, 4>, Tensor<B, 4>) =
        (Tensor::from_primitive(tensor(x)), Tensor::from_primitive(tensor(weight)));
    let bias: Option<Tensor<B, 1>> = bias.map(|bias| Tensor::from_primitive(tensor(bias)));
    let [top, left, bottom, right] = window.padding;
    let (x, padding) = if top == bottom && left == right {
        (x, [top, left])
    } else {
        (padded(x, [(top, bottom), (left, right)]), [0, 0])
    };
    let options = ConvOptions::new(window.stride, padding, [1, 1], 1);
    module::conv2d(x, weight, bias, options).into_primitive().tensor()
}

/// Zeros around the last axes, so many before and behind each. Burn 0.21 makes them of the default type of the device and
/// stops where the tensor has another.
pub(crate) fn padded<B: Backend, const D: usize, const N: usize>(
    x: Tensor<B, D>,
    sides: [(usize, usize); N],
) -> Tensor<B, D> {
    let pad = |x: Tensor<B, D>| x.pad(sides, PadMode::Constant(0.0));
    match x.dtype() {
        DType::F16 => pad(x.cast(FloatDType::F32)).cast(FloatDType::F16),
        DType::BF16 => pad(x.cast(FloatDType::F32)).cast(FloatDType::BF16),
        _ => pad(x),
    }
}

/// All sizes of one convolution.
#[derive(Clone, Copy)]
struct Sizes {
    window: Window,
    batch: usize,
    inputs: usize,
    outputs: usize,
    /// Height and width of the input, the kernel and the result.
    image: [usize; 2],
    kernel: [usize; 2],
    result: [usize; 2],
}

impl Sizes {
    fn of(window: Window, batch: usize, [outputs, inputs]: [usize; 2], image: [usize; 2], kernel: [usize; 2]) -> Self {
        let [top, left, bottom, right] = window.padding;
        let span = |size: usize, before: usize, after: usize, kernel: usize, stride: usize| {
            (size + before + after + stride).saturating_sub(kernel) / stride.max(1)
        };
        let result = [
            span(image[0], top, bottom, kernel[0], window.stride[0]),
            span(image[1], left, right, kernel[1], window.stride[1]),
        ];
        Self { window, batch, inputs, outputs, image, kernel, result }
    }

    fn pixels(&self) -> usize {
        self.image[0] * self.image[1]
    }

    fn places(&self) -> usize {
        self.result[0] * self.result[1]
    }

    /// Weights for one channel.
    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Whether the patches of the input are the input itself.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.window.stride == [1, 1] && self.window.padding == [0; 4]
    }

    /// For a line of the result and a tap: the line of the input, and the places whose pixels lie inside of it, with
    /// the first of these pixels.
    fn line(&self, line: usize, tap: usize) -> Option<usize> {
        (line * self.window.stride[0] + tap).checked_sub(self.window.padding[0]).filter(|at| *at < self.image[0])
    }

    fn inside(&self, tap: usize) -> (usize, usize, usize) {
        let (stride, left, width) = (self.window.stride[1], self.window.padding[1], self.image[1]);
        let low = left.saturating_sub(tap).div_ceil(stride).min(self.result[1]);
        let high = (width + left).saturating_sub(tap).div_ceil(stride).min(self.result[1]).max(low);
        (low, high, (low * stride + tap).saturating_sub(left))
    }
}

/// Writes the patches of one channel for some lines of the result: a row for each tap, rows `stride` apart.
fn patches(sizes: Sizes, plane: &[f32], lines: std::ops::Range<usize>, to: &mut [f32], stride: usize) {
    let width = sizes.result[1];
    for down in 0..sizes.kernel[0] {
        for across in 0..sizes.kernel[1] {
            let row = (down * sizes.kernel[1] + across) * stride;
            let Some(row) = to.get_mut(row..row + lines.len() * width) else { continue };
            let (low, high, from) = sizes.inside(across);
            for (line, to) in lines.clone().zip(row.chunks_exact_mut(width)) {
                let source = sizes.line(line, down).and_then(|at| plane.get(at * sizes.image[1]..));
                let Some(source) = source else {
                    to.fill(0.0);
                    continue;
                };
                let (before, rest) = to.split_at_mut(low);
                let (inside, after) = rest.split_at_mut(high - low);
                before.fill(0.0);
                after.fill(0.0);
                let source = source.get(from..).unwrap_or(&[]);
                if sizes.window.stride[1] == 1 {
                    if let Some(source) = source.get(..inside.len()) {
                        inside.copy_from_slice(source);
                    }
                } else {
                    for (to, source) in inside.iter_mut().zip(source.iter().step_by(sizes.window.stride[1])) {
                        *to = *source;
                    }
                }
            }
        }
    }
}

/// Adds gradients of the patches of one channel to that of its plane.
fn scatter(sizes: Sizes, patches: &[f32], plane: &mut [f32]) {
    let (width, stride) = (sizes.result[1], sizes.places());
    for down in 0..sizes.kernel[0] {
        for across in 0..sizes.kernel[1] {
            let row = (down * sizes.kernel[1] + across) * stride;
            let Some(row) = patches.get(row..row + stride) else { continue };
            let (low, high, from) = sizes.inside(across);
            for (line, source) in row.chunks_exact(width).enumerate() {
                let to = sizes.line(line, down).and_then(|at| plane.get_mut(at * sizes.image[1] + from..));
                let (Some(to), Some(source)) = (to, source.get(low..high)) else { continue };
                for (to, source) in to.iter_mut().step_by(sizes.window.stride[1]).zip(source) {
                    *to += source;
                }
            }
        }
    }
}

/// Floats of patches that a thread holds at a time.
const PATCHES: usize = 1 << 20;

struct Shared(*mut f32);
// SAFETY: threads write different parts.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

fn forward(sizes: Sizes, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let places = sizes.places();
    let depth = sizes.inputs * sizes.taps();
    // SAFETY: the bias or the product writes all elements.
    let mut out = unsafe { simd::uninitialized(sizes.batch * sizes.outputs * places) };
    if let Some(bias) = bias {
        out.par_chunks_mut(places.max(1)).enumerate().for_each(|(at, out)| {
            out.fill(bias.get(at % sizes.outputs).copied().unwrap_or(0.0));
        });
    }
    let weights = Matrix { elements: weight, row: depth, column: 1 };
    let sample = |at: usize| x.get(at * sizes.inputs * sizes.pixels()..).unwrap_or(&[]);
    if sizes.is_pointwise() {
        for (at, out) in out.chunks_exact_mut((sizes.outputs * places).max(1)).enumerate() {
            let pixels = Matrix { elements: sample(at), row: places, column: 1 };
            product((sizes.outputs, places, depth), weights, pixels, (out, places), bias.is_some(), true);
        }
        return out;
    }
    let threads = rayon::current_num_threads();
    // Lines of the result for one block: few enough for the patches to stay near, and for every thread to have some.
    let fitting = (PATCHES / (depth * sizes.result[1]).max(1)).max(1);
    let lines = fitting.min(sizes.result[0].div_ceil(threads.div_ceil(sizes.batch.max(1)))).max(1);
    let blocks = sizes.result[0].div_ceil(lines);
    let shared = Shared(out.as_mut_ptr());
    let scratch = || Vec::<f32>::with_capacity(depth * lines * sizes.result[1]);
    (0..sizes.batch * blocks).into_par_iter().for_each_init(scratch, |scratch, task| {
        let (at, block) = (task / blocks, task % blocks);
        let range = block * lines..((block + 1) * lines).min(sizes.result[0]);
        let columns = range.len() * sizes.result[1];
        scratch.resize(depth * columns, 0.0);
        let planes = sample(at).chunks_exact(sizes.pixels()).take(sizes.inputs);
        for (plane, to) in planes.zip(scratch.chunks_exact_mut(sizes.taps() * columns)) {
            patches(sizes, plane, range.clone(), to, columns);
        }
        let shared = &shared;
        let start = at * sizes.outputs * places + range.start * sizes.result[1];
        let patches = Matrix { elements: scratch, row: columns, column: 1 };
        // SAFETY: the lines of this block in every channel of this sample, inside of `out`.
        unsafe {
            let to = (shared.0.add(start), places);
            product_into((sizes.outputs, columns, depth), weights, patches, to, bias.is_some(), false);
        }
    });
    out
}

/// Channels whose patches a thread holds at a time.
fn channels_per_task(sizes: Sizes, tasks: usize) -> usize {
    let fitting = PATCHES / (sizes.taps() * sizes.places()).max(1);
    let shared = sizes.inputs.div_ceil((2 * rayon::current_num_threads()).div_ceil(tasks.max(1)));
    fitting.min(shared).max(1)
}

fn backward_input(sizes: Sizes, weight: &[f32], grad: &[f32]) -> Vec<f32> {
    let (places, taps) = (sizes.places(), sizes.taps());
    let depth = sizes.inputs * taps;
    let mut out = vec![0.0; sizes.batch * sizes.inputs * sizes.pixels()];
    let own = channels_per_task(sizes, sizes.batch);
    // Samples are cut into blocks of channels; the last block of a sample may be smaller.
    let blocks: Vec<(usize, usize, &mut [f32])> = out
        .chunks_exact_mut((sizes.inputs * sizes.pixels()).max(1))
        .enumerate()
        .flat_map(|(at, sample)| {
            sample.chunks_mut(own * sizes.pixels()).enumerate().map(move |(block, part)| (at, block * own, part))
        })
        .collect();
    blocks.into_par_iter().for_each_init(Vec::new, |scratch: &mut Vec<f32>, (at, channel, part)| {
        let channels = part.len() / sizes.pixels();
        let grads = grad.get(at * sizes.outputs * places..).unwrap_or(&[]);
        let grads = Matrix { elements: grads, row: places, column: 1 };
        let weights = Matrix { elements: weight.get(channel * taps..).unwrap_or(&[]), row: 1, column: depth };
        if sizes.is_pointwise() {
            product((channels, places, sizes.outputs), weights, grads, (part, places), false, false);
            return;
        }
        scratch.resize(channels * taps * places, 0.0);
        product((channels * taps, places, sizes.outputs), weights, grads, (scratch, places), false, false);
        for (plane, patches) in part.chunks_exact_mut(sizes.pixels()).zip(scratch.chunks_exact(taps * places)) {
            scatter(sizes, patches, plane);
        }
    });
    out
}

fn backward_weight(sizes: Sizes, x: &[f32], grad: &[f32]) -> Vec<f32> {
    let (places, taps) = (sizes.places(), sizes.taps());
    let depth = sizes.inputs * taps;
    // SAFETY: the products of the first sample write all elements.
    let mut out = unsafe { simd::uninitialized(sizes.outputs * depth) };
    if sizes.batch == 0 {
        out.fill(0.0);
    }
    let own = channels_per_task(sizes, 1);
    let shared = Shared(out.as_mut_ptr());
    (0..sizes.inputs.div_ceil(own)).into_par_iter().for_each_init(Vec::new, |scratch: &mut Vec<f32>, block| {
        let channels = block * own..((block + 1) * own).min(sizes.inputs);
        let shared = &shared;
        for at in 0..sizes.batch {
            let grads = grad.get(at * sizes.outputs * places..).unwrap_or(&[]);
            let grads = Matrix { elements: grads, row: places, column: 1 };
            let planes = x.get((at * sizes.inputs + channels.start) * sizes.pixels()..).unwrap_or(&[]);
            let rows = if sizes.is_pointwise() {
                planes
            } else {
                scratch.resize(channels.len() * taps * places, 0.0);
                let planes = planes.chunks_exact(sizes.pixels()).take(channels.len());
                for (plane, to) in planes.zip(scratch.chunks_exact_mut(taps * places)) {
                    patches(sizes, plane, 0..sizes.result[0], to, places);
                }
                scratch.as_slice()
            };
            let patches = Matrix { elements: rows, row: 1, column: places };
            // SAFETY: the weights of these channels, inside of `out`.
            unsafe {
                let to = (shared.0.add(channels.start * taps), depth);
                product_into((sizes.outputs, channels.len() * taps, places), grads, patches, to, at > 0, false);
            }
        }
    });
    out
}

impl Conv2dKernel for Flex {
    fn convolve(
        window: Window,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        if ![&x, &weight].into_iter().chain(&bias).all(Self::has_kernels) {
            return composed::<Self>(window, x, weight, bias);
        }
        let (x, weight, bias) = (flex::contiguous(x), flex::contiguous(weight), bias.map(flex::contiguous));
        let ([batch, _, height, width], [outputs, inputs, down, across]) =
            (x.shape().dims::<4>(), weight.shape().dims::<4>());
        let sizes = Sizes::of(window, batch, [outputs, inputs], [height, width], [down, across]);
        let bias = bias.as_ref().map(flex::elements);
        let out = forward(sizes, flex::elements(&x), flex::elements(&weight), bias);
        flex::tensor(out, [batch, outputs, sizes.result[0], sizes.result[1]].into())
    }

    fn convolve_backward_input(
        window: Window,
        size: [usize; 2],
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> Option<FloatTensor<Self>> {
        let (weight, grad) = (flex::contiguous(weight), flex::contiguous(grad));
        let [outputs, inputs, down, across] = weight.shape().dims::<4>();
        let batch = grad.shape().dims::<4>()[0];
        let sizes = Sizes::of(window, batch, [outputs, inputs], size, [down, across]);
        let out = backward_input(sizes, flex::elements(&weight), flex::elements(&grad));
        Some(flex::tensor(out, [batch, inputs, size[0], size[1]].into()))
    }

    fn convolve_backward_weight(
        window: Window,
        size: [usize; 2],
        x: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> Option<FloatTensor<Self>> {
        let (x, grad) = (flex::contiguous(x), flex::contiguous(grad));
        let [batch, inputs, height, width] = x.shape().dims::<4>();
        let outputs = grad.shape().dims::<4>()[1];
        let sizes = Sizes::of(window, batch, [outputs, inputs], [height, width], size);
        let out = backward_weight(sizes, flex::elements(&x), flex::elements(&grad));
        Some(flex::tensor(out, [outputs, inputs, size[0], size[1]].into()))
    }
}

impl<B: Conv2dKernel, C: CheckpointStrategy> Conv2dKernel for Autodiff<B, C> {
    fn convolve(
        window: Window,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        if !B::has_kernels(&x.primitive) || !B::has_kernels(&weight.primitive) {
            return composed::<Self>(window, x, weight, bias);
        }
        let state = (window, x.primitive.clone(), weight.primitive.clone());
        let (x_node, weight_node) = (x.node.clone(), weight.node.clone());
        let y = |bias| B::convolve(window, x.primitive, weight.primitive, bias);
        match bias {
            None => match Conv2dBackward.prepare::<C>([x_node, weight_node]).compute_bound().stateful() {
                OpsKind::Tracked(prep) => prep.finish(state, y(None)),
                OpsKind::UnTracked(prep) => prep.finish(y(None)),
            },
            Some(bias) => {
                let nodes = [x_node, weight_node, bias.node.clone()];
                match Conv2dBackward.prepare::<C>(nodes).compute_bound().stateful() {
                    OpsKind::Tracked(prep) => prep.finish(state, y(Some(bias.primitive))),
                    OpsKind::UnTracked(prep) => prep.finish(y(Some(bias.primitive))),
                }
            }
        }
    }
}

#[derive(Debug)]
struct Conv2dBackward;

/// The window, `x` and the weight.
type State<B> = (Window, FloatTensor<B>, FloatTensor<B>);

fn backward<B: Conv2dKernel, const N: usize>(ops: Ops<State<B>, N>, grads: &mut Gradients) {
    let grad = grads.consume::<B>(&ops.node);
    let (window, x, weight) = ops.state;
    let mut parents = ops.parents.into_iter();
    let mut register = |grads: &mut Gradients, gradient: &dyn Fn() -> Option<FloatTensor<B>>| {
        if let Some(Some(parent)) = parents.next()
            && let Some(gradient) = gradient()
        {
            grads.register::<B>(parent.id, gradient);
        }
    };
    let ([_, _, height, width], [_, _, down, across]) = (x.shape().dims::<4>(), weight.shape().dims::<4>());
    register(grads, &|| B::convolve_backward_input(window, [height, width], weight.clone(), grad.clone()));
    register(grads, &|| B::convolve_backward_weight(window, [down, across], x.clone(), grad.clone()));
    register(grads, &|| {
        let [batch, outputs, height, width] = grad.shape().dims::<4>();
        let spread = Spread::of(&[batch, outputs, height * width], &[1, outputs, 1])?;
        B::broadcast_sum(spread, grad.clone(), None, [outputs].into())
    });
}

impl<B: Conv2dKernel> Backward<B, 2> for Conv2dBackward {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        backward::<B, 2>(ops, grads);
    }
}

impl<B: Conv2dKernel> Backward<B, 3> for Conv2dBackward {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        backward::<B, 3>(ops, grads);
    }
}

#[cfg(feature = "cuda")]
impl Conv2dKernel for super::Cuda {}

#[cfg(test)]
mod tests {
    use super::super::testing::{Tracked, agree};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zeros_around_have_the_type_of_what_they_are_around() {
        let x = Tensor::<Flex, 2>::from_floats([[1.0, 2.0], [3.0, 4.0]], &Default::default());
        let around = [[1.0, 2.0, 0.0], [3.0, 4.0, 0.0], [0.0; 3]].concat();
        for dtype in [FloatDType::F32, FloatDType::BF16, FloatDType::F16] {
            let found = padded(x.clone().cast(dtype), [(0, 1), (0, 1)]);
            assert_eq!(found.dtype(), DType::from(dtype));
            assert_eq!(found.cast(FloatDType::F32).into_data().to_vec::<f32>().expect("floats"), around);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn equals_burn(
            seed: u64,
            batch in 1usize..4,
            channels in prop::array::uniform2(1usize..9),
            image in prop::array::uniform2(1usize..12),
            kernel in prop::array::uniform2(1usize..4),
            stride in prop::array::uniform2(1usize..3),
            padding in prop::array::uniform4(0usize..3),
        ) {
            let [inputs, outputs] = channels;
            let window = Window { stride, padding };
            prop_assume!(image[0] + padding[0] + padding[2] >= kernel[0]);
            prop_assume!(image[1] + padding[1] + padding[3] >= kernel[1]);
            let shapes = [
                vec![batch, inputs, image[0], image[1]],
                vec![outputs, inputs, kernel[0], kernel[1]],
                vec![outputs],
            ];
            let [x, weight, _] = shapes.clone();
            agree(
                seed,
                [x, weight],
                1e-5,
                |[x, weight]| Tracked::convolve(window, x, weight, None),
                |[x, weight]| composed::<Tracked>(window, x, weight, None),
            );
            agree(
                seed,
                shapes,
                1e-5,
                |[x, weight, bias]| Tracked::convolve(window, x, weight, Some(bias)),
                |[x, weight, bias]| composed::<Tracked>(window, x, weight, Some(bias)),
            );
        }
    }
}
