//! A model in training on a device.

use super::batch::Batch;
use super::devices::Devices;
use super::loss::{loss, number};
use super::observe::{Fitted, Kept, Watch};
use super::perceptual::{Perceptual, Sight};
use super::recipe::{Precision, Recipe};
use super::rounding::{Rounding, cast};
use super::segments::Segments;
use crate::adamw::AdamW;
use crate::constraint::force_weight_normalization;
use crate::error::RunError;
use crate::execute::{Mode, Run, Values};
use crate::host::HostTensor;
use crate::interface::Interface;
use crate::kernels::adamw::AdamWKernel;
use crate::kernels::{Kernels, Tape};
use crate::module::{AnyParam, GraphModule, Slot, slots};
use crate::plan::{Bindings, Plan};
use crate::session::Device;
use crate::value::Value;
use archc_compiler::ir::{Graph, NodeId, ScopeId};
use archc_compiler::ops::Op;
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::ops::FloatTensorOps;
use burn::tensor::{FloatDType, Shape, Tensor, TensorData};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// What an update was like.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Updates so far, this one included.
    pub step: u64,
    /// Mean over the passes.
    pub loss: f64,
    /// Norm of all gradients together, before clipping.
    pub gradient_norm: f64,
    /// The learning rate.
    pub rate: f64,
    /// Where blocks are measured at this update.
    pub blocks: Vec<BlockMoments>,
}

/// Second moments at the end of a block.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockMoments {
    pub scope: ScopeId,
    pub node: NodeId,
    /// Mean square of the value.
    pub activation: f64,
    /// Mean square of the gradient of the loss there.
    pub gradient: f64,
}

/// A model in training, behind an interface that is not generic.
pub trait Trainer {
    /// Updates made so far.
    fn step(&self) -> u64;

    /// One update from the gradients of some passes. `measure` asks for the moments of blocks.
    fn update(&mut self, batches: &[Batch], measure: bool) -> Result<Report, RunError>;

    /// Parameters by published name.
    fn parameters(&self) -> BTreeMap<String, HostTensor>;

    /// Averages of parameters by published name.
    fn averages(&self) -> BTreeMap<String, HostTensor>;

    /// Everything that training goes on from.
    fn state(&self) -> BTreeMap<String, HostTensor>;

    /// Goes on from a state after so many updates.
    fn restore(&mut self, step: u64, state: &BTreeMap<String, HostTensor>) -> Result<(), RunError>;
}

/// A model as its spec initialises it, ready to be trained.
pub fn open(
    graph: &Arc<Graph>,
    recipe: &Recipe,
    perceptual: Option<&Perceptual>,
    devices: &Devices,
) -> Result<Box<dyn Trainer>, RunError> {
    recipe.validate()?;
    devices.validate(recipe)?;
    match devices.kind {
        Device::Cpu => Ok(Box::new(Learner::<Autodiff<Flex>>::new(graph, recipe, perceptual, Default::default())?)),
        Device::Cuda => super::cuda::open(graph, recipe, perceptual, &devices.numbers),
    }
}

/// Tensors that training goes on from, for each parameter.
const STATE: [&str; 4] = ["weights", "average", "first", "second"];

/// Flat tensors of the device without a tape.
type Flat<A> = Tensor<<A as AutodiffBackend>::InnerBackend, 1>;

/// Gradients of the parameters that have one, in the order of the slots, flat, in the layout of the module.
pub(super) type Gradients<A> = Vec<Option<Flat<A>>>;

pub(super) struct Learner<A: Tape> {
    plan: Plan,
    interface: Interface,
    recipe: Recipe,
    rounding: Rounding,
    /// What errors are measured with, if it is not their square alone.
    sight: Option<Sight<A>>,
    slots: Arc<Vec<Slot>>,
    segments: Segments,
    /// Last values of the blocks that can be measured.
    ends: BTreeMap<NodeId, ScopeId>,
    device: A::Device,
    step: u64,
    /// In the order of the slots, flat, in the layout of the module.
    values: Vec<Flat<A>>,
    averages: Vec<Flat<A>>,
    /// Mean and mean square of the gradient of each that has had one.
    moments: Vec<Option<[Flat<A>; 2]>>,
}

