//! Operators on videos and frames, reductions and bounds, against plain loops: values on several shapes, and gradients by
//! differences.

#![expect(clippy::indexing_slicing, reason = "a test that reaches beyond its data fails there")]

use archc_compiler::{Options, compile};
use archc_runtime::{Device, HostTensor, Request, Response, Session, Weights, open};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A model whose body is the given code.
fn session(header: &str, body: &str) -> Box<dyn Session> {
    let source = format!("model Test({header}) {{ {body} }}");
    let compiled = compile("test.arch", None, &[], &[("test.arch", source.as_str())], &Options::default());
    let compiled = compiled.expect("a model");
    assert_eq!(compiled.diagnostics, [], "{source}");
    open(&Arc::new(compiled.graph.expect("a graph")), Device::Cpu, Weights::Seed(3)).expect("a session")
}

/// Numbers without a pattern that an error could keep.
fn wave(shape: &[usize], offset: f32) -> HostTensor {
    let count = shape.iter().product();
    HostTensor::f32(shape.to_vec(), (0..count).map(|at| (at as f32 * 0.731 + offset).sin() * 1.7).collect())
}

fn run(session: &dyn Session, inputs: Vec<HostTensor>) -> Response {
    session.run(&Request { inputs, gradients: true, keep: vec![] }).expect("a run")
}

fn output(session: &dyn Session, inputs: Vec<HostTensor>) -> HostTensor {
    run(session, inputs).outputs.remove(0)
}

#[track_caller]
fn assert_close(found: &HostTensor, shape: &[usize], expected: &[f32]) {
    assert_eq!(found.shape, shape);
    let largest = expected.iter().fold(1e-6_f32, |most, value| most.max(value.abs()));
    for (at, (found, expected)) in found.to_f32().iter().zip(expected).enumerate() {
        assert!((found - expected).abs() < 1e-5 * largest, "element {at}: {found} instead of {expected}");
    }
}

/// Gradients of all inputs against differences of the loss, in a few places.
#[track_caller]
fn assert_gradients(session: &dyn Session, inputs: &[HostTensor]) {
    const STEP: f32 = 1e-2;
    let response = run(session, inputs.to_vec());
    for (index, gradient) in &response.input_gradients {
        let gradient = gradient.to_f32();
        let largest = gradient.iter().fold(1e-4_f32, |most, value| most.max(value.abs()));
        for place in (0..gradient.len()).step_by(gradient.len() / 5 + 1) {
            let moved = |by: f32| {
                let mut inputs = inputs.to_vec();
                let mut data = inputs[*index].to_f32();
                data[place] += by;
                inputs[*index] = HostTensor::f32(inputs[*index].shape.clone(), data);
                run(session, inputs).loss.expect("a loss")
            };
            let slope = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            let off = (slope - gradient[place]).abs();
            assert!(off < 2e-2 * largest, "input {index}, element {place}: {} instead of {slope}", gradient[place]);
        }
    }
}

/// Place of an element of a video `[batch, frames, channels, height, width]`.
fn place(shape: &[usize], at: [usize; 5]) -> usize {
    at.iter().zip(shape).fold(0, |place, (index, size)| place * size + index)
}

/// Kernel, stride, and zeros before and behind, each for frames, height and width.
type Windows = ([usize; 3], [usize; 3], [usize; 3], [usize; 3]);

/// A convolution by its definition.
fn conv3d(x: &HostTensor, weight: &HostTensor, bias: &[f32], windows: Windows) -> (Vec<usize>, Vec<f32>) {
    let (kernel, stride, before, behind) = windows;
    let [batch, frames, channels, height, width] = x.shape[..] else { return (vec![], vec![]) };
    let size = [frames, height, width];
    let result = |axis: usize| (size[axis] + before[axis] + behind[axis] - kernel[axis]) / stride[axis] + 1;
    let shape = vec![batch, result(0), weight.shape[0], result(1), result(2)];
    let (data, weights) = (x.to_f32(), weight.to_f32());
    let mut y = vec![0.0; shape.iter().product()];
    for (index, slot) in y.iter_mut().enumerate() {
        let mut rest = index;
        let mut at = [0; 5];
        for axis in (0..5).rev() {
            at[axis] = rest % shape[axis];
            rest /= shape[axis];
        }
        let [sample, t, out, row, column] = at;
        *slot = bias[out];
        for channel in 0..channels {
            for tap in 0..kernel.iter().product() {
                let taps = [tap / (kernel[1] * kernel[2]), tap / kernel[2] % kernel[1], tap % kernel[2]];
                let from = [t, row, column];
                let source: Vec<Option<usize>> = (0..3)
                    .map(|axis| (from[axis] * stride[axis] + taps[axis]).checked_sub(before[axis]))
                    .zip(size)
                    .map(|(at, size)| at.filter(|at| *at < size))
                    .collect();
                if let [Some(t), Some(row), Some(column)] = source[..] {
                    let volume: usize = kernel.iter().product();
                    let weight = weights[(out * channels + channel) * volume + tap];
                    *slot += weight * data[place(&x.shape, [sample, t, channel, row, column])];
                }
            }
        }
    }
    (shape, y)
}

