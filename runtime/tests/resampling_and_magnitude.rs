//! Operators that change resolutions and magnitudes, and convolutions of sequences, against plain loops in f64, on odd
//! sizes, one sample, one token, one pixel; and their gradients against differences of the loss.

use archc_compiler::ir::Graph;
use archc_compiler::{Options, compile};
use archc_runtime::tensors::TensorFile;
use archc_runtime::{Device, HostTensor, Request, Response, Weights, constraint, init, open};
use burn::backend::Flex;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What emitted crates hold.
mod emitted {
    #![expect(clippy::indexing_slicing, reason = "an index out of range is a failure of the test")]

    use burn::prelude::*;

    include!("../../compiler/src/emit/rust/helpers/resize.rs");
    include!("../../compiler/src/emit/rust/helpers/resize_weights.rs");
}

/// What a run was given and gave.
struct Run {
    x: Tensor,
    parameters: BTreeMap<String, Tensor>,
    out: Tensor,
}

/// Elements in C order, in f64.
#[derive(Clone, Debug)]
struct Tensor {
    shape: Vec<usize>,
    data: Vec<f64>,
}

impl Tensor {
    fn of(tensor: &HostTensor) -> Self {
        Self { shape: tensor.shape.clone(), data: tensor.to_f32().into_iter().map(f64::from).collect() }
    }

    fn at(&self, index: &[usize]) -> f64 {
        let place = index.iter().zip(&self.shape).fold(0, |place, (at, size)| place * size + at);
        self.data.get(place).copied().expect("an index in range")
    }

    /// The element there, or zero outside.
    fn padded(&self, index: &[i64]) -> f64 {
        let inside: Option<Vec<usize>> =
            index.iter().zip(&self.shape).map(|(at, size)| usize::try_from(*at).ok().filter(|at| at < size)).collect();
        inside.map_or(0.0, |index| self.at(&index))
    }

    fn parameter(run: &Run, name: &str) -> Tensor {
        run.parameters.get(name).cloned().expect("a parameter")
    }
}

fn graph(source: &str) -> Arc<Graph> {
    let compiled = compile("main.arch", None, &[], &[("main.arch", source)], &Options::default()).expect("a source");
    let problems: Vec<&str> = compiled.diagnostics.iter().map(|problem| &*problem.message).collect();
    Arc::new(compiled.graph.ok_or_else(|| format!("{source}\n{problems:?}")).expect("a model"))
}

/// Runs a model with one input `x` and checks the gradient of the loss along random directions.
fn run(source: &str, shape: &[usize]) -> Run {
    let graph = graph(source);
    let session = open(&graph, Device::Cpu, Weights::Seed(3)).expect("a session");
    let kind = graph.node(graph.inputs.first().expect("an input").node).ty.kind;
    let x = init::input(kind, None, shape.to_vec(), 5, "x");
    let respond = |x: &HostTensor| -> Response {
        let request = Request { inputs: vec![x.clone()], gradients: true, keep: vec![] };
        session.run(&request).expect("a run")
    };
    let response = respond(&x);
    let (_, gradient) = response.input_gradients.first().expect("a gradient");
    for seed in 0..3 {
        let direction = init::input(kind, None, shape.to_vec(), seed, "direction").to_f32();
        let step = 2e-3_f32;
        let loss = |sign: f32| {
            let moved = x.to_f32().iter().zip(&direction).map(|(x, d)| x + sign * step * d).collect();
            let out = respond(&HostTensor::f32(shape.to_vec(), moved)).outputs.remove(0).to_f32();
            out.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>() / out.len() as f64
        };
        let measured = (loss(1.0) - loss(-1.0)) / (2.0 * f64::from(step));
        let predicted: f64 = gradient.to_f32().iter().zip(&direction).map(|(g, d)| f64::from(g * d)).sum();
        let scale = gradient.to_f32().iter().map(|g| f64::from(g * g)).sum::<f64>().sqrt();
        assert!((measured - predicted).abs() < 1e-2 * scale + 5e-5, "{source}: {measured} instead of {predicted}");
    }
    let parameters = session.parameters().into_iter().map(|(name, tensor)| (name, Tensor::of(&tensor))).collect();
    Run { x: Tensor::of(&x), parameters, out: Tensor::of(response.outputs.first().expect("an output")) }
}

/// Compares every element with what `expected` says of its index.
fn check(source: &str, shape: &[usize], out: &[usize], expected: impl Fn(&Run, &[usize]) -> f64) {
    let run = run(source, shape);
    assert_eq!(run.out.shape, out, "{source}");
    for place in 0..run.out.data.len() {
        let mut rest = place;
        let mut index = vec![0; out.len()];
        for (slot, size) in index.iter_mut().zip(out).rev() {
            *slot = rest % size;
            rest /= size;
        }
        let (found, expected) = (run.out.at(&index), expected(&run, &index));
        assert!((found - expected).abs() < 2e-5 * (1.0 + expected.abs()), "{source} {index:?}: {found}, {expected}");
    }
}

