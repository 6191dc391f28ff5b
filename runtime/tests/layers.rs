//! Layers against plain loops, on several shapes: odd sizes, a batch of one, a single token or pixel.

#![expect(clippy::indexing_slicing, reason = "an index out of range is a failure of the test")]

mod common;

use archc_runtime::HostTensor;
use common::{check, floats, normal, run};

/// Places of a tensor with four axes, in order.
fn places(shape: [usize; 4]) -> impl Iterator<Item = [usize; 4]> {
    let [a, b, c, d] = shape;
    (0..a * b * c * d).map(move |at| [at / (b * c * d), at / (c * d) % b, at / d % c, at % d])
}

fn at(shape: [usize; 4], place: [usize; 4]) -> usize {
    place.iter().zip(shape).fold(0, |sum, (index, size)| sum * size + index)
}

/// Zeros at the top, on the left, at the bottom and on the right, with a stride.
#[derive(Clone, Copy)]
struct Window {
    kernel: [usize; 2],
    stride: usize,
    padding: [usize; 4],
}

fn conv2d(x: &[f64], shape: [usize; 4], weight: &[f64], bias: &[f64], window: Window) -> ([usize; 4], Vec<f64>) {
    let [batch, channels, height, width] = shape;
    let ([top, left, bottom, right], [kh, kw]) = (window.padding, window.kernel);
    let size = |size: usize, kernel: usize, padding: usize| (size + padding - kernel) / window.stride + 1;
    let result = [batch, bias.len(), size(height, kh, top + bottom), size(width, kw, left + right)];
    let value = |[sample, feature, row, column]: [usize; 4]| {
        let mut sum = bias[feature];
        for [_, channel, dy, dx] in places([1, channels, kh, kw]) {
            let (y, x_at) = (row * window.stride + dy, column * window.stride + dx);
            let inside = y >= top && y < top + height && x_at >= left && x_at < left + width;
            if inside {
                let pixel = x[at(shape, [sample, channel, y - top, x_at - left])];
                sum += weight[at([bias.len(), channels, kh, kw], [feature, channel, dy, dx])] * pixel;
            }
        }
        sum
    };
    (result, places(result).map(value).collect())
}

#[test]
fn convolutions_are_sums_over_windows() {
    let cases = [
        ([1, 1, 1, 1], 1, "kernel: 3", Window { kernel: [3, 3], stride: 1, padding: [1; 4] }),
        ([2, 3, 5, 7], 4, "kernel: 3", Window { kernel: [3, 3], stride: 1, padding: [1; 4] }),
        ([1, 2, 7, 9], 3, "kernel: 3, stride: 2", Window { kernel: [3, 3], stride: 2, padding: [1; 4] }),
        (
            [2, 2, 6, 8],
            3,
            "kernel: 3, stride: 2, padding: [0, 0, 1, 1]",
            Window { kernel: [3, 3], stride: 2, padding: [0, 0, 1, 1] },
        ),
        ([3, 4, 4, 6], 5, "kernel: 2, stride: 2, padding: 0", Window { kernel: [2, 2], stride: 2, padding: [0; 4] }),
        ([1, 3, 5, 4], 2, "kernel: [1, 3]", Window { kernel: [1, 3], stride: 1, padding: [0, 1, 0, 1] }),
        ([2, 5, 3, 3], 7, "kernel: 1", Window { kernel: [1, 1], stride: 1, padding: [0; 4] }),
    ];
    for (shape, features, attributes, window) in cases {
        let [_, channels, height, width] = shape;
        let model =
            format!("model A(x: image[{channels}, {height}, {width}]) {{ x -> conv2d({features}, {attributes}) @c }}");
        let [kh, kw] = window.kernel;
        let x = normal("x", &shape);
        let (weight, bias) = (normal("w", &[features, channels, kh, kw]), normal("b", &[features]));
        let (expected_shape, expected) = conv2d(&floats(&x), shape, &floats(&weight), &floats(&bias), window);
        let found = run(&model, vec![x], &[("c.weight", weight), ("c.bias", bias)]);
        check(attributes, &found, &expected_shape, &expected);
    }
}

