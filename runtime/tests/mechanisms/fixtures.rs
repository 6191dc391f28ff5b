//! Small networks that show every mechanism, `specs/examples/mechanisms`: nothing is reported of them, they train, and
//! what liveness says moves does move.

use archc_compiler::analysis::liveness::{Liveness, Wake};
use archc_compiler::ir::Graph;
use archc_compiler::source::{Files, Sources};
use archc_compiler::types::Kind;
use archc_compiler::{Options, check, compile};
use archc_runtime::execute::{Mode, Unobserved, execute};
use archc_runtime::plan::{Bindings, Plan};
use archc_runtime::{GraphModule, HostTensor, Value, init};
use burn::backend::{Autodiff, Flex};
use burn::optim::{AdamWConfig, GradientsParams, Optimizer};
use burn::tensor::Tensor;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Tape = Autodiff<Flex>;

/// More than the longest chain of zeros takes to wake up.
const STEPS: u64 = 24;
const BATCH: usize = 4;
const RATE: f64 = 1e-2;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs/examples/mechanisms")
}

fn fixtures() -> Vec<String> {
    let entries = std::fs::read_dir(folder()).expect("a folder").map(|entry| entry.expect("an entry").path());
    let specs = entries.filter(|path| path.extension().is_some_and(|ending| ending == "arch"));
    let mut specs: Vec<String> = specs.map(|path| path.to_string_lossy().into_owned()).collect();
    specs.sort();
    specs
}

/// The models of a spec as graphs, by name.
fn graphs(path: &str) -> Vec<(String, Arc<Graph>)> {
    let text = Files::default().read(path).expect("it can be read");
    let names = text.lines().filter_map(|line| {
        let name = line.strip_prefix("model ").or_else(|| line.strip_prefix("preset "))?;
        Some(name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>())
    });
    let graph = |name: String| {
        let compiled = compile(path, Some(&name), &[], &Files::default(), &Options::default()).expect("it exists");
        let graph = compiled.graph.expect("nothing is wrong with it");
        (format!("{}#{name}", path.rsplit('/').next().unwrap_or(path)), Arc::new(graph))
    };
    names.map(graph).collect()
}

/// A network in training on one batch.
struct Training {
    plan: Plan,
    bindings: Bindings,
    inputs: Vec<HostTensor>,
    target: Tensor<Tape, 1>,
    module: GraphModule<Tape>,
}

impl Training {
    fn new(graph: &Arc<Graph>) -> Self {
        let plan = Plan::new(graph.clone());
        let bindings = Bindings { batch: BATCH, sizes: graph.typical.clone() };
        let inputs = graph.inputs.iter().map(|input| {
            let ty = &graph.node(input.node).ty;
            let shape = plan.shape_of(ty, &bindings);
            match ty.kind {
                // At low noise the answer is in the input, and nothing else can be learned.
                Kind::Sigma => HostTensor::f32(shape, vec![0.5, 1.0, 2.0, 4.0]),
                kind => init::input(kind, init::classes(ty), shape, 5, &input.name),
            }
        });
        let inputs: Vec<HostTensor> = inputs.collect();
        // Half of the input, where it has the elements of the output, and something to learn by heart.
        let output = graph.outputs.first().map(|output| graph.node(output.node).ty.clone()).expect("an output");
        let count = plan.shape_of(&output, &bindings).iter().product();
        let kept: Vec<f32> = inputs.first().map(HostTensor::to_f32).unwrap_or_default();
        let target: Vec<f32> =
            (0..count).map(|at| 0.5 * kept.get(at).copied().unwrap_or(0.0) + 0.3 * (at as f32 * 0.7).sin()).collect();
        let device = Default::default();
        let target = Tensor::from_floats(target.as_slice(), &device);
        Self { plan, bindings, inputs, target, module: GraphModule::init(graph, 3, &device) }
    }

    fn loss(&self, mode: Mode) -> Tensor<Tape, 1> {
        let device = Default::default();
        let values = self.inputs.iter().map(|input| Value::from_host(input, &device)).collect();
        let outputs = execute(&self.plan, &self.module, values, &self.bindings, mode, &device, Unobserved);
        let output = outputs.into_iter().next().expect("an output");
        let error = output.reshape([self.target.dims().into_iter().product()]) - self.target.clone();
        (error.clone() * error).mean()
    }

    fn evaluate(&self) -> f32 {
        self.loss(Mode::Evaluation).into_scalar()
    }

    fn parameters(&self) -> BTreeMap<String, Vec<f32>> {
        self.module.published().map(|(slot, data)| (slot.path.clone(), data)).collect()
    }

    fn train(&mut self) {
        let mut optimizer = AdamWConfig::new().with_weight_decay(0.0).init::<Tape, GraphModule<Tape>>();
        for step in 0..STEPS {
            let gradients = self.loss(Mode::Training { seed: 1, step }).backward();
            let gradients = GradientsParams::from_grads(gradients, &self.module);
            self.module = optimizer.step(RATE, self.module.clone(), gradients);
        }
    }
}

#[test]
fn nothing_is_reported_of_the_fixtures() {
    let mut said = vec![];
    for path in fixtures() {
        let checked = check(&path, &[], &Files::default(), &Options::default()).expect("it can be read");
        said.extend(checked.diagnostics.iter().map(|own| format!("{path}: [{}] {}", own.id, own.message)));
    }
    assert_eq!(said, Vec::<String>::new());
}

#[test]
fn the_fixtures_train_and_move_what_liveness_says() {
    let mut failures = vec![];
    for (name, graph) in fixtures().iter().flat_map(|path| graphs(path)) {
        let mut training = Training::new(&graph);
        let (before, start) = (training.evaluate(), training.parameters());
        training.train();
        let (after, end) = (training.evaluate(), training.parameters());
        if after.is_nan() || after >= 0.9 * before {
            failures.push(format!("{name}: the loss goes from {before} to {after}"));
        }
        let liveness = Liveness::of(&graph);
        for id in graph.parameter_ids() {
            let path = graph.parameter(id).path.to_string();
            let moved = start.get(&path) != end.get(&path);
            match liveness.wake(id) {
                Wake::Step(step) if u64::from(step) <= STEPS => {
                    if !moved {
                        failures.push(format!("{name}: `{path}` should move at step {step} and does not"));
                    }
                }
                Wake::Frozen if !moved => {}
                // What has a gradient of rounding alone would move with AdamW; no fixture has such a parameter.
                other => failures.push(format!("{name}: `{path}` is {other:?}, moved: {moved}")),
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