#[test]
fn means_of_windows() {
    for (shape, factor) in [([2, 3, 6, 4], 2), ([1, 1, 3, 9], 3), ([1, 2, 2, 2], 2)] {
        let [batch, channels, height, width] = shape;
        let source = format!(
            "model M(x: image[{channels}, H, W]) -> image[{channels}, H / {factor}, W / {factor}] {{ x -> resample(down: {factor}) }}"
        );
        check(&source, &shape, &[batch, channels, height / factor, width / factor], |run, index| {
            let [b, c, i, j] = index else { return f64::NAN };
            let window = (0..factor * factor).map(|at| (i * factor + at / factor, j * factor + at % factor));
            window.map(|(i, j)| run.x.at(&[*b, *c, i, j])).sum::<f64>() / (factor * factor) as f64
        });
    }
}

#[test]
fn repeated_pixels() {
    for (shape, factor) in [([2, 3, 3, 5], 2), ([1, 1, 1, 1], 3)] {
        let [batch, channels, height, width] = shape;
        let source = format!("model M(x: image[{channels}, H, W]) {{ x -> resample(up: {factor}) }}");
        check(&source, &shape, &[batch, channels, height * factor, width * factor], |run, index| {
            let [b, c, i, j] = index else { return f64::NAN };
            run.x.at(&[*b, *c, i / factor, j / factor])
        });
    }
}

/// `sum over windows of filter * x`, zeros outside.
#[test]
fn filters_on_the_way_down() {
    let cases = [
        ("[1, 3, 3, 1]", vec![1.0, 3.0, 3.0, 1.0], "", 1, [2, 3, 6, 8], [3, 4]),
        ("[1, 2, 1]", vec![1.0, 2.0, 1.0], "", 1, [1, 2, 4, 2], [2, 1]),
        ("[1, 2]", vec![1.0, 2.0], ", stored: true", 0, [1, 1, 2, 2], [1, 1]),
        ("[1, 3, 3, 1]", vec![1.0, 3.0, 3.0, 1.0], ", padding: 0", 0, [2, 1, 7, 5], [2, 1]),
    ];
    for (text, taps, more, zeros, shape, [height, width]) in cases {
        let [batch, channels, ..] = shape;
        let source = format!(
            "model M(x: image[{channels}, {}, {}]) {{ x -> resample(down: 2, filter: {text}{more}) }}",
            shape[2], shape[3]
        );
        let sum: f64 = taps.iter().sum();
        check(&source, &shape, &[batch, channels, height, width], |run, index| {
            let [b, c, i, j] = index else { return f64::NAN };
            let weight = |at: usize| taps.get(at).copied().unwrap_or(0.0) / sum;
            let mut total = 0.0;
            for row in 0..taps.len() {
                for column in 0..taps.len() {
                    let place = [*b as i64, *c as i64, (2 * i + row) as i64 - zeros, (2 * j + column) as i64 - zeros];
                    total += weight(row) * weight(column) * run.x.padded(&place);
                }
            }
            total
        });
    }
}

/// The transposed operation: pixel `p` reaches `2 p + tap - zeros`.
#[test]
fn filters_on_the_way_up() {
    for (text, taps, shape) in
        [("[1, 3, 3, 1]", vec![1.0, 3.0, 3.0, 1.0], [2, 3, 3, 5]), ("[1, 2]", vec![1.0, 2.0], [1, 1, 1, 2])]
    {
        let [batch, channels, height, width] = shape;
        for stored in [false, true] {
            let source = format!(
                "model M(x: image[{channels}, H, W]) {{ x -> resample(up: 2, filter: {text}, stored: {stored}) @up }}"
            );
            let zeros = (taps.len() - 1) / 2;
            let sum: f64 = taps.iter().sum();
            check(&source, &shape, &[batch, channels, 2 * height, 2 * width], |run, index| {
                let [b, c, i, j] = index else { return f64::NAN };
                let mut total = 0.0;
                for row in 0..height {
                    for column in 0..width {
                        let weight = |at: usize, from: usize| {
                            let tap = (at + zeros).checked_sub(2 * from).and_then(|tap| taps.get(tap));
                            2.0 * tap.copied().unwrap_or(0.0) / sum
                        };
                        total += weight(*i, row) * weight(*j, column) * run.x.at(&[*b, *c, row, column]);
                    }
                }
                total
            });
        }
    }
}

