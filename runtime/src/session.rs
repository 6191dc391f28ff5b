//! A model on a device, behind an interface that is not generic: instantiations of backends stay in this crate.

use crate::bench;
use crate::error::RunError;
use crate::execute::{Mode, execute};
use crate::halves::Halves;
use crate::host::HostTensor;
use crate::init;
use crate::kernels::{Kernels, Tape};
use crate::module::{GraphModule, Slot};
use crate::plan::{Bindings, Plan, fits_dtype};
use crate::stages::{Known, Staged, Stages, Steps};
use crate::tensors::TensorFile;
use crate::value::Value;
use crate::weights::{self, PartWeights};
use archc_compiler::analysis::precision::Format;
use archc_compiler::analysis::stages::Stage;
use archc_compiler::dim::Sizes;
use archc_compiler::ir::{Graph, NodeId};
use archc_compiler::passes::{Optimized, SAMPLING};
use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where a model runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    #[default]
    Cpu,
    Cuda,
}

/// Where parameters come from.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a> {
    /// The initialisers of the spec, with this seed.
    Seed(u64),
    File(&'a TensorFile),
    /// Files of the parts that a graph is made of.
    Parts(&'a [PartWeights]),
    /// Tensors in memory by published name, which are those of this graph.
    Tensors(&'a BTreeMap<String, HostTensor>),
}

/// Whether the graph is optimised before it is evaluated. Gradients and values inside of it are those of the graph as
/// it is, in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Passes {
    #[default]
    All,
    None,
}

/// One run.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// In the order of the model's inputs.
    pub inputs: Vec<HostTensor>,
    /// Also give the gradients of the mean square of the main output.
    pub gradients: bool,
    /// Values to give besides the outputs.
    pub keep: Vec<NodeId>,
}

/// What a run gives.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// In the order of the model's outputs.
    pub outputs: Vec<HostTensor>,
    pub kept: BTreeMap<NodeId, HostTensor>,
    /// Mean square of the main output, where gradients were asked for.
    pub loss: Option<f32>,
    /// Gradients of trainable parameters by published name, in the published layout.
    pub parameter_gradients: Vec<(String, HostTensor)>,
    /// Gradients of inputs by index; labels have none.
    pub input_gradients: Vec<(usize, HostTensor)>,
    /// The forward pass alone.
    pub time: Duration,
}

/// A network that is asked about the same samples again and again.
pub trait Denoiser {
    /// The main output for noisy values, of the shape that was announced, and what the network is told of their noise.
    fn denoise(&mut self, noisy: &HostTensor, told: f32) -> Result<HostTensor, RunError>;
}

/// A model with its parameters on a device.
pub trait Session {
    /// Draws or uploads what has not been yet, so that a timed run is only a run.
    fn materialize(&self);

    fn run(&self, request: &Request) -> Result<Response, RunError>;

    /// What depends on conditions alone is computed here, and what depends on the time for many of the `times` at once.
    /// These are what the network will be told of the noise, step by step. Of `inputs`, noisy values and times only show
    /// their shapes.
    fn denoiser<'s>(&'s self, inputs: &[HostTensor], times: Vec<f32>) -> Result<Box<dyn Denoiser + 's>, RunError>;

    /// Times of `count` training steps. The session goes on with the parameters that they end with, and without what
    /// optimised the evaluation of those before them.
    fn training_steps(&mut self, inputs: &[HostTensor], count: usize) -> Result<Vec<Duration>, RunError>;

    /// What a large matrix product reaches on this device, in floating-point operations per second.
    fn matmul_ceiling(&self) -> f64;

    /// The elements of every parameter by published name, but for rounding where passes have folded what is done to it;
    /// none of a model in 16 bits.
    fn parameters(&self) -> Vec<(String, HostTensor)>;
}

/// Puts a model on a device, and optimises its evaluation.
pub fn open(graph: &Arc<Graph>, device: Device, source: Weights<'_>) -> Result<Box<dyn Session>, RunError> {
    open_with(graph, device, source, Passes::All)
}

