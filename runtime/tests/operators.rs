//! Operators against plain loops, on several shapes: odd sizes, a batch of one, a single token.

#![expect(clippy::indexing_slicing, reason = "an index out of range is a failure of the test")]

mod common;

use archc_compiler::{Options, compile};
use archc_runtime::{Device, HostTensor, Request, Weights, open};
use common::{check, floats, normal, run};
use std::sync::Arc;

/// Attention in each head by itself; `bias` for each head, query and key of each sample, `causal` hides later keys.
fn attention(q: &[f64], k: &[f64], v: &[f64], bias: &[f64], causal: bool, sizes: [usize; 5]) -> Vec<f64> {
    let [batch, queries, keys, heads, width] = sizes;
    let channels = heads * width;
    let mut out = vec![0.0; batch * queries * channels];
    for (sample, query, head) in triples(batch, queries, heads) {
        let at = |tokens: usize, token: usize| (sample * tokens + token) * channels + head * width;
        let row = &q[at(queries, query)..][..width];
        let scores: Vec<f64> = (0..keys)
            .map(|key| {
                let product: f64 = row.iter().zip(&k[at(keys, key)..][..width]).map(|(q, k)| q * k).sum();
                let hidden = causal && key > query;
                let bias = bias[((sample * heads + head) * queries + query) * keys + key];
                if hidden { f64::NEG_INFINITY } else { product / (width as f64).sqrt() + bias }
            })
            .collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
        for (key, score) in scores.iter().enumerate() {
            let weight = (score - largest).exp() / total;
            for channel in 0..width {
                out[at(queries, query) + channel] += weight * v[at(keys, key) + channel];
            }
        }
    }
    out
}

fn triples(a: usize, b: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |x| (0..b).flat_map(move |y| (0..c).map(move |z| (x, y, z))))
}

#[test]
fn attention_is_causal_and_biased() {
    for [batch, queries, keys, heads, width] in [[1, 1, 1, 1, 3], [2, 5, 7, 3, 5], [1, 6, 1, 2, 4], [3, 1, 4, 1, 8]] {
        let channels = heads * width;
        let shapes = [[batch, queries, channels], [batch, keys, channels], [batch, keys, channels]];
        let inputs: Vec<HostTensor> = ["q", "k", "v"].iter().zip(shapes).map(|(name, s)| normal(name, &s)).collect();
        let [q, k, v] = [0, 1, 2].map(|at| floats(&inputs[at]));
        let sizes = [batch, queries, keys, heads, width];
        let head = format!("q: tokens[N, {channels}], k: tokens[M, {channels}], v: tokens[M, {channels}]");

        let plain = format!("model A({head}) {{ attention(q, k, v, {heads}) }}");
        let zero = vec![0.0; batch * heads * queries * keys];
        let expected = attention(&q, &k, &v, &zero, false, sizes);
        check("plain", &run(&plain, inputs.clone(), &[]), &[batch, queries, channels], &expected);

        let biased = format!("model A({head}, b: mask[M]) {{ attention(q, k, v, bias: b, heads: {heads}) }}");
        let bias = normal("bias", &[batch, keys]);
        // The same in all heads and for all queries.
        let all = floats(&bias).chunks(keys).flat_map(|row| row.repeat(heads * queries)).collect::<Vec<f64>>();
        let expected = attention(&q, &k, &v, &all, false, sizes);
        let given: Vec<HostTensor> = inputs.iter().cloned().chain([bias]).collect();
        check("biased", &run(&biased, given, &[]), &[batch, queries, channels], &expected);

        let paired =
            format!("model A({head}, b: image[{heads}, N, M]) {{ attention(q, k, v, bias: b, heads: {heads}) }}");
        let bias = normal("pairs", &[batch, heads, queries, keys]);
        let expected = attention(&q, &k, &v, &floats(&bias), false, sizes);
        let given: Vec<HostTensor> = inputs.into_iter().chain([bias]).collect();
        check("paired", &run(&paired, given, &[]), &[batch, queries, channels], &expected);

        let own: Vec<HostTensor> =
            ["a", "b", "c"].iter().map(|name| normal(name, &[batch, queries, channels])).collect();
        let [a, b, c] = [0, 1, 2].map(|at| floats(&own[at]));
        let head = head.replace("[M,", "[N,");
        let causal = format!("model A({head}) {{ attention(q, k, v, heads: {heads}, causal: true) }}");
        let expected = attention(
            &a,
            &b,
            &c,
            &vec![0.0; batch * heads * queries * queries],
            true,
            [batch, queries, queries, heads, width],
        );
        check("causal", &run(&causal, own, &[]), &[batch, queries, channels], &expected);
    }
}