/// Gradients of one pass.
struct Pass<A: AutodiffBackend> {
    loss: f64,
    gradients: Gradients<A>,
    activations: BTreeMap<NodeId, Flat<A>>,
    at_ends: BTreeMap<NodeId, Flat<A>>,
}

impl<A: Tape> Learner<A> {
    pub fn new(
        graph: &Arc<Graph>,
        recipe: &Recipe,
        perceptual: Option<&Perceptual>,
        device: A::Device,
    ) -> Result<Self, RunError> {
        let interface = Interface::of(graph)?;
        let (ends, plan) = (ends(graph), Plan::new(graph.clone()));
        // Where everything is rounded, so is what lies between the two.
        let plan = match recipe.precision {
            Precision::F32 | Precision::Bf16 => plan.fused(|node| ends.contains_key(&node)),
            Precision::Throughout(_) | Precision::Islands(_) => plan,
        };
        let segments = Segments::of(&plan, recipe.segments);
        let mut own = Self {
            interface,
            segments,
            ends,
            rounding: Rounding::of(graph, recipe.precision),
            slots: Arc::new(slots(graph)),
            recipe: recipe.clone(),
            sight: perceptual.map(|own| Sight::new(own, recipe.batch, &device)).transpose()?,
            device,
            step: 0,
            values: vec![],
            averages: vec![],
            moments: vec![],
            plan,
        };
        let module = GraphModule::<A::InnerBackend>::init(graph, recipe.seed, &own.device);
        own.values = module.parameters.iter().map(flat).collect();
        own.averages = own.values.clone();
        own.moments = own.values.iter().map(|_| None).collect();
        Ok(own)
    }

    /// The parameters of some nodes on the tape, the others beside it; and their flat leaves.
    fn module(&self, nodes: &Range<usize>) -> (GraphModule<A>, Vec<Option<Tensor<A, 1>>>) {
        let graph = &*self.plan.graph;
        let mut leaves = Vec::with_capacity(self.slots.len());
        let mut parameters = Vec::with_capacity(self.slots.len());
        for ((slot, value), id) in self.slots.iter().zip(&self.values).zip(graph.parameter_ids()) {
            let node = graph.parameter(id).node;
            let mut leaf = Tensor::<A, 1>::from_inner(value.clone());
            let is_trained = slot.trainable && nodes.contains(&node.index());
            if is_trained {
                leaf = leaf.require_grad();
            }
            let primitive = leaf.clone().into_primitive().tensor();
            let shaped = A::float_reshape(primitive, Shape::from(slot.stored_shape()));
            let shaped = self.rounding.fitted::<A>(shaped, node);
            parameters.push(AnyParam::as_is(slot.id(), shaped));
            leaves.push(is_trained.then_some(leaf));
        }
        (GraphModule { slots: self.slots.clone(), parameters }, leaves)
    }

    fn mode(&self, batch: &Batch) -> Mode {
        Mode::Training { seed: self.recipe.seed, step: batch.number }
    }