/// Puts a model on a device.
pub fn open_with(
    graph: &Arc<Graph>,
    device: Device,
    source: Weights<'_>,
    passes: Passes,
) -> Result<Box<dyn Session>, RunError> {
    open_as(graph, device, source, passes, Format::F32)
}

/// Puts a model on a device, with products that compute in a format. In one of 16 bits it can only be evaluated.
pub fn open_as(
    graph: &Arc<Graph>,
    device: Device,
    source: Weights<'_>,
    passes: Passes,
    format: Format,
) -> Result<Box<dyn Session>, RunError> {
    match device {
        Device::Cpu => opened(Engine::<Flex>::new(graph, source, passes, Default::default())?, format),
        Device::Cuda => cuda(graph, source, passes, format),
    }
}

fn opened<B: Kernels + 'static>(engine: Engine<B>, format: Format) -> Result<Box<dyn Session>, RunError> {
    Ok(Box::new(if format == Format::F32 { engine } else { engine.halved(format) }))
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: &Arc<Graph>, _: Weights<'_>, _: Passes, _: Format) -> Result<Box<dyn Session>, RunError> {
    Err(without_cuda())
}

#[cfg(not(feature = "cuda"))]
pub(crate) fn without_cuda() -> RunError {
    RunError::Device("this archc was built without CUDA; build it with `--features cuda`".to_owned())
}

#[cfg(feature = "cuda")]
fn cuda(graph: &Arc<Graph>, source: Weights<'_>, passes: Passes, format: Format) -> Result<Box<dyn Session>, RunError> {
    crate::cuda::prepare()?;
    opened(Engine::<crate::kernels::Cuda>::new(graph, source, passes, Default::default())?, format)
}

struct Engine<B: Kernels> {
    plan: Plan,
    /// Parameters in f32; none where products compute in 16 bits.
    module: Option<GraphModule<B>>,
    /// What evaluates outputs alone; without it the graph as it is does.
    evaluation: Option<Evaluation<B>>,
    device: B::Device,
}

/// A graph with its parameters, which share the memory of those of the graph as it is.
struct Evaluation<B: Kernels> {
    optimized: Optimized,
    passes: Passes,
    plan: Plan,
    stages: Stages,
    module: GraphModule<B>,
    halves: Option<Halves>,
    constants: RefCell<Option<Constants<B>>>,
}

/// Values that depend on no input, for the sizes of the last run.
struct Constants<B: Kernels> {
    sizes: Sizes,
    values: Known<B>,
}

impl<B: Kernels> Engine<B> {
    fn new(graph: &Arc<Graph>, source: Weights<'_>, passes: Passes, device: B::Device) -> Result<Self, RunError> {
        let plan = Plan::new(graph.clone());
        if passes == Passes::None {
            let module = match source {
                Weights::Seed(seed) => GraphModule::init(graph, seed, &device),
                Weights::File(file) => GraphModule::load(graph, &device, weights::reader(graph, file)?)?,
                Weights::Parts(parts) => GraphModule::load(graph, &device, weights::reader_of_parts(graph, parts)?)?,
                Weights::Tensors(tensors) => GraphModule::load(graph, &device, |slot| in_memory(tensors, slot))?,
            };
            return Ok(Self { plan, module: Some(module), evaluation: None, device });
        }
        let optimized = Optimized::of(graph);
        let (module, joined) = match source {
            Weights::Seed(seed) => {
                let mut ids = graph.parameter_ids();
                GraphModule::load_both(graph, &optimized, &device, |_| {
                    let parameter = ids.next().map(|id| init::parameter(graph, graph.parameter(id), seed));
                    Ok::<_, RunError>(parameter.unwrap_or_default())
                })?
            }
            Weights::File(file) => GraphModule::load_both(graph, &optimized, &device, weights::reader(graph, file)?)?,
            Weights::Parts(parts) => {
                GraphModule::load_both(graph, &optimized, &device, weights::reader_of_parts(graph, parts)?)?
            }
            Weights::Tensors(tensors) => {
                GraphModule::load_both(graph, &optimized, &device, |slot| in_memory(tensors, slot))?
            }
        };
        let evaluation = Evaluation::new(optimized, joined, passes);
        Ok(Self { plan, module: Some(module), evaluation: Some(evaluation), device })
    }

