//! Passes keep values: on random networks here, on the published ones in `conformance.rs`.

use archc_compiler::analysis::stages::{Stage, stages};
use archc_compiler::ir::{Graph, NodeKind};
use archc_compiler::ops::Op;
use archc_compiler::passes::{Optimized, PASSES};
use archc_compiler::types::Kind;
use archc_compiler::{Options, compile};
use archc_runtime::{Device, HostTensor, Passes, Request, Weights, init, open_with};
use rand::Rng;
use rand::seq::IndexedRandom;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

const NETWORKS: u64 = 200;
/// What all samples are told of the noise.
const TIME: f32 = 3.5;

fn graph(source: &str) -> Arc<Graph> {
    let compiled = compile("net.arch", None, &[], &[("net.arch", source)], &Options::default()).expect("it exists");
    let errors: Vec<String> = compiled.diagnostics.iter().map(|problem| problem.message.clone()).collect();
    Arc::new(compiled.graph.ok_or_else(|| format!("{source}\n{}", errors.join("\n"))).expect("it compiles"))
}

fn inputs(seed: u64) -> Vec<HostTensor> {
    vec![
        init::input(Kind::Tokens, None, vec![2, 5, 8], seed, "x"),
        init::input(Kind::Vector, None, vec![2, 8], seed, "c"),
        HostTensor::f32(vec![2], vec![TIME; 2]),
    ]
}

fn outputs(graph: &Arc<Graph>, passes: Passes, inputs: Vec<HostTensor>) -> Vec<HostTensor> {
    let session = open_with(graph, Device::Cpu, Weights::Seed(4), passes).expect("a session");
    session.run(&Request { inputs, ..Request::default() }).expect("a run").outputs
}

/// What a sampler sees of a network that is asked at several times, the last of which was not announced.
fn denoised(graph: &Arc<Graph>, passes: Passes, inputs: &[HostTensor], times: &[f32]) -> Vec<HostTensor> {
    let session = open_with(graph, Device::Cpu, Weights::Seed(4), passes).expect("a session");
    let announced = times.iter().copied().take(times.len() - 1).collect();
    let mut denoiser = session.denoiser(inputs, announced).expect("a denoiser");
    let noisy = inputs.first().expect("the noisy input");
    times.iter().map(|told| denoiser.denoise(noisy, *told).expect("a step")).collect()
}

fn assert_close(found: &HostTensor, plain: &HostTensor, source: &str) {
    assert_eq!(found.shape, plain.shape, "{source}");
    let largest = plain.to_f32().iter().fold(1e-3f32, |most, x| most.max(x.abs()));
    for (found, plain) in found.to_f32().into_iter().zip(plain.to_f32()) {
        assert!((found - plain).abs() <= 1e-5 * largest, "{found} instead of {plain}\n{source}");
    }
}

/// A network in which values are used several times, not at all, and alike in several places.
fn random_network(seed: u64) -> String {
    let mut random = init::stream(seed, "network");
    let mut text = "model Net(x: tokens[5, 8], c: vector[8], t: timestep) -> tokens[5, 8] {\n".to_owned();
    text += "    let e = t -> sinusoid(8)\n    let p = parameter(tokens[5, 8])\n";
    let (mut tokens, mut vectors) = (vec!["x".to_owned()], vec!["c".to_owned(), "e".to_owned()]);
    for at in 0..random.random_range(4..16) {
        let x = tokens.choose(&mut random).cloned().unwrap_or_default();
        let y = tokens.choose(&mut random).cloned().unwrap_or_default();
        let c = vectors.choose(&mut random).cloned().unwrap_or_default();
        let bias = random.random_bool(0.5);
        let name = format!("v{at}");
        let (value, is_vector) = match random.random_range(0..12) {
            0 | 1 => {
                // Of few values, so that some have several maps.
                let x = tokens.iter().take(2).collect::<Vec<_>>().choose(&mut random).map_or("x", |x| x);
                (format!("{x} -> linear(8, bias: {bias}) @l{at}"), false)
            }
            2 => (format!("{x} -> silu()"), false),
            3 => (format!("{x} + {y}"), false),
            4 => (format!("{x} * {c}"), false),
            5 => (format!("{x} -> layer_norm(affine: {bias}) @n{at}"), false),
            6 => (format!("{c} -> linear(8, bias: {bias}) @c{at}"), true),
            7 => (format!("{c} -> silu()"), true),
            8 => (format!("{x} -> mp_linear(8) @m{at}"), false),
            9 => (format!("{x} -> rms_norm(affine: {bias}) @r{at} -> modulate({c}, c)"), false),
            10 => (format!("{x} + {c} * (2 * {y})"), false),
            _ => (format!("{x} -> linear(16) @g{at} -> slice(4, 8)"), false),
        };
        writeln!(text, "    let {name} = {value}").expect("it is a string");
        if is_vector { vectors.push(name) } else { tokens.push(name) }
    }
    // Some values are needed by nobody.
    let used: Vec<&str> = tokens.iter().skip(1).map(String::as_str).filter(|_| random.random_bool(0.8)).collect();
    let c = vectors.last().cloned().unwrap_or_default();
    write!(text, "    x * {c} + {}\n}}\n", used.iter().chain(&["x"]).copied().collect::<Vec<_>>().join(" + "))
        .expect("it is a string");
    text
}