#[test]
fn linear_maps_act_on_each_token() {
    for [batch, tokens, inputs, features] in [[1, 1, 1, 1], [2, 3, 5, 4], [3, 1, 7, 2]] {
        let x = normal("x", &[batch, tokens, inputs]);
        let (weight, bias) = (normal("w", &[features, inputs]), normal("b", &[features]));
        let [data, w, b] = [&x, &weight, &bias].map(floats);
        let row = |token: usize, feature: usize| {
            let products = (0..inputs).map(|input| data[token * inputs + input] * w[feature * inputs + input]);
            b[feature] + products.sum::<f64>()
        };
        let expected: Vec<f64> = (0..batch * tokens)
            .flat_map(|token| (0..features).map(move |f| (token, f)))
            .map(|(t, f)| row(t, f))
            .collect();
        let model = format!("model A(x: tokens[N, {inputs}]) {{ x -> linear({features}) @l }}");
        let found = run(&model, vec![x], &[("l.weight", weight), ("l.bias", bias)]);
        check("linear", &found, &[batch, tokens, features], &expected);
    }
}

/// `(x - mean) / sqrt(var + eps)` of some elements.
fn normalized(values: &[f64], eps: f64) -> Vec<f64> {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
    values.iter().map(|x| (x - mean) / (variance + eps).sqrt()).collect()
}

#[test]
fn norms_take_their_statistics_over_groups_and_tokens() {
    for ([batch, channels, height, width], groups) in [([1, 2, 1, 1], 1), ([2, 6, 3, 5], 3), ([3, 4, 1, 7], 2)] {
        let x = normal("x", &[batch, channels, height, width]);
        let (weight, bias) = (normal("w", &[channels]), normal("b", &[channels]));
        let [data, w, b] = [&x, &weight, &bias].map(floats);
        let group = channels / groups * height * width;
        let expected: Vec<f64> = data
            .chunks(group)
            .flat_map(|values| normalized(values, 1e-3))
            .enumerate()
            .map(|(index, value)| {
                let channel = index / (height * width) % channels;
                value * w[channel] + b[channel]
            })
            .collect();
        let model =
            format!("model A(x: image[{channels}, {height}, {width}]) {{ x -> group_norm({groups}, eps: 1e-3) @n }}");
        let found = run(&model, vec![x], &[("n.weight", weight), ("n.bias", bias)]);
        check("group_norm", &found, &[batch, channels, height, width], &expected);
    }
    for [batch, tokens, channels] in [[1, 1, 2], [2, 5, 7]] {
        let x = normal("x", &[batch, tokens, channels]);
        let expected: Vec<f64> = floats(&x).chunks(channels).flat_map(|values| normalized(values, 1e-6)).collect();
        let model = format!("model A(x: tokens[N, {channels}]) {{ x -> layer_norm(affine: false, eps: 1e-6) }}");
        check("layer_norm", &run(&model, vec![x], &[]), &[batch, tokens, channels], &expected);
    }
}

#[test]
fn softmax_sums_to_one_over_its_axis() {
    for [batch, tokens, channels] in [[1, 1, 3], [2, 5, 4], [3, 7, 1]] {
        let x = normal("x", &[batch, tokens, channels]);
        let data = floats(&x);
        let place = |sample: usize, token: usize, channel: usize| (sample * tokens + token) * channels + channel;
        for over in ["channels", "positions"] {
            let expected: Vec<f64> = (0..data.len())
                .map(|index| {
                    let (sample, token, channel) =
                        (index / (tokens * channels), index / channels % tokens, index % channels);
                    let total: f64 = match over {
                        "channels" => (0..channels).map(|other| data[place(sample, token, other)].exp()).sum(),
                        _ => (0..tokens).map(|other| data[place(sample, other, channel)].exp()).sum(),
                    };
                    data[index].exp() / total
                })
                .collect();
            // Over a single channel the rule on gates has something to say, and the model still runs.
            let model = format!("model A(x: tokens[N, {channels}]) {{ x -> softmax(over: {over:?}) }}");
            check(over, &run(&model, vec![x.clone()], &[]), &[batch, tokens, channels], &expected);
        }
    }
}