    /// With products in a format of 16 bits. What is not needed for them is let go of.
    fn halved(self, format: Format) -> Self {
        let as_it_is = |module| Evaluation::new(Optimized::nothing((*self.plan.graph).clone()), module, Passes::None);
        let evaluation = self.evaluation.or_else(|| self.module.map(as_it_is));
        let evaluation = evaluation.map(|evaluation| evaluation.halved(format));
        Self { plan: self.plan, module: None, evaluation, device: self.device }
    }

    /// The parameters that gradients are of.
    fn module(&self) -> Result<&GraphModule<B>, RunError> {
        let only = "gradients, training and values inside of a model are computed in f32: leave out `--dtype`";
        self.module.as_ref().ok_or_else(|| RunError::Unsupported(only.to_owned()))
    }

    /// What gradients are taken of: the graph as it is, with what runs as one unless all passes are off.
    fn tracked(&self, keep: &[NodeId]) -> Plan {
        let plan = self.plan.clone();
        if self.evaluation.is_some() { plan.fused(|node| keep.contains(&node)) } else { plan }
    }

    fn check_inputs(&self, inputs: &[HostTensor]) -> Result<Bindings, RunError> {
        let graph = &self.plan.graph;
        let mut problems = vec![];
        if inputs.len() != graph.inputs.len() {
            problems.push(format!("{} inputs are needed, {} are given", graph.inputs.len(), inputs.len()));
        }
        for (input, tensor) in graph.inputs.iter().zip(inputs) {
            let ty = &graph.node(input.node).ty;
            if !fits_dtype(ty, tensor) {
                problems.push(format!("`{}` is {ty}: its elements have the wrong type", input.name));
            }
        }
        problems.extend(labels_out_of_range(graph, inputs));
        if !problems.is_empty() {
            return Err(RunError::Inputs { problems });
        }
        self.plan.bind(inputs)
    }
}

impl<B: Kernels> Denoiser for Steps<'_, B> {
    fn denoise(&mut self, noisy: &HostTensor, told: f32) -> Result<HostTensor, RunError> {
        let output = Steps::denoise(self, noisy, told);
        output.ok_or_else(|| RunError::Unsupported("the network has no output".to_owned()))
    }
}

impl<B: Kernels> Evaluation<B> {
    fn new(optimized: Optimized, module: GraphModule<B>, passes: Passes) -> Self {
        let plan = Plan::with_groups(Arc::new(optimized.graph.clone()), optimized.groups.clone());
        let stages = match passes {
            Passes::All => Stages::constants(&optimized.graph),
            Passes::None => Stages::one(&optimized.graph),
        };
        Self { optimized, passes, plan, stages, module, halves: None, constants: RefCell::default() }
    }

    fn halved(self, format: Format) -> Self {
        let Some(halves) = Halves::of(&self.plan.graph, format) else { return self };
        let module = halves.of_module(&self.plan.graph, self.module);
        Self { module, halves: Some(halves), ..self }
    }

    /// The graph for steps of a sampler. Its parameters and their order are those of the graph before it.
    fn steps(&self) -> (Plan, Stages, Option<Halves>) {
        if self.passes == Passes::None {
            return (self.plan.clone(), self.stages.clone(), self.halves.clone());
        }
        let optimized = self.optimized.after(&SAMPLING);
        let plan = Plan::with_groups(Arc::new(optimized.graph), optimized.groups);
        let stages = Stages::all(&plan.graph);
        let halves = self.halves.as_ref().and_then(|halves| Halves::of(&plan.graph, halves.format()));
        (plan, stages, halves)
    }