/// What diffusers makes of an image before CLIP sees it, from 13 x 40 to sizes that smooth both axes, one, or none;
/// `tests/reference/pipelines/generate.py` records it.
#[test]
fn resizing_as_diffusers_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/pipelines/svd/resized.safetensors");
    let file = TensorFile::open(&path).expect("recorded by generate.py");
    let tensors = file.tensors().expect("a header");
    let image = tensors.read("image").expect("an image");
    let sizes: Vec<String> = tensors.names().into_iter().filter(|name| name != "image").collect();
    assert_eq!(sizes.len(), 5);
    for name in sizes {
        let expected = tensors.read(&name).expect("a result");
        let size = |axis: usize| expected.shape.get(axis).copied().expect("an image");
        let (height, width) = (size(2), size(3));
        let source = format!("model M(x: image[3, H, W]) {{ x -> resize({height}, {width}) }}");
        let session = open(&graph(&source), Device::Cpu, Weights::Seed(1)).expect("a session");
        let found = session.run(&Request { inputs: vec![image.clone()], ..Request::default() }).expect("a run");
        let found = found.outputs.first().expect("an output");
        assert_eq!(found.shape, expected.shape);
        let x = burn::tensor::TensorData::new(image.to_f32(), image.shape.clone());
        let x = burn::tensor::Tensor::<Flex, 4>::from_data(x, &Default::default());
        let emitted = emitted::resize(x, height, width).into_data().to_vec::<f32>().expect("numbers");
        // PyTorch finds places between pixels in f32, off by some 1e-6 of a pixel.
        for found in [found.to_f32(), emitted] {
            let off = found.iter().zip(expected.to_f32()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(found.len() == expected.len() && off < 3e-5, "{name}: {off}");
        }
    }
}

/// Where pixels fall on pixels they stay, one pixel is the whole image, and gradients are those of a linear map.
#[test]
fn resizing_keeps_corners() {
    for (shape, [height, width]) in [([2, 3, 3, 4], [5, 7]), ([1, 1, 1, 1], [3, 2]), ([1, 2, 4, 3], [4, 3])] {
        let [batch, channels, rows, columns] = shape;
        let source = format!("model M(x: image[{channels}, H, W]) {{ x -> resize({height}, {width}) }}");
        let run = run(&source, &shape);
        assert_eq!(run.out.shape, [batch, channels, height, width]);
        for (b, c) in (0..batch).flat_map(|b| (0..channels).map(move |c| (b, c))) {
            for (i, j) in (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))) {
                let to = |at: usize, from: usize, to: usize| at * (to - 1) / (from - 1).max(1);
                let (found, expected) =
                    (&run.out.at(&[b, c, to(i, rows, height), to(j, columns, width)]), run.x.at(&[b, c, i, j]));
                assert!((found - expected).abs() < 1e-5, "{source} {i} {j}: {found}, {expected}");
            }
        }
    }
    // Smoothed: against differences of the loss alone.
    run("model M(x: image[2, H, W]) { x -> resize(3, 2) }", &[1, 2, 9, 7]);
}

#[test]
fn convolutions_of_sequences() {
    for (shape, features, kernel, stride, zeros, length) in
        [([2, 5, 3], 4, 1, 1, 0, 5), ([1, 1, 2], 3, 1, 1, 0, 1), ([2, 7, 3], 2, 3, 1, 1, 7), ([1, 8, 1], 3, 4, 2, 2, 5)]
    {
        let [batch, tokens, channels] = shape;
        let source = format!(
            "model M(x: tokens[{tokens}, {channels}]) \
             {{ x -> conv1d({features}, kernel: {kernel}, stride: {stride}, padding: {zeros}) @c }}"
        );
        check(&source, &shape, &[batch, length, features], |run, index| {
            let [b, t, f] = index else { return f64::NAN };
            let (weight, bias) = (Tensor::parameter(run, "c.weight"), Tensor::parameter(run, "c.bias"));
            assert_eq!(weight.shape, [features, channels, kernel]);
            let mut total = bias.at(&[*f]);
            for tap in 0..kernel {
                for c in 0..channels {
                    let place = [*b as i64, (t * stride + tap) as i64 - zeros as i64, c as i64];
                    total += weight.at(&[*f, c, tap]) * run.x.padded(&place);
                }
            }
            total
        });
    }
}