#[test]
fn random_networks_keep_their_values() {
    let (mut fewer, mut merged) = (0, 0);
    for seed in 0..NETWORKS {
        let source = random_network(seed);
        let graph = graph(&source);
        let optimized = Optimized::of(&graph);
        fewer += usize::from(optimized.graph.node_count() < graph.node_count());
        merged += usize::from(optimized.parameters.iter().any(|sources| sources.len() > 1));
        let plain = outputs(&graph, Passes::None, inputs(seed));
        let found = outputs(&graph, Passes::All, inputs(seed));
        for (found, plain) in found.iter().zip(&plain) {
            assert_close(found, plain, &source);
        }
        for passes in [Passes::All, Passes::None] {
            let steps = denoised(&graph, passes, &inputs(seed), &[1.0, TIME, 1.0, 2.0]);
            assert_close(steps.get(1).expect("a step"), plain.first().expect("an output"), &source);
            assert_eq!(steps.first(), steps.get(2));
        }
    }
    // The networks give the passes something to do.
    assert!(fewer > 100 && merged > 50, "{fewer} networks with fewer nodes, {merged} with merged maps");
}

fn count(graph: &Graph, which: impl Fn(&Op) -> bool) -> usize {
    graph.node_ids().filter(|id| matches!(&graph.node(*id).kind, NodeKind::Op(op) if which(op))).count()
}

const BLOCKS: &str = "
block Block(x: tokens[N, D], cond c: vector[D]) -> tokens[N, D] {
    let [shift, scale, gate] = c -> silu() -> linear(3 * D) @modulation -> chunk(3)
    let h = x -> layer_norm(affine: false) -> modulate(shift, scale)
    let (q, k, v) = (h -> linear(D) @q, h -> linear(D) @k, h -> linear(D) @v)
    x + gate * (attention(q, k, v, heads: 2) -> linear(D) @out)
}
model Net(x: tokens[5, 8], c: vector[8], t: timestep) -> tokens[5, 8] {
    let h = x
    let unused = x -> linear(8) @unused
    for i in 0..3 { h = h -> Block(c) @blocks.{i} }
    h
}";

#[test]
fn modulations_of_all_blocks_become_one_product_and_so_do_queries_keys_and_values() {
    let graph = graph(BLOCKS);
    let is_linear = |op: &Op| matches!(op, Op::Linear(_));
    let silu = |op: &Op| op.name() == "silu";
    assert_eq!((count(&graph, is_linear), count(&graph, silu)), (1 + 3 * 5, 3));
    let after = |name: &str| Optimized::up_to(&graph, name).expect("a pass").graph;
    assert_eq!(count(&after("dead-code"), is_linear), 3 * 5);
    assert_eq!(count(&after("common-subexpressions"), silu), 1);
    // One for all modulations; in each block one for queries, keys and values, and one behind the attention.
    assert_eq!(count(&after("merge-projections"), is_linear), 1 + 3 * 2);
    let optimized = Optimized::of(&graph);
    let held: usize = optimized.parameters.iter().map(Vec::len).sum();
    assert_eq!(held, graph.parameters.len() - 2, "all parameters but those of the unused map");
}