    /// Runs the graph, and computes what depends on no input only where the last run had other sizes.
    fn run(&self, inputs: Vec<Value<B>>, bindings: &Bindings, device: &B::Device) -> Vec<Value<B>> {
        let (plan, stages, module, halves) = (&self.plan, &self.stages, &self.module, self.halves.as_ref());
        let staged = Staged { plan, stages, module, halves, device };
        let mut constants = self.constants.borrow_mut();
        if constants.as_ref().is_none_or(|kept| kept.sizes != bindings.sizes) {
            let values = staged.run(Stage::Constant, Known::new(), bindings);
            *constants = Some(Constants { sizes: bindings.sizes.clone(), values });
        }
        let mut given = constants.as_ref().map(|kept| kept.values.clone()).unwrap_or_default();
        given.extend(self.plan.graph.inputs.iter().map(|input| input.node).zip(inputs));
        let made = staged.run(Stage::Step, given, bindings);
        let outputs = self.plan.graph.outputs.iter();
        outputs.filter_map(|output| made.get(&output.node).cloned()).collect()
    }
}

/// The elements of a parameter among tensors in memory.
pub(crate) fn in_memory(tensors: &BTreeMap<String, HostTensor>, slot: &Slot) -> Result<Vec<f32>, RunError> {
    let found = tensors.get(&slot.path).filter(|tensor| tensor.shape == slot.shape);
    found
        .map(HostTensor::to_f32)
        .ok_or_else(|| RunError::Unsupported(format!("there is no tensor for `{}`", slot.path)))
}

/// Labels that no row of the table they are looked up in belongs to.
fn labels_out_of_range(graph: &Graph, inputs: &[HostTensor]) -> Vec<String> {
    let mut problems = vec![];
    for (input, tensor) in graph.inputs.iter().zip(inputs) {
        let crate::host::HostData::I64(labels) = &tensor.data else { continue };
        let Some(classes) = largest_class(graph, input.node) else { continue };
        if let Some(label) = labels.iter().find(|label| **label < 0 || **label >= classes) {
            problems.push(format!("`{}` holds the label {label}; there are {classes} classes", input.name));
        }
    }
    problems
}

/// How many classes labels may name: those of the input, and a null class that the model adds.
fn largest_class(graph: &Graph, node: NodeId) -> Option<i64> {
    let own = init::classes(&graph.node(node).ty)?.known()?;
    let added = graph.users(node).filter_map(|(user, _)| largest_class(graph, user)).max();
    Some(added.unwrap_or(0).max(i64::try_from(own).ok()?))
}

impl<B: Kernels> Session for Engine<B> {
    fn materialize(&self) {
        // What evaluates is there from the start.
        if let (Some(module), None) = (&self.module, &self.evaluation) {
            module.materialize();
        }
    }

    fn run(&self, request: &Request) -> Result<Response, RunError> {
        let bindings = self.check_inputs(&request.inputs)?;
        if request.gradients {
            return Ok(differentiate::<Autodiff<B>>(self, self.module()?, request, &bindings));
        }
        let inputs = request.inputs.iter().map(|input| Value::<B>::from_host(input, &self.device)).collect();
        let mut response = Response::default();
        let start = Instant::now();
        let watch = |node: NodeId, value: &Value<B>| {
            if request.keep.contains(&node) {
                response.kept.insert(node, value.to_host());
            }
        };
        let outputs = match &self.evaluation {
            Some(evaluation) if request.keep.is_empty() => evaluation.run(inputs, &bindings, &self.device),
            _ => execute(&self.plan, self.module()?, inputs, &bindings, Mode::Evaluation, &self.device, watch),
        };
        // Reading the outputs waits for the device.
        response.outputs = outputs.iter().map(Value::to_host).collect();
        response.time = start.elapsed();
        Ok(response)
    }

