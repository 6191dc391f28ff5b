//! Measuring when parameters first move: the step of gradient descent at which each first has a gradient.
//!
//! The loss is the squared distance to a random target, another one at every step. Sums that cancel are not exactly zero in
//! floating point, so everything is in f64, and a gradient counts only if it stays the same when inputs, targets and
//! parameters are nudged: what rounding leaves of zero does not.

use crate::error::RunError;
use crate::execute::{Mode, Unobserved, execute};
use crate::host::HostTensor;
use crate::init;
use crate::module::GraphModule;
use crate::plan::{Bindings, Plan};
use crate::value::Value;
use archc_compiler::analysis::liveness::{Liveness, Wake};
use archc_compiler::ir::{Graph, ParameterId};
use archc_compiler::types::Kind;
use burn::backend::flex::FlexDevice;
use burn::backend::{Autodiff, Flex};
use burn::module::{AutodiffModule, Module, ModuleMapper, Param};
use burn::tensor::backend::ops::FloatTensorOps;
use burn::tensor::{DType, Distribution, Shape, Tensor, set_default_dtypes};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

type Tape = Autodiff<Flex>;

/// About how far a parameter moves in a step.
const RATE: f32 = 0.03;
/// Larger weights than those of the spec keep effects of high order clear of rounding.
const GAIN: f32 = 2.5;
/// How far inputs, targets and parameters are nudged, relative to their size.
const NUDGE: f64 = 1e-11;
/// A gradient that changes by more than this under a nudge is rounding.
const UNSTABLE: f32 = 1e-4;

/// When a parameter was predicted to move first, and when it did.
#[derive(Clone, Copy, Debug)]
pub struct Awakening {
    pub parameter: ParameterId,
    pub predicted: Wake,
    /// The step, if it was among those that were made.
    pub measured: Option<u32>,
}

impl Awakening {
    /// Whether what was measured in so many steps is what was predicted.
    pub fn holds(&self, steps: u32) -> bool {
        match self.predicted {
            Wake::Step(step) => self.measured == Some(step) || step > steps && self.measured.is_none(),
            Wake::Never(_) | Wake::Frozen => self.measured.is_none(),
        }
    }
}

/// Trains for some steps on the CPU, for all parameters in the order of the graph.
///
/// # Errors
///
/// Tensors have been made in another precision in this process; training diverges.
pub fn measure(graph: &Arc<Graph>, seed: u64, batch: usize, steps: u32) -> Result<Vec<Awakening>, RunError> {
    let liveness = Liveness::of(graph);
    let first = first_steps(graph, seed, batch, steps)?;
    let of = |id: ParameterId| Awakening {
        parameter: id,
        predicted: liveness.wake(id),
        measured: first.get(&*graph.parameter(id).path).copied(),
    };
    Ok(graph.parameter_ids().map(of).collect())
}

/// The CPU with f64 as its dtype, so that what is small and what is zero can be told apart.
fn double_precision() -> Result<FlexDevice, RunError> {
    static SET: OnceLock<Result<(), String>> = OnceLock::new();
    let set = || set_default_dtypes::<Flex>(&FlexDevice, DType::F64, DType::I64).map_err(|error| error.to_string());
    match SET.get_or_init(set) {
        Ok(()) => Ok(FlexDevice),
        Err(reason) => Err(RunError::Device(format!("the CPU does not compute in f64 here: {reason}"))),
    }
}

type Gradients = Vec<(String, Vec<f32>)>;

/// A network with the data it is trained on.
struct Training {
    plan: Plan,
    device: FlexDevice,
    bindings: Bindings,
    inputs: Vec<HostTensor>,
    seed: u64,
}

impl Training {
    fn new(graph: &Arc<Graph>, seed: u64, batch: usize) -> Result<Self, RunError> {
        let plan = Plan::new(graph.clone());
        let bindings = Bindings { batch, sizes: graph.typical.clone() };
        let draw = |input: &archc_compiler::ir::Input| {
            let ty = &graph.node(input.node).ty;
            init::input(ty.kind, init::classes(ty), plan.shape_of(ty, &bindings), seed, &input.name)
        };
        let inputs = graph.inputs.iter().map(draw).collect();
        Ok(Self { plan, device: double_precision()?, bindings, inputs, seed })
    }