    /// The gradients of a batch, segment by segment: the values between segments are computed without a tape, then each
    /// segment is run again on one, the last first. With a single segment nothing is run twice.
    fn pass(&self, batch: &Batch, bindings: &Bindings, measure: bool) -> Pass<A> {
        let graph = &*self.plan.graph;
        let kept = self.between_segments(batch, bindings);
        let nothing = BTreeMap::new();
        let ends = if measure { &self.ends } else { &nothing };
        let mut pass = Pass {
            loss: f64::NAN,
            gradients: self.slots.iter().map(|_| None).collect(),
            activations: BTreeMap::new(),
            at_ends: BTreeMap::new(),
        };
        // Gradients of values that later segments were given.
        let mut wanted: BTreeMap<NodeId, Flat<A>> = BTreeMap::new();
        let output = graph.outputs.first().map(|output| output.node);
        for (nodes, given) in self.segments.ranges().iter().zip(kept).rev() {
            let (module, leaves) = self.module(nodes);
            let (mut values, inputs) = self.on_tape(given);
            let mut watch = Watch::<A>::new(&self.rounding, ends);
            let run = Run { plan: &self.plan, module: &module, bindings, mode: self.mode(batch), device: &self.device };
            let outlives = |node: NodeId| self.plan.is_used_from(node, nodes.end);
            let mut made = Kept { watch: &mut watch, outlives: &outlives, values: BTreeMap::new() };
            run.nodes(nodes.clone(), &mut values, &mut made);
            let mut made = made.values;
            let mut sum: Option<Tensor<A, 1>> = None;
            if let Some(value) = output.filter(|node| nodes.contains(&node.index())).and_then(|node| made.remove(&node))
            {
                let own = loss(full(value), graph, &self.interface, self.sight.as_ref(), batch, &self.device);
                pass.loss = number(own.clone().inner());
                sum = Some(own);
            }
            for (node, value) in made {
                let Some(gradient) = wanted.remove(&node) else { continue };
                let product = (flat_value(full(value)) * Tensor::from_inner(gradient)).sum();
                sum = Some(match sum {
                    Some(sum) => sum + product,
                    None => product,
                });
            }
            let Some(sum) = sum else { continue };
            let gradients = sum.backward();
            for (node, leaf) in inputs {
                if let Some(gradient) = leaf.grad(&gradients) {
                    add(&mut wanted, node, gradient);
                }
            }
            for (node, leaf) in &watch.leaves {
                if let Some(gradient) = leaf.grad(&gradients) {
                    add(&mut pass.at_ends, *node, gradient);
                }
            }
            pass.activations.append(&mut watch.activations);
            for (slot, leaf) in pass.gradients.iter_mut().zip(leaves) {
                if let Some(gradient) = leaf.and_then(|leaf| leaf.grad(&gradients)) {
                    *slot = Some(gradient);
                }
            }
        }
        pass
    }

    /// What each segment is given, computed without a tape.
    fn between_segments(&self, batch: &Batch, bindings: &Bindings) -> Vec<BTreeMap<NodeId, Value<A::InnerBackend>>> {
        let inputs: Vec<Value<A::InnerBackend>> =
            batch.inputs.iter().map(|input| Value::from_host(input, &self.device)).collect();
        let mut values = Values::of(&self.plan, inputs);
        let ranges = self.segments.ranges();
        let collect = |values: &Values<A::InnerBackend>, nodes: &Range<usize>| {
            let given = self.segments.given(&self.plan, nodes).into_iter();
            given.filter_map(|node| Some((node, values.0.get(node.index()).cloned().flatten()?))).collect()
        };
        let mut kept = vec![];
        let module = (ranges.len() > 1).then(|| self.plain_module());
        for (at, nodes) in ranges.iter().enumerate() {
            kept.push(collect(&values, nodes));
            if let Some(module) = module.as_ref().filter(|_| at + 1 < ranges.len()) {
                let run = Run { plan: &self.plan, module, bindings, mode: self.mode(batch), device: &self.device };
                run.nodes(nodes.clone(), &mut values, &mut Fitted(&self.rounding));
            }
        }
        kept
    }

    /// The parameters without a tape.
    fn plain_module(&self) -> GraphModule<A::InnerBackend> {
        let graph = &*self.plan.graph;
        let param = |((slot, value), id): ((&Slot, &Flat<A>), archc_compiler::ir::ParameterId)| {
            let primitive = value.clone().into_primitive().tensor();
            let shaped = A::InnerBackend::float_reshape(primitive, Shape::from(slot.stored_shape()));
            let shaped = self.rounding.fitted::<A::InnerBackend>(shaped, graph.parameter(id).node);
            AnyParam::as_is(slot.id(), shaped)
        };
        let parameters = self.slots.iter().zip(&self.values).zip(graph.parameter_ids()).map(param).collect();
        GraphModule { slots: self.slots.clone(), parameters }
    }

    /// Values on a tape of their own, and the flat leaves that their gradients are found by.
    fn on_tape(&self, given: BTreeMap<NodeId, Value<A::InnerBackend>>) -> (Values<A>, Vec<(NodeId, Tensor<A, 1>)>) {
        let mut values = Values::of(&self.plan, vec![]);
        let mut leaves = vec![];
        for (node, value) in given {
            let is_input = self.plan.graph.inputs.iter().any(|input| input.node == node);
            let own = match value {
                Value::Int(labels) => Value::Int(A::int_from_inner(labels)),
                Value::Float(primitive) if is_input => Value::Float(A::from_inner(primitive)),
                value @ Value::Float(_) => {
                    let shape = value.shape();
                    let leaf = Tensor::<A, 1>::from_inner(flat_value(value)).require_grad();
                    leaves.push((node, leaf.clone()));
                    Value::Float(A::float_reshape(leaf.into_primitive().tensor(), Shape::from(shape)))
                }
            };
            if let Some(slot) = values.0.get_mut(node.index()) {
                *slot = Some(own);
            }
        }
        (values, leaves)
    }