#[test]
fn magnitudes_of_pixels_and_heads() {
    for (channels, groups) in [(6, 1), (6, 2), (1, 1), (5, 5)] {
        let width = channels / groups;
        // The mean square of what is normalised depends on nothing; factors of its own for each channel give it a slope.
        let factors = format!("parameter(vector[{channels}], init: uniform(0.5, 2)) @w");
        let source = format!("model M(x: image[{channels}, 3, 1]) {{ (x -> pixel_norm({groups})) * {factors} }}");
        check(&source, &[2, channels, 3, 1], &[2, channels, 3, 1], |run, index| {
            let [b, c, i, j] = index else { return f64::NAN };
            let group = c / width * width;
            let squares = (group..group + width).map(|c| run.x.at(&[*b, c, *i, *j]).powi(2)).sum::<f64>();
            run.x.at(index) / (1e-4 + (squares / width as f64).sqrt()) * Tensor::parameter(run, "w").at(&[*c])
        });
        let source = format!("model M(x: tokens[1, {channels}]) {{ x -> pixel_norm({groups}, eps: 0.5) }}");
        check(&source, &[2, 1, channels], &[2, 1, channels], |run, index| {
            let [b, t, c] = index else { return f64::NAN };
            let group = c / width * width;
            let squares = (group..group + width).map(|c| run.x.at(&[*b, *t, c]).powi(2)).sum::<f64>();
            run.x.at(index) / (0.5 + (squares / width as f64).sqrt())
        });
    }
}

/// A weight as it is used: rows of unit length.
fn unit_row(weight: &Tensor, row: usize, eps: f64) -> Vec<f64> {
    let size = weight.data.len() / weight.shape.first().copied().unwrap_or(1);
    let row: Vec<f64> = weight.data.iter().skip(row * size).take(size).copied().collect();
    let rms = (row.iter().map(|value| value * value).sum::<f64>() / size as f64).sqrt();
    row.into_iter().map(|value| value / (eps + rms) / (size as f64).sqrt()).collect()
}

#[test]
fn magnitude_preserving_maps() {
    for (tokens, inputs, features) in [(1, 3, 5), (4, 1, 2)] {
        let source = format!("model M(x: tokens[{tokens}, {inputs}]) {{ x -> mp_linear({features}, eps: 0.1) @m }}");
        check(&source, &[2, tokens, inputs], &[2, tokens, features], |run, index| {
            let [b, t, f] = index else { return f64::NAN };
            let row = unit_row(&Tensor::parameter(run, "m.weight"), *f, 0.1);
            row.iter().enumerate().map(|(c, weight)| weight * run.x.at(&[*b, *t, c])).sum()
        });
    }
    for (shape, features, kernel) in [([2, 3, 5, 4], 4, 3), ([1, 2, 1, 1], 3, 3), ([1, 4, 3, 2], 2, 1)] {
        let [batch, inputs, height, width] = shape;
        let source = format!("model M(x: image[{inputs}, H, W]) {{ x -> mp_conv2d({features}, kernel: {kernel}) @m }}");
        check(&source, &shape, &[batch, features, height, width], |run, index| {
            let [b, f, i, j] = index else { return f64::NAN };
            let row = unit_row(&Tensor::parameter(run, "m.weight"), *f, 1e-4);
            let mut total = 0.0;
            for (at, weight) in row.iter().enumerate() {
                let (c, tap) = (at / (kernel * kernel), at % (kernel * kernel));
                let half = kernel as i64 / 2;
                let (row, column) = ((i + tap / kernel) as i64 - half, (j + tap % kernel) as i64 - half);
                total += weight * run.x.padded(&[*b as i64, c as i64, row, column]);
            }
            total
        });
    }
}

#[test]
fn limits_and_waves() {
    check("model M(x: vector[7]) { x -> clip(-0.5, 0.7) }", &[3, 7], &[3, 7], |run, index| {
        run.x.at(index).clamp(-0.5, 0.7)
    });
    check("model M(x: vector[7]) { (x -> cos()) + (x -> sin()) }", &[1, 7], &[1, 7], |run, index| {
        run.x.at(index).cos() + run.x.at(index).sin()
    });
    // A function of a number and an operator on a tensor have one name.
    check("model M(x: vector[4]) { log(x * x + 1) * log(4) }", &[2, 4], &[2, 4], |run, index| {
        (run.x.at(index).powi(2) + 1.0).ln() * 4_f64.ln()
    });
}

/// What training overwrites the weights with: rows of unit root mean square, however often it is applied.
#[test]
fn forced_weight_normalization() {
    let graph = graph("model M(x: image[3, 4, 4]) { x -> mp_conv2d(5, kernel: 3) @m -> conv2d(2, kernel: 1) @c }");
    let module = archc_runtime::GraphModule::<Flex>::init(&graph, 1, &Default::default());
    let before: Vec<Vec<f32>> = module.published().map(|(_, data)| data).collect();
    let forced = constraint::force_weight_normalization(&graph, module);
    for ((slot, after), before) in forced.published().zip(&before) {
        if slot.path != "m.weight" {
            assert_eq!(&after, before, "{}", slot.path);
            continue;
        }
        for (after, before) in after.chunks(27).zip(before.chunks(27)) {
            let rms = (before.iter().map(|value| value * value).sum::<f32>() / 27.0).sqrt();
            for (after, before) in after.iter().zip(before) {
                assert!((after - before / (1e-4 + rms)).abs() < 1e-5, "{after}, {before}");
            }
        }
    }
}