#[test]
fn pixels_are_repeated_and_patches_are_put_back() {
    for [batch, channels, height, width] in [[1, 1, 1, 1], [2, 3, 3, 5]] {
        let shape = [batch, channels, height, width];
        let x = normal("x", &shape);
        let data = floats(&x);
        let tall = [batch, channels, 2 * height, 2 * width];
        let expected: Vec<f64> = places(tall).map(|[a, b, c, d]| data[at(shape, [a, b, c / 2, d / 2])]).collect();
        let header = format!("x: image[{channels}, {height}, {width}]");
        check(
            "upsample",
            &run(&format!("model A({header}) {{ x -> upsample(2) }}"), vec![x.clone()], &[]),
            &tall,
            &expected,
        );

        let tokens: Vec<f64> =
            places([batch, height, width, channels]).map(|[a, c, d, b]| data[at(shape, [a, b, c, d])]).collect();
        let found = run(&format!("model A({header}) {{ x -> to_tokens() }}"), vec![x.clone()], &[]);
        check("to_tokens", &found, &[batch, height * width, channels], &tokens);
        let back =
            run(&format!("model A({header}) {{ x -> to_tokens() -> to_image({height}, {width}) }}"), vec![x], &[]);
        check("to_image", &back, &shape, &data);
    }
    // Within a token: row in patch, column in patch, channel.
    let (batch, rows, columns, patch, channels) = (2, 3, 2, 2, 3);
    let x = normal("p", &[batch, rows * columns, patch * patch * channels]);
    let data = floats(&x);
    let image = [batch, channels, rows * patch, columns * patch];
    let expected: Vec<f64> = places(image)
        .map(|[sample, channel, y, x_at]| {
            let token = (y / patch) * columns + x_at / patch;
            let inside = ((y % patch) * patch + x_at % patch) * channels + channel;
            data[(sample * rows * columns + token) * patch * patch * channels + inside]
        })
        .collect();
    let model = format!(
        "model A(x: tokens[{}, {}]) {{ x -> unpatchify({patch}, {channels}, height: {rows}, width: {columns}) }}",
        rows * columns,
        patch * patch * channels
    );
    check("unpatchify", &run(&model, vec![x], &[]), &image, &expected);
}

#[test]
fn vectors_stretch_over_positions_and_parts_are_cut_out() {
    for [batch, channels, height, width] in [[1, 2, 1, 1], [2, 4, 3, 5]] {
        let shape = [batch, channels, height, width];
        let (x, c) = (normal("x", &shape), normal("c", &[batch, channels]));
        let [data, vector] = [&x, &c].map(floats);
        let model =
            format!("model A(x: image[{channels}, {height}, {width}], c: vector[{channels}]) {{ 2 * x * c + c - 1 }}");
        let expected: Vec<f64> = places(shape)
            .map(|[a, b, y, z]| {
                let own = vector[a * channels + b];
                2.0 * data[at(shape, [a, b, y, z])] * own + own - 1.0
            })
            .collect();
        check("broadcast", &run(&model, vec![x.clone(), c], &[]), &shape, &expected);

        // The second half of the channels in front of the first.
        let half = channels / 2;
        let model = format!(
            "model A(x: image[{channels}, {height}, {width}]) {{ concat(x -> slice({half}, {half}), x -> slice(0, {half})) }}"
        );
        let swapped: Vec<f64> =
            places(shape).map(|[a, b, y, z]| data[at(shape, [a, (b + half) % channels, y, z])]).collect();
        check("slice and concat", &run(&model, vec![x], &[]), &shape, &swapped);
    }
}

#[test]
fn activations_are_their_formulas() {
    let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
    // Abramowitz & Stegun 7.1.5 to convergence.
    let erf = |x: f64| {
        let (mut sum, mut term) = (x, x);
        for n in 1..60 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    };
    let functions: [(&str, &dyn Fn(f64) -> f64); 6] = [
        ("silu", &|x| x * logistic(x)),
        ("sigmoid", &logistic),
        ("relu", &|x| x.max(0.0)),
        ("tanh", &f64::tanh),
        ("gelu", &|x| 0.5 * x * (1.0 + erf(x / 2.0_f64.sqrt()))),
        ("gelu_tanh", &|x| {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x)).tanh())
        }),
    ];
    for shape in [[1, 1, 1], [2, 3, 7]] {
        let x: HostTensor = normal("x", &shape);
        for (name, function) in functions {
            let expected: Vec<f64> = floats(&x).into_iter().map(function).collect();
            let model = format!("model A(x: tokens[N, {}]) {{ x -> {name}() }}", shape[2]);
            check(name, &run(&model, vec![x.clone()], &[]), &shape, &expected);
        }
    }
}