#[test]
fn distances_between_tokens_have_a_number_each() {
    // Buckets 0 and 1 for keys at and before the query, 2 and 3 for those behind it; the last of each from 2 on.
    let source = "model A(x: tokens[N, 3]) -> tokens[N * N, 1] {
        let bias = relative_buckets(N, buckets: 4, max_distance: 2) -> embedding(1) @bias
        bias + 0 * (x -> linear(1) @map -> slice(0, 1, along: tokens))
    }";
    for count in [1, 3, 4] {
        let class = |query: usize, key: usize| match key as i64 - query as i64 {
            0 => 0,
            ..0 => 1,
            1.. => 3,
        };
        let expected: Vec<f64> =
            (0..2 * count * count).map(|at| class(at / count % count, at % count) as f64 + 0.5).collect();
        let table = HostTensor::f32(vec![4, 1], vec![0.5, 1.5, 2.5, 3.5]);
        let weights = [("bias.weight", table), ("map.weight", normal("w", &[1, 3])), ("map.bias", normal("b", &[1]))];
        let found = run(source, vec![normal("x", &[2, count, 3])], &weights);
        check("relative_buckets", &found, &[2, count * count, 1], &expected);
    }
}

#[test]
fn a_constant_bias_changes_nothing_and_a_mask_hides_its_keys() {
    let head = "q: tokens[N, 6], k: tokens[M, 6], keep: mask[M]";
    let model = format!("model A({head}) {{ attention(q, k, k, bias: (1 - keep) * -10000, heads: 2) }}");
    let (q, k) = (normal("q", &[2, 3, 6]), normal("k", &[2, 5, 6]));
    let keep = HostTensor::f32(vec![2, 5], vec![1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0]);
    let masked = run(&model, vec![q.clone(), k.clone(), keep], &[]);
    // Keys 0, 1 and 3 alone.
    let kept: Vec<f32> = k
        .to_f32()
        .chunks(6)
        .enumerate()
        .filter(|(row, _)| [0, 1, 3].contains(&(row % 5)))
        .flat_map(|(_, row)| row.to_vec())
        .collect();
    let kept = HostTensor::f32(vec![2, 3, 6], kept);
    let alone = run(&model, vec![q.clone(), kept, HostTensor::f32(vec![2, 3], vec![1.0; 6])], &[]);
    check("masked", &masked, &[2, 3, 6], &floats(&alone));
    // Nothing kept is everything kept: softmax ignores what all scores have in common.
    let none = run(&model, vec![q.clone(), k.clone(), HostTensor::f32(vec![2, 5], vec![0.0; 10])], &[]);
    let all = run(&model, vec![q, k, HostTensor::f32(vec![2, 5], vec![1.0; 10])], &[]);
    let largest = floats(&all).into_iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    // Scores near -10000 keep three digits behind the point in f32.
    let off = floats(&none).iter().zip(floats(&all)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(off < 1e-2 * largest, "differs by {off}");
}

#[test]
fn rms_norm_brings_each_head_to_unit_mean_square() {
    for [batch, tokens, heads, width] in [[1, 1, 1, 1], [2, 3, 1, 5], [1, 4, 3, 7], [3, 1, 2, 4]] {
        let channels = heads * width;
        let eps = 0.01;
        let source = format!("model A(x: tokens[N, {channels}]) {{ x -> rms_norm(eps: {eps}, heads: {heads}) @n }}");
        let (x, weight) = (normal("x", &[batch, tokens, channels]), normal("w", &[width]));
        let (values, scale) = (floats(&x), floats(&weight));
        let expected: Vec<f64> = values
            .chunks(width)
            .flat_map(|part| {
                let square = part.iter().map(|x| x * x).sum::<f64>() / width as f64;
                part.iter().zip(&scale).map(move |(x, w)| x / (square + eps).sqrt() * w).collect::<Vec<_>>()
            })
            .collect();
        let found = run(&source, vec![x], &[("n.weight", weight)]);
        check("rms_norm", &found, &[batch, tokens, channels], &expected);
    }
    let bare = run("model A(x: vector[4]) { x -> rms_norm(affine: false) }", vec![normal("v", &[2, 4])], &[]);
    for row in floats(&bare).chunks(4) {
        assert!((row.iter().map(|x| x * x).sum::<f64>() / 4.0 - 1.0).abs() < 1e-4);
    }
}

#[test]
fn parts_of_open_size_and_of_groups() {
    for [batch, first, second] in [[1, 1, 1], [2, 3, 5], [3, 7, 1]] {
        let inputs = vec![normal("a", &[batch, first, 4]), normal("b", &[batch, second, 4])];
        let expected = floats(&inputs[1]);
        let source =
            "model A(a: tokens[N, 4], b: tokens[M, 4]) { concat(a, b, along: tokens) -> slice(N, M, along: tokens) }";
        check("tokens", &run(source, inputs, &[]), &[batch, second, 4], &expected);
    }
    // Two groups of three parts of two channels: the second part of each.
    let x = normal("x", &[2, 3, 12]);
    let expected: Vec<f64> = floats(&x).chunks(12).flat_map(|row| [row[2], row[3], row[8], row[9]]).collect();
    let source = "model A(x: tokens[N, 12]) { let [a, b, c] = x -> chunk(3, groups: 2)
        b }";
    check("groups of tokens", &run(source, vec![x], &[]), &[2, 3, 4], &expected);
    // The same of an image, whose channels come first; a group for each channel alternates them.
    let x = normal("y", &[1, 4, 1, 3]);
    let values = floats(&x);
    let expected: Vec<f64> = [&values[0..3], &values[6..9]].concat();
    let source = "model A(x: image[4, 1, 3]) { let [a, b] = x -> chunk(2, groups: 2)
        a }";
    check("groups of an image", &run(source, vec![x], &[]), &[1, 2, 1, 3], &expected);
}