    fn denoiser<'s>(&'s self, inputs: &[HostTensor], times: Vec<f32>) -> Result<Box<dyn Denoiser + 's>, RunError> {
        let bindings = self.check_inputs(inputs)?;
        let (staged, module) = match &self.evaluation {
            Some(evaluation) => (evaluation.steps(), &evaluation.module),
            None => ((self.plan.clone(), Stages::one(&self.plan.graph), None), self.module()?),
        };
        let Some(noisy) = staged.0.graph.noisy_input() else {
            return Err(RunError::Unsupported(format!("{} has no input that is noisy", self.plan.graph.name())));
        };
        Ok(Box::new(Steps::new(staged, (module, &self.device), noisy, inputs, bindings, times)))
    }

    fn training_steps(&mut self, inputs: &[HostTensor], count: usize) -> Result<Vec<Duration>, RunError> {
        use burn::module::AutodiffModule;
        let bindings = self.check_inputs(inputs)?;
        self.module()?;
        let plan = self.tracked(&[]);
        self.evaluation = None;
        // Nothing else holds the parameters, so that updates write over them.
        let Some(module) = self.module.take() else { return Ok(vec![]) };
        let module = GraphModule::<Autodiff<B>>::from_inner(module);
        let (times, module) = bench::training_steps(&plan, module, inputs, &bindings, &self.device, count);
        self.module = Some(module.valid());
        Ok(times)
    }

    fn matmul_ceiling(&self) -> f64 {
        bench::matmul_ceiling::<B>(&self.device)
    }

    fn parameters(&self) -> Vec<(String, HostTensor)> {
        let tensor = |(slot, data): (&Slot, Vec<f32>)| (slot.path.clone(), HostTensor::f32(slot.shape.clone(), data));
        self.module.iter().flat_map(GraphModule::published).map(tensor).collect()
    }
}

/// A run on a tape.
fn differentiate<A: Tape>(
    engine: &Engine<A::InnerBackend>,
    module: &GraphModule<A::InnerBackend>,
    request: &Request,
    bindings: &Bindings,
) -> Response {
    use burn::module::AutodiffModule;
    let module = GraphModule::<A>::from_inner(module.clone());
    let device: A::Device = engine.device.clone();
    let mut tracked: Vec<(usize, Tensor<A, 1>)> = vec![];
    let inputs: Vec<Value<A>> = request
        .inputs
        .iter()
        .enumerate()
        .map(|(at, input)| match Value::<A>::from_host(input, &device) {
            // The tape follows a flat leaf, which has one rank for all inputs.
            value @ Value::Float(_) => {
                let leaf: Tensor<A, 1> = value.reshape([input.len()]).detach().require_grad();
                tracked.push((at, leaf.clone()));
                let mut shape = input.shape.clone();
                if shape.is_empty() {
                    shape.push(1);
                }
                let primitive = leaf.into_primitive().tensor();
                Value::Float(A::float_reshape(primitive, burn::tensor::Shape::from(shape)))
            }
            labels => labels,
        })
        .collect();
    let mut response = Response::default();
    let start = Instant::now();
    let watch = |node: NodeId, value: &Value<A>| {
        if request.keep.contains(&node) {
            response.kept.insert(node, value.to_host());
        }
    };
    let plan = engine.tracked(&request.keep);
    let outputs = execute(&plan, &module, inputs, bindings, Mode::Evaluation, &device, watch);
    response.outputs = outputs.iter().map(Value::to_host).collect();
    response.time = start.elapsed();
    let Some(main) = outputs.into_iter().next() else { return response };
    let count = main.shape().iter().product();
    let flat: Tensor<A, 1> = main.reshape([count]);
    let loss = (flat.clone() * flat).mean();
    response.loss = loss.clone().into_data().convert::<f32>().to_vec().ok().and_then(|v: Vec<f32>| v.first().copied());
    let gradients = loss.backward();
    response.parameter_gradients = module
        .gradients(&gradients)
        .into_iter()
        .map(|(name, shape, data)| (name, HostTensor::f32(shape, data)))
        .collect();
    for (at, leaf) in tracked {
        let shape = request.inputs.get(at).map(|input| input.shape.clone()).unwrap_or_default();
        let gradient = leaf.grad(&gradients).map(|gradient| Value::<A::InnerBackend>::of(gradient).to_host().to_f32());
        let data = gradient.unwrap_or_else(|| vec![0.0; shape.iter().product()]);
        response.input_gradients.push((at, HostTensor::f32(shape, data)));
    }
    response
}