#[test]
fn conv3d_is_the_sum_over_its_windows() {
    let cases: [([usize; 5], &str, Windows); 6] = [
        ([2, 3, 2, 4, 5], "kernel: 3", ([3; 3], [1; 3], [1; 3], [1; 3])),
        ([1, 1, 3, 2, 2], "kernel: [3, 1, 1]", ([3, 1, 1], [1; 3], [1, 0, 0], [1, 0, 0])),
        ([2, 5, 1, 3, 3], "kernel: [3, 1, 1], padding: [2, 0, 0, 0, 0, 0]", ([3, 1, 1], [1; 3], [2, 0, 0], [0; 3])),
        (
            [1, 4, 2, 5, 7],
            "kernel: [2, 3, 3], stride: [2, 2, 3], padding: [0, 1, 1]",
            ([2, 3, 3], [2, 2, 3], [0, 1, 1], [0, 1, 1]),
        ),
        ([1, 3, 2, 1, 1], "kernel: 1", ([1; 3], [1; 3], [0; 3], [0; 3])),
        ([1, 2, 1, 4, 3], "kernel: [1, 3, 2], padding: [0, 0, 1, 1, 2, 0]", ([1, 3, 2], [1; 3], [0, 0, 1], [1, 2, 0])),
    ];
    for (shape, attributes, windows) in cases {
        let [_, frames, channels, height, width] = shape;
        let header = format!("x: video[{frames}, {channels}, {height}, {width}]");
        let session = session(&header, &format!("x -> conv3d(3, {attributes}) @conv"));
        let parameters: BTreeMap<String, HostTensor> = session.parameters().into_iter().collect();
        let x = wave(&shape, 0.3);
        let bias = parameters["conv.bias"].to_f32();
        let (expected_shape, expected) = conv3d(&x, &parameters["conv.weight"], &bias, windows);
        assert_close(&output(&*session, vec![x.clone()]), &expected_shape, &expected);
        assert_gradients(&*session, &[x]);
    }
}

#[test]
fn frames_and_videos_are_the_same_numbers() {
    for shape in [[2, 3, 2, 4, 5], [1, 1, 1, 1, 1], [3, 2, 4, 1, 7]] {
        let [_, frames, channels, height, width] = shape;
        let header = format!("x: video[{frames}, {channels}, {height}, {width}]");
        let x = wave(&shape, 1.1);
        let there_and_back = session(&header, "x -> to_frames() -> to_video()");
        assert_close(&output(&*there_and_back, vec![x.clone()]), &shape, &x.to_f32());
        let twice = format!(
            "x -> to_frames() -> to_tokens() -> transpose_tokens() -> transpose_tokens() -> to_image({height}, {width}) -> to_video()"
        );
        assert_close(&output(&*session(&header, &twice), vec![x.clone()]), &shape, &x.to_f32());
    }
}

/// Frames are normalised each by itself as images, and together as a video.
#[test]
fn frames_are_separate_and_videos_are_not() {
    let header = "x: video[3, 2, 2, 2]";
    let x = wave(&[2, 3, 2, 2, 2], 0.9);
    let normalized = |group: usize| {
        let data = x.to_f32();
        let mut y = vec![];
        for values in data.chunks(group) {
            let mean = values.iter().sum::<f32>() / group as f32;
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / group as f32;
            y.extend(values.iter().map(|value| (value - mean) / (variance + 1e-5).sqrt()));
        }
        y
    };
    let frames = session(header, "x -> to_frames() -> group_norm(1, affine: false) -> to_video()");
    assert_close(&output(&*frames, vec![x.clone()]), &x.shape, &normalized(8));
    let video = session(header, "x -> group_norm(1, affine: false)");
    assert_close(&output(&*video, vec![x.clone()]), &x.shape, &normalized(24));
}