#[test]
fn weights_of_magnitude_preserving_maps_are_normalised_once() {
    let graph = graph(
        "
        model Net(x: image[4, 6, 6], c: vector[8], t: timestep) -> image[3, 6, 6] {
            let scale = c -> mp_linear(6) @scale
            let shift = c -> mp_linear(6) @shift
            x -> mp_conv2d(6, kernel: 3) @first -> modulate(shift, scale) -> mp_conv2d(3, kernel: 1) @last
        }",
    );
    let folded = Optimized::up_to(&graph, "fold-weights").expect("a pass");
    assert_eq!(count(&folded.graph, |op| matches!(op, Op::MpLinear(_) | Op::MpConv2d(_))), 0);
    assert_eq!(folded.folds.len(), 4);
    let merged = Optimized::of(&graph);
    assert_eq!(count(&merged.graph, |op| matches!(op, Op::Linear(_))), 1);

    let inputs = vec![
        init::input(Kind::Image, None, vec![2, 4, 6, 6], 1, "x"),
        init::input(Kind::Vector, None, vec![2, 8], 1, "c"),
        HostTensor::f32(vec![2], vec![TIME; 2]),
    ];
    let (found, plain) = (outputs(&graph, Passes::All, inputs.clone()), outputs(&graph, Passes::None, inputs.clone()));
    assert_close(found.first().expect("an output"), plain.first().expect("an output"), "outputs");
    // Training and gradients see the weights as they are stored.
    let gradients = |passes| {
        let session = open_with(&graph, Device::Cpu, Weights::Seed(4), passes).expect("a session");
        let request = Request { inputs: inputs.clone(), gradients: true, ..Request::default() };
        let gradients = session.run(&request).expect("a run").parameter_gradients;
        (session.parameters(), gradients)
    };
    let ((parameters, found), (plain_parameters, plain)) = (gradients(Passes::All), gradients(Passes::None));
    assert!(plain.len() == 4 && plain_parameters.len() == 4);
    let pairs = found.iter().chain(&parameters).zip(plain.iter().chain(&plain_parameters));
    for ((name, found), (plain_name, plain)) in pairs {
        assert_eq!(name, plain_name);
        assert_close(found, plain, name);
    }
}

#[test]
fn an_optimised_graph_has_nothing_more_to_optimise() {
    let optimized = Optimized::of(&graph(BLOCKS));
    for pass in PASSES {
        assert_eq!(optimized.after(pass).graph.node_count(), optimized.graph.node_count(), "{}", pass.name);
    }
}

#[test]
fn sampling_computes_first_what_no_step_changes() {
    let graph = graph(
        "
        model Net(x: tokens[5, 8], text: tokens[3, 8], y: label[4], t: timestep) -> tokens[5, 8] {
            let k = text -> linear(8) @k
            let c = (t -> sinusoid(8) -> linear(8) @t) + (y -> embedding(8) @y)
            let h = (x + sincos_grid(1, 5, 8)) * (c -> linear(8) @modulation)
            h + attention(h -> linear(8) @q, k, text -> linear(8) @v, heads: 2)
        }",
    );
    let optimized = Optimized::up_to(&graph, "hoist").expect("a pass").graph;
    let found: Vec<(Stage, &str)> = optimized
        .node_ids()
        .zip(stages(&optimized))
        .filter_map(|(node, stage)| Some((stage, optimized.node(node).op()?.name())))
        .collect();
    assert!(found.is_sorted_by_key(|(stage, _)| *stage), "{found:?}");
    let of = |wanted: Stage| -> Vec<&str> {
        found.iter().filter(|(stage, _)| *stage == wanted).map(|(_, name)| *name).collect()
    };
    assert_eq!(of(Stage::Constant), ["sincos_grid"]);
    assert_eq!(of(Stage::Condition), ["linear", "slice", "slice", "embedding"]);
    assert_eq!(of(Stage::Time), ["sinusoid", "linear"]);
    assert_eq!(of(Stage::Both), ["add", "linear"]);
    assert_eq!(of(Stage::Step), ["add", "multiply", "linear", "attention", "add"]);
}

#[test]
fn gradients_have_the_names_of_the_graph_as_it_is() {
    let graph = graph(BLOCKS);
    let session = open_with(&graph, Device::Cpu, Weights::Seed(4), Passes::All).expect("a session");
    let request = Request { inputs: inputs(1), gradients: true, ..Request::default() };
    let optimised = session.run(&request).expect("a run").parameter_gradients;
    let session = open_with(&graph, Device::Cpu, Weights::Seed(4), Passes::None).expect("a session");
    let plain = session.run(&request).expect("a run").parameter_gradients;
    assert_eq!(optimised.len(), plain.len());
    for ((name, found), (plain_name, plain)) in optimised.iter().zip(&plain) {
        assert_eq!(name, plain_name);
        assert_eq!(found.shape, plain.shape);
        for (found, plain) in found.to_f32().into_iter().zip(plain.to_f32()) {
            assert!((found - plain).abs() <= 1e-6 * (1.0 + plain.abs()), "{name}: {found} instead of {plain}");
        }
    }
}

