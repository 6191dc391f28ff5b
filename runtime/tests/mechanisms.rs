//! Small networks that show every mechanism, `specs/examples/mechanisms`: nothing is reported of them, they train, and
//! what liveness says moves does move. And every mechanism by itself, forward and backward, against PyTorch.

#![expect(clippy::indexing_slicing, reason = "an index out of range is a failure of the test")]

mod common;

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
use common::{check as close, floats, normal, run};
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

/// Minus the logarithm of `exp(x) - 1` for `exp(-x)` kept.
fn log_snr(kept: f64) -> f64 {
    kept.ln() - (1.0 - kept).ln()
}

/// What chains of steps keep, step by step, multiplied up as training does.
fn kept(betas: impl Iterator<Item = f64>) -> Vec<f64> {
    let products = betas.scan(1.0, |kept, beta| {
        *kept *= 1.0 - beta;
        Some(*kept)
    });
    products.collect()
}

#[test]
fn log_snr_is_that_of_the_schedule() {
    let steps: Vec<f64> = (0..1000).map(f64::from).collect();
    let line = |start: f64, end: f64| steps.iter().map(move |step| start + (end - start) * step / 999.0);
    let cosine = |u: f64| ((u + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos().powi(2);
    let chains = [
        ("log_snr_linear", kept(line(1e-4, 0.02))),
        ("log_snr_scaled_linear", kept(line(0.000_85_f64.sqrt(), 0.012_f64.sqrt()).map(|root| root * root))),
        (
            "log_snr_cosine",
            kept(steps.iter().map(|at| (1.0 - cosine((at + 1.0) / 1000.0) / cosine(at / 1000.0)).min(0.999))),
        ),
    ];
    let times = || HostTensor::f32(vec![1000], (0..1000).map(|step| step as f32).collect());
    for (name, kept) in chains {
        let source = format!("use std.noise.{{{name}}}\nmodel A(t: timestep) {{ t -> {name}() }}");
        let found = floats(&run(&source, vec![times()], &[]));
        for (step, (found, kept)) in found.iter().zip(&kept).enumerate() {
            assert!((found - log_snr(*kept)).abs() < 4e-3, "{name} at {step}: {found} instead of {}", log_snr(*kept));
        }
    }
    let sigmas = HostTensor::f32(vec![3], vec![0.002, 1.0, 80.0]);
    let found = run("use std.noise.{log_snr_ve}\nmodel A(s: sigma) { s -> log_snr_ve(0.5) }", vec![sigmas], &[]);
    for (found, sigma) in floats(&found).iter().zip([0.002_f64, 1.0, 80.0]) {
        assert!((found - 2.0 * (0.5 / sigma).ln()).abs() < 1e-5);
    }
    let found = run("use std.noise.{log_snr_flow}\nmodel A(t: timestep) { t -> log_snr_flow() }", vec![times()], &[]);
    for (step, found) in floats(&found).iter().enumerate().skip(1) {
        let u = step as f64 / 1000.0;
        assert!((found - 2.0 * ((1.0 - u) / u).ln()).abs() < 3e-4, "{step}");
    }
}

/// Whatever its parameters are, a gate rises with the SNR, or falls with it.
#[test]
fn noise_gates_are_monotone_whatever_they_have_learned() {
    let levels: Vec<f32> = (0..200).map(|at| (at as f32 - 100.0) / 8.0).collect();
    for (opens, sign) in [("with_snr", 1.0), ("with_noise", -1.0)] {
        let source = format!(
            "use std.gate.{{snr_gate}}\nmodel A(level: scalar) {{ level -> snr_gate(5, opens: \"{opens}\") @gate }}"
        );
        for draw in 0..5 {
            let drawn = |name: &str| {
                let values = floats(&normal(&format!("{name}.{draw}"), &[5]));
                HostTensor::f32(vec![5], values.into_iter().map(|x| 3.0 * x as f32).collect())
            };
            let input = HostTensor::f32(vec![200], levels.clone());
            let weights = [("gate.slope", drawn("slope")), ("gate.bias", drawn("bias"))];
            let (slope, bias) = (floats(&weights[0].1), floats(&weights[1].1));
            let gates = floats(&run(&source, vec![input], &weights));
            for channel in 0..5 {
                let opening = |at: usize| gates[at * 5 + channel];
                for (at, level) in levels.iter().enumerate() {
                    let x = sign * slope[channel].exp().ln_1p() * f64::from(*level) + bias[channel];
                    assert!((opening(at) - 1.0 / (1.0 + (-x).exp())).abs() < 1e-6);
                    assert!(at == 0 || sign * (opening(at) - opening(at - 1)) >= -1e-7, "{opens}, channel {channel}");
                }
            }
        }
    }
    // Half open where it is told.
    let source = "use std.gate.{snr_gate}\nmodel A(level: scalar) { level -> snr_gate(slope: 2, centre: 3) }";
    let found = floats(&run(source, vec![HostTensor::f32(vec![2], vec![3.0, 4.0])], &[]));
    assert!((found[0] - 0.5).abs() < 1e-6 && (found[1] - 1.0 / (1.0 + (-2.0_f64).exp())).abs() < 1e-6);
}

/// A filter as it is defined: a discrete Fourier transform, a mask, and back; the real part.
fn masked_spectrum(x: &[f64], height: usize, width: usize, mask: impl Fn(i64, i64) -> f64) -> Vec<f64> {
    let frequencies = |size: usize| {
        let size = size as i64;
        -(size / 2)..(size + 1) / 2
    };
    let turn = |f: i64, at: usize, size: usize| 2.0 * std::f64::consts::PI * f as f64 * at as f64 / size as f64;
    let mut result = vec![0.0; height * width];
    for (u, v) in frequencies(height).flat_map(|u| frequencies(width).map(move |v| (u, v))) {
        let angle = |at: usize| turn(u, at / width, height) + turn(v, at % width, width);
        let (mut real, mut imaginary) = (0.0, 0.0);
        for (at, x) in x.iter().enumerate() {
            real += x * angle(at).cos();
            imaginary -= x * angle(at).sin();
        }
        let factor = mask(u, v) / (height * width) as f64;
        for (at, y) in result.iter_mut().enumerate() {
            *y += factor * (real * angle(at).cos() - imaginary * angle(at).sin());
        }
    }
    result
}

#[test]
fn frequencies_are_multiplied_one_by_one() {
    for [batch, channels, height, width] in [[1, 1, 1, 1], [2, 1, 3, 5], [1, 2, 4, 4], [1, 3, 7, 2], [2, 2, 8, 6]] {
        let x = normal("x", &[batch, channels, height, width]);
        for (radius, low, high, band) in
            [(1, 0.9, 1.0, "closed"), (1, 0.6, 1.2, "half_open"), (2, 1.0, 0.0, "closed"), (2, 0.0, 1.0, "half_open")]
        {
            let is_low = |f: i64| if band == "closed" { f.abs() <= radius } else { (-radius..radius).contains(&f) };
            let mask = |u, v| if is_low(u) && is_low(v) { low } else { high };
            let maps = floats(&x);
            let expected: Vec<f64> =
                maps.chunks(height * width).flat_map(|map| masked_spectrum(map, height, width, mask)).collect();
            let source = format!(
                "model A(x: image[{channels}, H, W]) {{
                    x -> fourier(radius: {radius}, low: {low}, high: {high}, band: {band})
                }}"
            );
            let found = run(&source, vec![x.clone()], &[]);
            close(band, &found, &[batch, channels, height, width], &expected);
        }
    }
}