#[test]
fn the_middle_of_a_grid() {
    for [side, height, width] in [[1, 1, 1], [5, 3, 2], [6, 1, 6], [4, 4, 4]] {
        let x = normal("x", &[2, side * side, 3]);
        let source = format!("model A(x: tokens[{}, 3], y: image[1, H, W]) {{ x -> crop_grid(H, W) }}", side * side);
        let (top, left) = ((side - height) / 2, (side - width) / 2);
        let values = floats(&x);
        let mut expected = vec![];
        for (sample, row, column) in triples(2, height, width) {
            let token = (sample * side + top + row) * side + left + column;
            expected.extend_from_slice(&values[token * 3..][..3]);
        }
        let like = normal("y", &[2, 1, height, width]);
        check("crop_grid", &run(&source, vec![x, like], &[]), &[2, height * width, 3], &expected);
    }
}

#[test]
fn a_grid_that_is_too_large_is_refused_when_the_model_runs() {
    let source = "model A(x: tokens[9, 3], y: image[1, H, W]) { x -> crop_grid(H, W) }";
    let compiled = compile("a.arch", None, &[], &[("a.arch", source)], &Options::default()).expect("it exists");
    let graph = Arc::new(compiled.graph.expect("a graph"));
    let session = open(&graph, Device::Cpu, Weights::Seed(1)).expect("a session");
    let inputs = vec![normal("x", &[1, 9, 3]), normal("y", &[1, 1, 4, 2])];
    let error = session.run(&Request { inputs, ..Request::default() }).expect_err("4 rows of 3");
    assert!(error.to_string().contains('H'), "{error}");
}

#[test]
fn the_end_of_a_text_is_its_largest_id_or_the_given_one() {
    let x = normal("x", &[3, 4, 2]);
    let ids = HostTensor::i64(vec![3, 4], vec![1, 9, 3, 9, 5, 2, 2, 2, 0, 1, 2, 7]);
    let rows = |rows: [usize; 3]| {
        let values = floats(&x);
        rows.into_iter().enumerate().flat_map(|(s, row)| values[(s * 4 + row) * 2..][..2].to_vec()).collect::<Vec<_>>()
    };
    let largest = "model A(x: tokens[N, 2], y: ids[N, 10]) { end_token(x, y) }";
    check("largest", &run(largest, vec![x.clone(), ids.clone()], &[]), &[3, 2], &rows([1, 0, 3]));
    let given = "model A(x: tokens[N, 2], y: ids[N, 10]) { end_token(x, y, id: 2) }";
    check("given", &run(given, vec![x.clone(), ids], &[]), &[3, 2], &rows([0, 1, 2]));
}

#[test]
fn ids_are_rows_of_a_table() {
    for [batch, tokens] in [[1, 1], [2, 3], [3, 1]] {
        let count = batch * tokens;
        let ids: Vec<i64> = (0..count).map(|at| (at * 3 % 5) as i64).collect();
        let table = normal("table", &[5, 4]);
        let values = floats(&table);
        let expected: Vec<f64> = ids.iter().flat_map(|id| values[*id as usize * 4..][..4].to_vec()).collect();
        let source = "model A(y: ids[N, 5]) { y -> embedding(4) @words }";
        let ids = HostTensor::i64(vec![batch, tokens], ids);
        check("ids", &run(source, vec![ids], &[("words.weight", table)]), &[batch, tokens, 4], &expected);
    }
}