/// Norms with what runs with them behind them, and some that something else needs as well.
const NORMS: &str = "
model Net(x: image[6, 5, 4], y: tokens[5, 6], c: vector[6]) -> image[6, 5, 4] {
    let e = c -> linear(6) @e
    let own = parameter(vector[6], init: normal(std: 1)) @own
    let h = x -> conv2d(6, kernel: 3) @stem
    let a = h -> group_norm(3) @norm1 -> silu() -> conv2d(6, kernel: 3) @conv1
    let b = (a + c) -> group_norm(2, affine: false) -> silu() -> conv2d(6, kernel: 3) @conv2
    let seen = (h + b) -> group_norm(2) @norm2
    let d = seen + (seen -> silu() -> conv2d(6, kernel: 1) @conv3)
    let f = d -> group_norm(2) @norm3 -> modulate(c, e) -> silu() -> conv2d(6, kernel: 1) @conv4
    let g = d + e * (f * own)

    let t = y -> layer_norm(affine: false) -> modulate(c, own) -> linear(6) @fc1
    let u = y + c * (t -> layer_norm() @norm4 -> modulate(own, e))
    let v = u + own * (u -> rms_norm() @norm5 -> modulate(e, c) -> linear(6) @fc2)
    let w = v + (v -> rms_norm(heads: 2) @norm6 -> modulate(e, c) -> linear(6) @fc3) * e
    let both = w -> group_norm(3) @norm7 -> modulate(e, own)
    let tokens = w + (both + own * both)
    g + (tokens -> reduce(by: mean, over: positions))
}
";

#[test]
fn what_runs_as_one_gives_what_it_gives_alone() {
    let graph = graph(NORMS);
    let names: Vec<&str> = Optimized::of(&graph).groups.iter().map(|group| group.kernel.name()).collect();
    assert_eq!(
        names.iter().fold(BTreeMap::new(), |mut counts: BTreeMap<_, usize>, name| {
            *counts.entry(*name).or_default() += 1;
            counts
        }),
        BTreeMap::from([("norm_silu", 2), ("modulated_norm", 4), ("modulated_norm_silu", 1), ("gated_sum", 5)]),
    );
    let shapes: [&[usize]; 3] = [&[2, 6, 5, 4], &[2, 5, 6], &[2, 6]];
    let inputs: Vec<HostTensor> = shapes
        .iter()
        .map(|shape| {
            let values = (0..shape.iter().product::<usize>()).map(|at| (at as f32 * 0.7).sin() * 2.0);
            HostTensor::f32(shape.to_vec(), values.collect())
        })
        .collect();
    let response = |passes| {
        let session = open_with(&graph, Device::Cpu, Weights::Seed(4), passes).expect("a session");
        let plain = session.run(&Request { inputs: inputs.clone(), ..Request::default() }).expect("a run");
        let request = Request { inputs: inputs.clone(), gradients: true, ..Request::default() };
        (plain.outputs, session.run(&request).expect("a run"))
    };
    let ((found_outputs, found), (plain_outputs, plain)) = (response(Passes::All), response(Passes::None));
    let pairs = found.parameter_gradients.iter().zip(&plain.parameter_gradients);
    let gradients = pairs.map(|((name, found), (_, plain))| (name.as_str(), found, plain));
    let to_inputs = found.input_gradients.iter().zip(&plain.input_gradients);
    let to_inputs = to_inputs.map(|((_, found), (_, plain))| ("an input", found, plain));
    let outputs = found_outputs.iter().zip(&plain_outputs).map(|(found, plain)| ("the output", found, plain));
    for (name, found, plain) in gradients.chain(to_inputs).chain(outputs) {
        for (found, plain) in found.to_f32().into_iter().zip(plain.to_f32()) {
            assert!((found - plain).abs() <= 1e-5 * (1.0 + plain.abs()), "{name}: {found} instead of {plain}");
        }
    }
}