    /// The norm of all gradients together.
    fn norm(gradients: &[Option<Flat<A>>]) -> f64 {
        let squares: Vec<Flat<A>> =
            gradients.iter().flatten().map(|gradient| (gradient.clone() * gradient.clone()).sum()).collect();
        if squares.is_empty() {
            return 0.0;
        }
        // One transfer for all.
        let squares = Tensor::cat(squares, 0).into_data().convert::<f32>().to_vec::<f32>().unwrap_or_default();
        squares.into_iter().map(f64::from).sum::<f64>().sqrt()
    }

    /// The sums of the gradients of some passes, each of which is a `share` of an update, with the part of its report that
    /// is known before the step.
    pub fn gradients(&self, batches: &[Batch], share: f64, measure: bool) -> Result<(Report, Gradients<A>), RunError> {
        let mut report = Report { step: self.step + 1, rate: self.recipe.rate_at(self.step), ..Report::default() };
        let mut sums: Gradients<A> = self.slots.iter().map(|_| None).collect();
        for batch in batches {
            let bindings = self.plan.bind(&batch.inputs)?;
            let measured = measure && batch.number == batches.first().map_or(0, |first| first.number);
            let pass = self.pass(batch, &bindings, measured);
            report.loss += pass.loss * share;
            if !pass.loss.is_finite() || !Self::norm(&pass.gradients).is_finite() {
                let (what, place) = self.culprit(batch, &bindings, &pass.gradients);
                return Err(RunError::NotFinite { step: report.step, what, place });
            }
            for (sum, gradient) in sums.iter_mut().zip(pass.gradients) {
                *sum = match (sum.take(), gradient) {
                    (Some(sum), Some(gradient)) => Some(sum + gradient),
                    (sum, gradient) => sum.or(gradient),
                };
            }
            for (node, activation) in pass.activations {
                let Some(scope) = self.ends.get(&node).copied() else { continue };
                let gradient = pass.at_ends.get(&node).map_or(0.0, |gradient| {
                    let mean = (gradient.clone() * gradient.clone()).mean();
                    number(mean)
                });
                report.blocks.push(BlockMoments { scope, node, activation: number(activation), gradient });
            }
        }
        Ok((report, sums))
    }

    /// Takes the step that the sums over all passes ask for, and completes the report.
    pub fn advance(&mut self, mut report: Report, sums: Gradients<A>, share: f64) -> Report {
        report.gradient_norm = Self::norm(&sums) * share;
        let clipped = self.recipe.clip.map_or(1.0, |most| (most / (report.gradient_norm + 1e-6)).min(1.0));
        self.apply(sums, share * clipped);
        report
    }

    /// AdamW on every parameter that has a gradient, then the averages.
    fn apply(&mut self, gradients: Gradients<A>, scale: f64) {
        let rate = self.recipe.rate_at(self.step);
        let (beta1, beta2) = self.recipe.betas;
        let optimizer = AdamW { beta1, beta2, eps: self.recipe.epsilon, weight_decay: self.recipe.weight_decay };
        for (at, gradient) in gradients.into_iter().enumerate() {
            let (Some(gradient), Some(value), Some(moments), Some(slot)) =
                (gradient, self.values.get_mut(at), self.moments.get_mut(at), self.slots.get(at))
            else {
                continue;
            };
            let gradient = if scale == 1.0 { gradient } else { gradient.mul_scalar(scale) };
            let [mean, square] = moments.take().unwrap_or_else(|| [gradient.zeros_like(), gradient.zeros_like()]);
            let update = optimizer.update(self.step + 1, rate, is_decayed(&self.plan.graph, at, slot));
            let moving = [value.clone(), mean, square].map(primitive);
            let [new, mean, square] = A::InnerBackend::adamw(update, moving, primitive(gradient)).map(tensor);
            *value = new;
            *moments = Some([mean, square]);
        }
        if forces_weights(&self.plan.graph) {
            let forced = force_weight_normalization(&self.plan.graph, self.plain_module_f32());
            self.values = forced.parameters.iter().map(flat).collect();
        }
        let decay = self.recipe.ema_at(self.step);
        for (average, value) in self.averages.iter_mut().zip(&self.values) {
            *average = average.clone().mul_scalar(decay) + value.clone().mul_scalar(1.0 - decay);
        }
        self.step += 1;
    }

