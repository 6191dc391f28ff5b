//! The parameters of a graph are an ordinary Burn module: optimisers, records and stores work on it.

use archc_compiler::ir::Graph;
use archc_compiler::{Options, compile};
use archc_runtime::execute::{Mode, Unobserved, execute};
use archc_runtime::kernels::Kernels;
use archc_runtime::plan::{Bindings, Plan};
use archc_runtime::{GraphModule, HostTensor, Value};
use burn::backend::{Autodiff, Flex};
use burn::module::{AutodiffModule, Module};
use burn::optim::{AdamWConfig, GradientsParams, Optimizer};
use burn::record::{BinBytesRecorder, FullPrecisionSettings, Recorder};
use burn::tensor::Tensor;
use burn_store::{BurnToPyTorchAdapter, ModuleSnapshot, ModuleStore, PyTorchToBurnAdapter, SafetensorsStore};
use std::collections::BTreeMap;
use std::sync::Arc;

type Tape = Autodiff<Flex>;

/// Attention, a convolution, every kind of norm, a class embedding, dropout, and a gate that starts at zero.
const SPEC: &str = r#"
use std.embed.{PatchEmbed, LabelEmbedding, TimestepEmbedding}
use std.transformer.{Attention, Mlp}

model Tiny(x: image[2, 8, 8], t: timestep, y: label[3], dim: int = 32) -> image[2, 8, 8] {
    let c = t -> TimestepEmbedding(dim, features: 16) @time + y -> LabelEmbedding(3, dim, drop: 0.1) @label
    let [shift, scale, gate] = c -> silu() -> linear(3 * dim, init: zero) @modulation -> chunk(3)
    let h = x -> conv2d(8, kernel: 3) @stem -> group_norm(4) @norm -> silu() -> dropout(0.1) -> PatchEmbed(2, dim) @patch
    h -> residual(gate: gate) { layer_norm(affine: false) -> modulate(shift, scale) -> Attention(2) @attn }
    -> residual(scale: learned(0.1, per: channel), drop: 0.1) { layer_norm() @norm2 -> Mlp(2 * dim) @mlp }
    -> linear(8) @head -> unpatchify(2, 2)
}
"#;

fn graph() -> Arc<Graph> {
    let compiled = compile("tiny.arch", None, &[], &[("tiny.arch", SPEC)], &Options::default()).expect("it exists");
    assert_eq!(compiled.diagnostics, []);
    Arc::new(compiled.graph.expect("nothing is wrong with it"))
}

/// Four samples: images, times, classes, and what the model shall answer.
fn batch() -> (Vec<HostTensor>, Vec<f32>) {
    let wave = |at: usize| (at as f32 * 0.37).sin();
    let x: Vec<f32> = (0..4 * 128).map(wave).collect();
    let target = x.iter().enumerate().map(|(at, x)| 0.5 * x + 0.2 * (at / 128) as f32).collect();
    let inputs = vec![
        HostTensor::f32(vec![4, 2, 8, 8], x),
        HostTensor::f32(vec![4], vec![0.0, 250.0, 500.0, 999.0]),
        HostTensor::i64(vec![4], vec![0, 1, 2, 1]),
    ];
    (inputs, target)
}

fn forward<B: Kernels>(plan: &Plan, module: &GraphModule<B>, inputs: &[HostTensor], mode: Mode) -> Tensor<B, 1> {
    let device = Default::default();
    let bindings: Bindings = plan.bind(inputs).expect("the inputs fit");
    let values = inputs.iter().map(|input| Value::from_host(input, &device)).collect();
    let outputs = execute(plan, module, values, &bindings, mode, &device, Unobserved);
    let output = outputs.into_iter().next().expect("the model has an output");
    let count = output.shape().iter().product();
    output.reshape([count])
}

fn parameters<B: Kernels>(module: &GraphModule<B>) -> BTreeMap<String, Vec<f32>> {
    module.published().map(|(slot, data)| (slot.path.clone(), data)).collect()
}