/// Attention along time at each place, by its definition; and what is the same for all frames reaches every one.
#[test]
fn transposed_tokens_are_sequences_over_time() {
    let (batch, frames, channels, places) = (2, 3, 4, 6);
    let x = wave(&[batch, frames, channels, 2, 3], 0.2);
    let body = "let h = x -> to_frames() -> to_tokens() -> transpose_tokens()
        attention(h, h, h, heads: 1) -> transpose_tokens() -> to_image(2, 3) -> to_video()";
    let session = session("x: video[3, 4, 2, 3]", body);
    let data = x.to_f32();
    let at = |sample: usize, frame: usize, channel: usize, place: usize| {
        data[((sample * frames + frame) * channels + channel) * places + place]
    };
    let mut expected = vec![0.0; data.len()];
    for sample in 0..batch {
        for place in 0..places {
            for query in 0..frames {
                let score = |key: usize| {
                    let products = (0..channels).map(|c| at(sample, query, c, place) * at(sample, key, c, place));
                    products.sum::<f32>() / (channels as f32).sqrt()
                };
                let weights: Vec<f32> = (0..frames).map(|key| score(key).exp()).collect();
                let total: f32 = weights.iter().sum();
                for channel in 0..channels {
                    let mixed = (0..frames).map(|key| weights[key] / total * at(sample, key, channel, place));
                    expected[((sample * frames + query) * channels + channel) * places + place] = mixed.sum();
                }
            }
        }
    }
    assert_close(&output(&*session, vec![x.clone()]), &x.shape, &expected);
    assert_gradients(&*session, &[x]);
}

#[test]
fn what_is_the_same_for_all_frames_meets_each_of_them() {
    for (batch, frames) in [(2, 3), (1, 4), (3, 1)] {
        let (x, c) = (wave(&[batch, frames, 4, 2, 1], 0.4), wave(&[batch, 4], 2.0));
        let text = wave(&[batch, 5, 4], 1.3);
        let header = format!("x: video[{frames}, 4, 2, 1], c: vector[4]");
        // Folded into the batch and as a video, with a condition; then a table, a concatenation and attention to a text.
        let folded = session(&header, "let h = (x -> to_frames()) * c + c; h -> to_video()");
        let whole = session(&header, "x * c + c");
        let expected = output(&*whole, vec![x.clone(), c.clone()]);
        assert_close(&output(&*folded, vec![x.clone(), c]), &expected.shape, &expected.to_f32());
        let inputs = vec![x, text];
        let attended = session(
            &format!("x: video[{frames}, 4, 2, 1], text: tokens[5, 4]"),
            "let h = x -> to_frames() -> to_tokens()
             let joined = concat(h, text, along: tokens) + parameter(tokens[7, 4], init: one) @table
             attention(h, joined, joined, heads: 1) -> to_image(2, 1) -> to_video()",
        );
        assert_gradients(&*attended, &inputs);
        // Every frame by itself gives the same.
        let single = session(
            "x: image[4, 2, 1], text: tokens[5, 4]",
            "let h = x -> to_tokens()
             let joined = concat(h, text, along: tokens) + parameter(tokens[7, 4], init: one) @table
             attention(h, joined, joined, heads: 1) -> to_image(2, 1)",
        );
        let all = output(&*attended, inputs.clone()).to_f32();
        for frame in 0..frames {
            let part = |data: &[f32]| -> Vec<f32> {
                let starts = (0..batch).map(|sample| (sample * frames + frame) * 8);
                starts.flat_map(|start| data[start..start + 8].to_vec()).collect()
            };
            let image = HostTensor::f32(vec![batch, 4, 2, 1], part(&inputs[0].to_f32()));
            let found = output(&*single, vec![image, inputs[1].clone()]);
            assert_close(&found, &[batch, 4, 2, 1], &part(&all));
        }
    }
}

#[test]
fn indices_count_and_numbers_become_features() {
    let x = wave(&[2, 5, 1], 0.0);
    let session_of = |count: usize| session(&format!("x: tokens[{count}, 1]"), &format!("x + indices({count})"));
    let expected: Vec<f32> = x.to_f32().iter().enumerate().map(|(at, x)| x + (at % 5) as f32).collect();
    assert_close(&output(&*session_of(5), vec![x]), &[2, 5, 1], &expected);
    assert_close(&output(&*session_of(1), vec![wave(&[1, 1, 1], 0.5)]), &[1, 1, 1], &wave(&[1, 1, 1], 0.5).to_f32());

    // Two frequencies, 1 and 1/100; cosines first.
    let features = |value: f32| [value.cos(), (value / 100.0).cos(), value.sin(), (value / 100.0).sin()];
    let (vector, tokens) = (wave(&[2, 3], 0.7), wave(&[2, 3, 1], 0.7));
    let expected: Vec<f32> = vector.to_f32().into_iter().flat_map(features).collect();
    let of_vector = session("x: vector[3]", "x -> sinusoid(4)");
    assert_close(&output(&*of_vector, vec![vector.clone()]), &[2, 3, 4], &expected);
    let of_tokens = session("x: tokens[3, 1]", "x -> sinusoid(4)");
    assert_close(&output(&*of_tokens, vec![tokens]), &[2, 3, 4], &expected);
    let flat = session("x: vector[3]", "x -> sinusoid(4) -> to_vector()");
    assert_close(&output(&*flat, vec![vector.clone()]), &[2, 12], &expected);
    assert_gradients(&*flat, &[vector]);
}