    fn plain_module_f32(&self) -> GraphModule<A::InnerBackend> {
        let param = |(slot, value): (&Slot, &Flat<A>)| {
            let primitive = value.clone().into_primitive().tensor();
            AnyParam::as_is(slot.id(), A::InnerBackend::float_reshape(primitive, Shape::from(slot.stored_shape())))
        };
        let parameters = self.slots.iter().zip(&self.values).map(param).collect();
        GraphModule { slots: self.slots.clone(), parameters }
    }

    /// Which value of a pass is the first that is not finite; or else, which gradient on the way back.
    fn culprit(&self, batch: &Batch, bindings: &Bindings, gradients: &[Option<Flat<A>>]) -> (&'static str, String) {
        let graph = &*self.plan.graph;
        let inputs = batch.inputs.iter().map(|input| Value::from_host(input, &self.device)).collect();
        let mut values = Values::of(&self.plan, inputs);
        let module = self.plain_module();
        let run = Run { plan: &self.plan, module: &module, bindings, mode: self.mode(batch), device: &self.device };
        let mut fitted = Fitted(&self.rounding);
        for at in 0..graph.node_count() {
            run.nodes(at..at + 1, &mut values, &mut fitted);
            let value = values.0.get(at).and_then(Option::as_ref);
            if value.is_some_and(|value| matches!(value, Value::Float(_)) && !is_finite(value)) {
                return ("a value", in_block(graph, NodeId(at as u32)));
            }
        }
        let broken = |gradient: &Flat<A>| !is_finite(&Value::<A::InnerBackend>::of(gradient.clone()));
        // Gradients come from the end, so the last parameter is the first that is hit.
        let found = graph.parameters.iter().zip(gradients);
        let found =
            found.filter(|(_, gradient)| gradient.as_ref().is_some_and(&broken)).map(|(parameter, _)| parameter);
        match found.max_by_key(|parameter| parameter.node) {
            Some(parameter) => ("a gradient", format!("`{}` in {}", parameter.path, in_block(graph, parameter.node))),
            None => ("the loss", "the loss itself".to_owned()),
        }
    }

    /// A flat tensor of a slot as a file has it.
    fn published(slot: &Slot, flat: &Flat<A>) -> HostTensor {
        let data = Value::<A::InnerBackend>::of(flat.clone()).to_host().into_f32();
        HostTensor::f32(slot.shape.clone(), slot.to_published(data))
    }

    fn named(&self, tensors: &[Flat<A>]) -> BTreeMap<String, HostTensor> {
        let pairs = self.slots.iter().zip(tensors);
        pairs.map(|(slot, flat)| (slot.path.clone(), Self::published(slot, flat))).collect()
    }
}

impl<A: Tape> Trainer for Learner<A> {
    fn step(&self) -> u64 {
        self.step
    }

    fn update(&mut self, batches: &[Batch], measure: bool) -> Result<Report, RunError> {
        let share = 1.0 / batches.len().max(1) as f64;
        let (report, sums) = self.gradients(batches, share, measure)?;
        Ok(self.advance(report, sums, share))
    }

    fn parameters(&self) -> BTreeMap<String, HostTensor> {
        self.named(&self.values)
    }

    fn averages(&self) -> BTreeMap<String, HostTensor> {
        self.named(&self.averages)
    }

    fn state(&self) -> BTreeMap<String, HostTensor> {
        let mut state = BTreeMap::new();
        for (at, slot) in self.slots.iter().enumerate() {
            let moments = self.moments.get(at).and_then(Option::as_ref);
            let tensors = [
                self.values.get(at),
                self.averages.get(at),
                moments.map(|[mean, _]| mean),
                moments.map(|[_, square]| square),
            ];
            for (kind, tensor) in STATE.iter().zip(tensors) {
                if let Some(tensor) = tensor {
                    state.insert(format!("{kind}.{}", slot.path), Self::published(slot, tensor));
                }
            }
        }
        state
    }