#[test]
fn adamw_takes_the_loss_down_tenfold() {
    let graph = graph();
    let plan = Plan::new(graph.clone());
    let device = Default::default();
    let mut module = GraphModule::<Tape>::init(&graph, 1, &device);
    let mut optimizer = AdamWConfig::new().init::<Tape, GraphModule<Tape>>();
    let (inputs, target) = batch();
    let target = Tensor::<Tape, 1>::from_floats(target.as_slice(), &device);
    let mut losses = vec![];
    for step in 0..120 {
        let output = forward(&plan, &module, &inputs, Mode::Training { seed: 1, step });
        let error = output - target.clone();
        let loss = (error.clone() * error).mean();
        losses.push(loss.clone().into_scalar());
        let gradients = GradientsParams::from_grads(loss.backward(), &module);
        module = optimizer.step(3e-3, module, gradients);
    }
    let first = losses.first().copied().unwrap_or_default();
    let last = losses.iter().rev().take(10).sum::<f32>() / 10.0;
    assert!(last < first / 10.0, "the loss went from {first} to {last}");
}

#[test]
fn training_mode_is_random_and_repeatable() {
    let graph = graph();
    let plan = Plan::new(graph.clone());
    let module = GraphModule::<Flex>::init(&graph, 1, &Default::default());
    let (inputs, _) = batch();
    let run = |mode| forward(&plan, &module, &inputs, mode).into_data().to_vec::<f32>().expect("floats");
    let step = |step| run(Mode::Training { seed: 1, step });
    assert!(step(3) == step(3), "the same step draws the same masks");
    assert!(step(3) != step(4), "another step draws others");
    assert!(step(3) != run(Mode::Evaluation), "evaluation draws none");
}

#[test]
fn a_store_round_trip_keeps_published_names_and_layouts() {
    let graph = graph();
    let device = Default::default();
    let module = GraphModule::<Flex>::init(&graph, 2, &device);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("tiny.safetensors");
    let mut store = SafetensorsStore::from_file(&path).with_to_adapter(BurnToPyTorchAdapter);
    module.save_into(&mut store).expect("it can be written");

    // Names and shapes in the file are the published ones, linear weights as [out, in].
    let mut store = SafetensorsStore::from_file(&path);
    let stored: BTreeMap<String, Vec<usize>> = store
        .get_all_snapshots()
        .expect("it can be read")
        .iter()
        .map(|(name, snapshot)| (name.clone(), snapshot.shape.to_vec()))
        .collect();
    for slot in module.slots.iter() {
        let shape = if slot.shape.is_empty() { vec![1] } else { slot.shape.clone() };
        assert_eq!(stored.get(&slot.path), Some(&shape), "{}", slot.path);
    }

    let mut other = GraphModule::<Flex>::init(&graph, 3, &device);
    assert_ne!(parameters(&other), parameters(&module));
    let mut store = SafetensorsStore::from_file(&path).with_from_adapter(PyTorchToBurnAdapter);
    let result = other.load_from(&mut store).expect("it fits");
    assert_eq!((result.missing.len(), result.unused.len()), (0, 0));
    assert_eq!(parameters(&other), parameters(&module));
}

#[test]
fn a_record_round_trip_keeps_every_parameter() {
    let graph = graph();
    let device = Default::default();
    let module = GraphModule::<Flex>::init(&graph, 2, &device);
    let recorder = BinBytesRecorder::<FullPrecisionSettings>::default();
    let bytes = recorder.record(module.clone().into_record(), ()).expect("it can be recorded");
    let record = recorder.load(bytes, &device).expect("it can be loaded");
    let other = GraphModule::<Flex>::init(&graph, 3, &device).load_record(record);
    assert_eq!(parameters(&other), parameters(&module));
}

#[test]
fn moving_to_the_tape_and_back_changes_nothing() {
    let graph = graph();
    let device = Default::default();
    let module = GraphModule::<Flex>::init(&graph, 2, &device);
    let trained = module.clone().train::<Tape>();
    assert_eq!(trained.num_params() as u64, graph.parameter_elements());
    assert_eq!(parameters(&trained.valid()), parameters(&module));
}

#[test]
fn what_a_parameter_starts_as_depends_on_its_name_and_the_seed_alone() {
    let compiled = |spec: &str| {
        let compiled = compile("a.arch", None, &[], &[("a.arch", spec)], &Options::default()).expect("it exists");
        Arc::new(compiled.graph.expect("nothing is wrong with it"))
    };
    let alone = compiled("model A(x: vector[4]) -> vector[4] { x -> linear(4) @b }");
    let among = compiled("model A(x: vector[4]) -> vector[4] { x -> linear(4) @a -> linear(4) @b }");
    let start = |graph: &Arc<Graph>, seed| {
        let module = GraphModule::<Flex>::init(graph, seed, &Default::default());
        parameters(&module).remove("b.weight")
    };
    assert_eq!(start(&alone, 7), start(&among, 7));
    assert_ne!(start(&alone, 7), start(&alone, 8));
}