    /// Gradients of the squared distance to a random target, which is another one at every step.
    fn gradients(&self, module: &GraphModule<Flex>, step: u32, nudge: f64) -> Gradients {
        let mut scale = Nudge { rng: init::stream(self.seed, "nudge"), size: nudge };
        let tape = GraphModule::<Tape>::from_inner(module.clone().map(&mut scale));
        let values = self.inputs.iter().map(|input| nudged(Value::from_host(input, &self.device), nudge)).collect();
        let output = execute(&self.plan, &tape, values, &self.bindings, Mode::Evaluation, &self.device, Unobserved);
        let Some(output) = output.into_iter().next() else { return vec![] };
        let count = output.shape().iter().product();
        let output: Tensor<Tape, 1> = output.reshape([count]);
        let target = init::input(Kind::Scalar, None, vec![count], self.seed, &format!("target.{step}"));
        let error = output - nudged(Value::from_host(&target, &self.device), nudge).reshape([count]);
        let gradients = tape.gradients(&(error.clone() * error).mean().backward());
        gradients.into_iter().map(|(name, _, data)| (name, data)).collect()
    }
}

/// Scales every parameter by a number close to one, which keeps what is zero and what is uniform as it is.
struct Nudge {
    rng: ChaCha8Rng,
    size: f64,
}

impl ModuleMapper<Flex> for Nudge {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<Flex, D>>) -> Param<Tensor<Flex, D>> {
        let factor = 1.0 + self.size * self.rng.random_range(-1.0..1.0);
        parameter.map(|tensor| tensor * factor)
    }
}

fn nudged(value: Value<Tape>, nudge: f64) -> Value<Tape> {
    let shape = value.shape();
    if matches!(value, Value::Int(_)) || nudge == 0.0 {
        return value;
    }
    let flat: Tensor<Tape, 1> = value.reshape([shape.iter().product()]);
    let factor = Tensor::random_like(&flat, Distribution::Uniform(1.0 - nudge.abs(), 1.0 + nudge.abs()));
    Value::Float(Tape::float_reshape((flat * factor).into_primitive().tensor(), Shape::from(shape)))
}

fn largest(data: &[f32]) -> f32 {
    data.iter().fold(0.0, |most, value| most.max(value.abs()))
}

/// The first step at which each parameter has a gradient.
fn first_steps(graph: &Arc<Graph>, seed: u64, batch: usize, steps: u32) -> Result<BTreeMap<String, u32>, RunError> {
    let training = Training::new(graph, seed, batch)?;
    let mut starts: BTreeMap<&str, Vec<f32>> =
        graph.parameters.iter().map(|parameter| (&*parameter.path, init::parameter(graph, parameter, seed))).collect();
    let mut module = GraphModule::load(graph, &training.device, |slot| {
        let mut start = starts.remove(&*slot.path).unwrap_or_default();
        if slot.path.ends_with("weight") {
            start.iter_mut().for_each(|value| *value *= GAIN);
        }
        Ok::<_, Infallible>(start)
    })
    .unwrap_or_else(|never| match never {});
    let mut first: BTreeMap<String, u32> = BTreeMap::new();
    for step in 1..=steps {
        let gradients = training.gradients(&module, step, 0.0);
        let again: [BTreeMap<String, Vec<f32>>; 2] =
            [NUDGE, -NUDGE].map(|nudge| training.gradients(&module, step, nudge).into_iter().collect());
        let mut moves: BTreeMap<String, Vec<f32>> = BTreeMap::new();
        for (name, gradient) in gradients {
            let size = largest(&gradient);
            if !size.is_finite() {
                return Err(RunError::NotFinite { step: step.into(), what: "the gradient", place: name });
            }
            let is_stable = again.iter().all(|again| {
                let change: Vec<f32> = gradient
                    .iter()
                    .zip(again.get(&name).into_iter().flatten())
                    .map(|(one, other)| one - other)
                    .collect();
                largest(&change) < UNSTABLE * size
            });
            if size > 0.0 && is_stable {
                first.entry(name.clone()).or_insert(step);
                moves.insert(name, gradient.into_iter().map(|value| value / size).collect());
            }
        }
        // Every parameter that has a gradient moves by about the same amount, so that no step is lost in rounding;
        // one that has none but for rounding does not move. The amounts are drawn, so that no step undoes another
        // and no two parameters move in lockstep.
        let mut rates = init::stream(seed, &format!("rate.{step}"));
        let mut values: BTreeMap<String, Vec<f32>> =
            module.published().map(|(slot, data)| (slot.path.clone(), data)).collect();
        module = GraphModule::load(graph, &training.device, |slot| {
            let mut data = values.remove(&slot.path).unwrap_or_default();
            let rate = RATE * rates.random_range(0.5..2.0);
            if let Some(direction) = moves.get(&slot.path) {
                data.iter_mut().zip(direction).for_each(|(value, direction)| *value -= rate * direction);
            }
            Ok::<_, Infallible>(data)
        })
        .unwrap_or_else(|never| match never {});
    }
    Ok(first)
}