    fn restore(&mut self, step: u64, state: &BTreeMap<String, HostTensor>) -> Result<(), RunError> {
        let mut found: Vec<[Option<Flat<A>>; 4]> = vec![];
        for slot in self.slots.iter() {
            let read = |kind: &str| {
                let tensor = state.get(&format!("{kind}.{}", slot.path)).filter(|tensor| tensor.shape == slot.shape)?;
                let TensorData { bytes, dtype, .. } = slot.to_stored(tensor.to_f32());
                let count = tensor.len();
                let data = TensorData { bytes, shape: Shape::from([count]), dtype };
                Some(Tensor::from_data(data, &self.device))
            };
            let own = STATE.map(read);
            if own.iter().take(2).any(Option::is_none) {
                return Err(RunError::Unsupported(format!("the checkpoint holds no `{}` of this shape", slot.path)));
            }
            found.push(own);
        }
        self.step = step;
        (self.values, self.averages, self.moments) = (vec![], vec![], vec![]);
        for [value, average, first, second] in found {
            self.values.extend(value);
            self.averages.extend(average);
            let moments = first.zip(second).map(|(mean, square)| [mean, square]);
            self.moments.push(moments);
        }
        Ok(())
    }
}

/// Whether the optimiser pulls a parameter to zero: what multiplies features, not what scales or shifts them.
fn is_decayed(graph: &Graph, at: usize, slot: &Slot) -> bool {
    let node = graph.parameters.get(at).map(|parameter| parameter.node);
    let multiplies = matches!(
        node.and_then(|node| graph.node(node).op()),
        Some(Op::Linear(_) | Op::Conv1d(_) | Op::Conv2d(_) | Op::Conv3d(_))
    );
    multiplies && slot.shape.len() > 1
}

fn forces_weights(graph: &Graph) -> bool {
    graph.node_ids().any(|node| matches!(graph.node(node).op(), Some(Op::MpLinear(_) | Op::MpConv2d(_))))
}

/// The last values of named blocks and sections, up to two deep; the outermost where several share one.
fn ends(graph: &Graph) -> BTreeMap<NodeId, ScopeId> {
    let mut ends = BTreeMap::new();
    for scope in graph.scope_ids() {
        let depth = graph.enclosing(scope).count().saturating_sub(1);
        if (1..=2).contains(&depth) && !graph.scope(scope).path.is_empty() {
            for node in &graph.scope(scope).outputs {
                if graph.node(*node).ty.kind.has_positions() {
                    ends.entry(*node).or_insert(scope);
                }
            }
        }
    }
    ends
}

/// A place in words, with the block it is in.
fn in_block(graph: &Graph, node: NodeId) -> String {
    let scope = graph.scope(graph.node(node).scope);
    let place = graph.place(node);
    if scope.path.is_empty() { format!("`{place}`") } else { format!("`{place}`, in block `{}`", scope.path) }
}

fn primitive<B: Kernels>(tensor: Tensor<B, 1>) -> B::FloatTensorPrimitive {
    tensor.into_primitive().tensor()
}

fn tensor<B: Kernels>(primitive: B::FloatTensorPrimitive) -> Tensor<B, 1> {
    Value::<B>::Float(primitive).tensor()
}

fn is_finite<B: Kernels>(value: &Value<B>) -> bool {
    value.to_host().to_f32().iter().all(|value| value.is_finite())
}

fn flat<B: Kernels>(parameter: &AnyParam<B>) -> Tensor<B, 1> {
    flat_value(Value::Float(parameter.primitive()))
}

fn flat_value<B: Kernels>(value: Value<B>) -> Tensor<B, 1> {
    let count = value.shape().iter().product();
    value.reshape([count])
}

/// A value in full precision.
fn full<B: Kernels>(value: Value<B>) -> Value<B> {
    match value {
        Value::Float(primitive) => Value::Float(cast::<B>(primitive, FloatDType::F32)),
        labels @ Value::Int(_) => labels,
    }
}

fn add<B: Kernels>(sums: &mut BTreeMap<NodeId, Tensor<B, 1>>, node: NodeId, gradient: Tensor<B, 1>) {
    let sum = match sums.remove(&node) {
        Some(sum) => sum + gradient,
        None => gradient,
    };
    sums.insert(node, sum);
}