#[test]
fn reductions_are_sums_and_means() {
    type Reduced = (&'static str, Vec<usize>, fn([usize; 4], [usize; 4]) -> bool);
    let reductions: [Reduced; 3] = [
        ("all", vec![2], |a, b| a[0] == b[0]),
        ("positions", vec![2, 3], |a, b| a[..2] == b[..2]),
        ("channels", vec![2, 1, 4, 5], |a, b| a[0] == b[0] && a[2..] == b[2..]),
    ];
    let x = wave(&[2, 3, 4, 5], 0.1);
    let data = x.to_f32();
    let index = |at: usize| [at / 60, at / 20 % 3, at / 5 % 4, at % 5];
    for (over, shape, together) in reductions {
        for by in ["sum", "mean"] {
            let session = session("x: image[3, 4, 5]", &format!("x -> reduce({by}, over: {over})"));
            let mut expected: Vec<f32> = vec![];
            let mut seen: Vec<[usize; 4]> = vec![];
            for at in 0..data.len() {
                if seen.iter().any(|own| together(*own, index(at))) {
                    continue;
                }
                seen.push(index(at));
                let same: Vec<f32> =
                    (0..data.len()).filter(|other| together(index(*other), index(at))).map(|at| data[at]).collect();
                let sum: f32 = same.iter().sum();
                expected.push(if by == "sum" { sum } else { sum / same.len() as f32 });
            }
            assert_close(&output(&*session, vec![x.clone()]), &shape, &expected);
            assert_gradients(&*session, std::slice::from_ref(&x));
        }
    }
    let tokens = session("x: tokens[1, 2]", "x -> reduce(mean, over: positions)");
    assert_close(&output(&*tokens, vec![wave(&[1, 1, 2], 0.6)]), &[1, 2], &wave(&[1, 2], 0.6).to_f32());
    let video = session("x: video[2, 2, 1, 3]", "x -> reduce(sum, over: channels)");
    let y = wave(&[1, 2, 2, 1, 3], 0.8);
    let sums: Vec<f32> =
        y.to_f32().chunks(6).flat_map(|c| (0..3).map(|p| c[p] + c[p + 3]).collect::<Vec<_>>()).collect();
    assert_close(&output(&*video, vec![y]), &[1, 2, 1, 1, 3], &sums);
}

#[test]
fn bounds_and_exponentials_act_on_elements() {
    let x = wave(&[2, 7], 0.5);
    let clipped: Vec<f32> = x.to_f32().iter().map(|x| x.clamp(-0.5, 1.25)).collect();
    let clip = session("x: vector[7]", "x -> clip(-0.5, 1.25)");
    assert_close(&output(&*clip, vec![x.clone()]), &[2, 7], &clipped);
    // Beyond the bounds the gradient is zero, between them that of the mean square.
    let gradient = run(&*clip, vec![x.clone()]).input_gradients.remove(0).1.to_f32();
    for ((x, y), gradient) in x.to_f32().iter().zip(&clipped).zip(gradient) {
        let expected = if x == y { 2.0 * x / 14.0 } else { 0.0 };
        assert!((gradient - expected).abs() < 1e-6, "{gradient} instead of {expected} at {x}");
    }
    let raised: Vec<f32> = x.to_f32().iter().map(|x| (0.5 * x).exp()).collect();
    for body in ["exp(0.5 * x)", "0.5 * x -> exp()", "x -> { h => exp(exp(0) * h / 2) }"] {
        let exp = session("x: vector[7]", body);
        let found = output(&*exp, vec![x.clone()]);
        if body.starts_with("0.5") {
            let inner: Vec<f32> = x.to_f32().iter().map(|x| 0.5 * x.exp()).collect();
            assert_close(&found, &[2, 7], &inner);
        } else {
            assert_close(&found, &[2, 7], &raised);
        }
        assert_gradients(&*exp, std::slice::from_ref(&x));
    }
}