#[test]
fn positions_of_a_grid_of_any_size() {
    let source = "model A(x: image[8, H, W]) { x -> to_tokens() + sincos_grid(H, W, 8, base: 2, scale: 2) }";
    for [height, width] in [[1, 1], [3, 5], [4, 2]] {
        let mut expected = vec![];
        for (row, column, channel) in triples(height, width, 8) {
            let (at, size) = if channel < 4 { (column, width) } else { (row, height) };
            let angle = at as f64 * 2.0 / size as f64 / 2.0 / 100_f64.powi((channel % 2) as i32);
            expected.push(if channel % 4 < 2 { angle.sin() } else { angle.cos() });
        }
        let zeros = HostTensor::f32(vec![1, 8, height, width], vec![0.0; 8 * height * width]);
        check("sincos_grid", &run(source, vec![zeros], &[]), &[1, height * width, 8], &expected);
    }
}

#[test]
fn several_numbers_as_sinusoids_in_one_vector() {
    for [batch, count] in [[1, 1], [2, 3]] {
        let numbers = normal("n", &[batch, count]);
        let expected: Vec<f64> = floats(&numbers)
            .into_iter()
            .flat_map(|x| [x.cos(), (x / 100.0).cos(), x.sin(), (x / 100.0).sin()])
            .collect();
        let source = format!("model A(x: vector[{count}]) {{ x -> sinusoid(4) -> to_vector() }}");
        check("sinusoid", &run(&source, vec![numbers], &[]), &[batch, 4 * count], &expected);
    }
}

#[test]
fn sequences_have_their_channels_first() {
    for [batch, tokens] in [[1, 1], [2, 5]] {
        let x = normal("x", &[batch, 3, tokens]);
        let values = floats(&x);
        let at = |sample: usize, channel: usize, token: usize| values[(sample * 3 + channel) * tokens + token];
        let transposed: Vec<f64> = triples(batch, tokens, 3).map(|(s, token, channel)| at(s, channel, token)).collect();
        let there = "model A(x: sequence[3, N]) { x -> to_tokens() }";
        check("to_tokens", &run(there, vec![x.clone()], &[]), &[batch, tokens, 3], &transposed);
        let back = "model A(x: sequence[3, N]) { x -> to_tokens() -> to_sequence() }";
        check("to_sequence", &run(back, vec![x.clone()], &[]), &[batch, 3, tokens], &values);
        // A vector stretches over the places, a mask over the channels.
        let (c, keep) = (normal("c", &[batch, 3]), normal("m", &[batch, tokens]));
        let (shift, mask) = (floats(&c), floats(&keep));
        let expected: Vec<f64> = triples(batch, 3, tokens)
            .map(|(s, channel, token)| (at(s, channel, token) + shift[s * 3 + channel]) * mask[s * tokens + token])
            .collect();
        let both = "model A(x: sequence[3, N], c: vector[3], keep: mask[N]) { (x + c) * keep }";
        check("stretched", &run(both, vec![x, c, keep], &[]), &[batch, 3, tokens], &expected);
    }
}

#[test]
fn a_mask_stretches_over_the_channels_of_tokens() {
    for [batch, tokens] in [[1, 1], [2, 5]] {
        let (x, keep) = (normal("x", &[batch, tokens, 3]), normal("m", &[batch, tokens]));
        let mask = floats(&keep);
        let expected: Vec<f64> = floats(&x).iter().enumerate().map(|(at, x)| x * mask[at / 3]).collect();
        let source = "model A(x: tokens[N, 3], keep: mask[N]) { keep * x }";
        check("mask", &run(source, vec![x, keep], &[]), &[batch, tokens, 3], &expected);
    }
}

#[test]
fn quick_gelu_is_a_logistic_curve() {
    let x = normal("x", &[1, 9]);
    let expected: Vec<f64> = floats(&x).into_iter().map(|x| x / (1.0 + (-1.702 * x).exp())).collect();
    check("quick_gelu", &run("model A(x: vector[9]) { x -> quick_gelu() }", vec![x], &[]), &[1, 9], &expected);
}

#[test]
fn a_parameter_is_stored_in_a_shape_of_its_own() {
    let (x, table) = (normal("x", &[2, 6]), normal("t", &[3, 2]));
    let expected: Vec<f64> = floats(&x).chunks(6).flat_map(|row| add(row, &floats(&table))).collect();
    let source = "model A(x: vector[6]) { x + parameter(vector[6], stored: [3, 2], buffer: true) @table }";
    check("stored", &run(source, vec![x], &[("table", table)]), &[2, 6], &expected);
    let compiled = compile("a.arch", None, &[], &[("a.arch", source)], &Options::default()).expect("it exists");
    let graph = compiled.graph.expect("a graph");
    assert_eq!((graph.parameters.len(), graph.parameter_elements()), (1, 0), "a buffer is in no count");
}

fn add(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}
