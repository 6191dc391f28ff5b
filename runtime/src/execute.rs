//! Walking a graph.

use crate::init;
use crate::kernels::Kernels;
use crate::module::GraphModule;
use crate::ops::{self, Call, Tail};
use crate::plan::{Bindings, Plan, Step};
use crate::value::Value;
use archc_compiler::ir::groups::{Group, Kernel};
use archc_compiler::ir::{Graph, NodeId};
use archc_compiler::types::{Batch, Type};
use burn::tensor::backend::Backend;
use burn::tensor::{Shape, TensorMetadata};
use smallvec::SmallVec;
use std::ops::Range;

/// Whether random masks are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Dropout and its kin leave values as they are.
    #[default]
    Evaluation,
    /// Masks are drawn from streams made of the seed, the step and the node.
    Training { seed: u64, step: u64 },
}

impl Mode {
    /// The stream of a node's masks; none in evaluation.
    pub(crate) fn stream(self, node: NodeId) -> Option<rand_chacha::ChaCha8Rng> {
        match self {
            Mode::Evaluation => None,
            Mode::Training { seed, step } => Some(init::stream(seed, &format!("mask.{step}.{}", node.0))),
        }
    }
}

/// Someone who looks at a run, or takes part in it.
pub trait Observer<B: Backend> {
    /// A value has been computed.
    fn made(&mut self, node: NodeId, value: &Value<B>);

    /// `user` is given the value of `operand`; what comes back is what it gets.
    fn taken(&mut self, _user: NodeId, _operand: NodeId, value: Value<B>) -> Value<B> {
        value
    }
}

/// Nobody looks.
#[derive(Clone, Copy, Debug)]
pub struct Unobserved;

impl<B: Backend> Observer<B> for Unobserved {
    fn made(&mut self, _: NodeId, _: &Value<B>) {}
}

impl<B: Backend, F: FnMut(NodeId, &Value<B>)> Observer<B> for F {
    fn made(&mut self, node: NodeId, value: &Value<B>) {
        self(node, value);
    }
}

/// Repeats a value that is the same for all parts of a sample where other operands are not: a time for all frames. What
/// is the same for all samples as well is left to the operator.
fn spread<B: Backend>(value: &mut Value<B>, ty: &Type, result: &Type, plan: &Plan, bindings: &Bindings) {
    if ty.batch == result.batch || ty.batch == Batch::shared() {
        return;
    }
    let Value::Float(primitive) = value else { return };
    let (mut own, result) = (plan.batch_of(ty, bindings), plan.batch_of(result, bindings));
    own.resize(result.len(), 1);
    let data: Vec<usize> = primitive.shape().to_vec().into_iter().skip(1).collect();
    let placed: Vec<usize> = own.iter().chain(&data).copied().collect();
    let grown: Vec<usize> = result.iter().chain(&data).copied().collect();
    let flat: Vec<usize> = std::iter::once(result.iter().product()).chain(data).collect();
    let placed = B::float_reshape(primitive.clone(), Shape::from(placed));
    let grown = B::float_expand(placed, Shape::from(grown));
    *primitive = B::float_reshape(grown, Shape::from(flat));
}

/// Runs the graph. `inputs` are in the order of the graph's inputs; the result is in the order of its outputs. Every
/// value is shown to `observer` when it has been computed, and freed after its last use.
pub fn execute<B: Kernels>(
    plan: &Plan,
    module: &GraphModule<B>,
    inputs: Vec<Value<B>>,
    bindings: &Bindings,
    mode: Mode,
    device: &B::Device,
    mut observer: impl Observer<B>,
) -> Vec<Value<B>> {
    let mut values = Values::of(plan, inputs);
    let run = Run { plan, module, bindings, mode, device };
    run.nodes(0..plan.graph.node_count(), &mut values, &mut observer);
    let output = |node: NodeId| values.0.get(node.index()).cloned().flatten();
    plan.graph.outputs.iter().filter_map(|found| output(found.node)).collect()
}

/// The values of a graph that are alive, by node.
pub(crate) struct Values<B: Backend>(pub Vec<Option<Value<B>>>);

impl<B: Backend> Values<B> {
    /// Before the first operation: the inputs, which are the first nodes, in order.
    pub fn of(plan: &Plan, inputs: Vec<Value<B>>) -> Self {
        let mut values: Vec<Option<Value<B>>> = inputs.into_iter().map(Some).collect();
        values.resize_with(plan.graph.node_count(), || None);
        Self(values)
    }
}

/// What stays the same from node to node.
pub(crate) struct Run<'a, B: Backend> {
    pub plan: &'a Plan,
    pub module: &'a GraphModule<B>,
    pub bindings: &'a Bindings,
    pub mode: Mode,
    pub device: &'a B::Device,
}

impl<B: Kernels> Run<'_, B> {
    /// Runs some nodes, whose operands are alive or among them.
    pub fn nodes(&self, nodes: Range<usize>, values: &mut Values<B>, observer: &mut impl Observer<B>) {
        for id in nodes.map(|at| NodeId(at as u32)) {
            if let (Some(value), Some(slot)) = (self.node(id, values, observer), values.0.get_mut(id.index())) {
                *slot = Some(value);
            }
            if let Some(Some(value)) = values.0.get(id.index()) {
                observer.made(id, value);
            }
        }
    }

    /// The value of a node, or nothing for an input and inside of a group.
    fn node(&self, id: NodeId, values: &mut Values<B>, observer: &mut impl Observer<B>) -> Option<Value<B>> {
        let graph = &*self.plan.graph;
        match self.plan.step(id) {
            Step::Inside => None,
            Step::Node => {
                let given: SmallVec<[_; 3]> = graph.operands(id).into_iter().map(|operand| (id, operand)).collect();
                let taken = self.take(id, &given, values, observer);
                let masks = self.mode.stream(id);
                apply(self.plan, self.bindings, id, taken, self.parameters(id), masks, self.device)
            }
            Step::Group(group) => {
                let taken = self.take(id, &group.operands, values, observer);
                let first = group.nodes.first().copied().unwrap_or(id);
                apply_group(self.plan, self.bindings, group, taken, self.parameters(first), self.device)
            }
        }
    }

    fn parameters(&self, id: NodeId) -> SmallVec<[B::FloatTensorPrimitive; 2]> {
        self.plan.graph.node(id).parameters.iter().filter_map(|id| self.module.parameter(*id)).collect()
    }

    /// Values for what runs in the place of a node, each with the node that takes it.
    fn take(
        &self,
        place: NodeId,
        given: &[(NodeId, NodeId)],
        values: &mut Values<B>,
        observer: &mut impl Observer<B>,
    ) -> SmallVec<[Value<B>; 3]> {
        let mut taken = SmallVec::new();
        for (slot, (user, operand)) in given.iter().enumerate() {
            // Moving a value at its last use lets the backend work in its memory.
            let used_again = given.iter().skip(slot + 1).any(|(_, later)| later == operand);
            let Some(value) = values.0.get_mut(operand.index()) else { continue };
            let own = if self.plan.is_last_use(*operand, place) && !used_again { value.take() } else { value.clone() };
            taken.extend(own.map(|own| observer.taken(*user, *operand, own)));
        }
        taken
    }
}

/// Runs the operator of a node on values of its operands and parameters; nothing where the node has none.
pub(crate) fn apply<B: Kernels>(
    plan: &Plan,
    bindings: &Bindings,
    id: NodeId,
    mut operands: SmallVec<[Value<B>; 3]>,
    parameters: SmallVec<[B::FloatTensorPrimitive; 2]>,
    masks: Option<rand_chacha::ChaCha8Rng>,
    device: &B::Device,
) -> Option<Value<B>> {
    let graph = &*plan.graph;
    let node = graph.node(id);
    let types = types_of(graph, graph.operands(id));
    spread_all(&mut operands, &types, &node.ty, plan, bindings);
    let shape = plan.shape_of(&node.ty, bindings);
    let (result, sizes) = (&node.ty, &bindings.sizes);
    let call = Call { operands, types, parameters, result, shape, sizes, device, masks, tail: Tail::default() };
    Some(ops::run(node.op()?, call))
}

/// Runs a group on values of its operands and on the parameters of its first node.
fn apply_group<B: Kernels>(
    plan: &Plan,
    bindings: &Bindings,
    group: &Group,
    mut operands: SmallVec<[Value<B>; 3]>,
    parameters: SmallVec<[B::FloatTensorPrimitive; 2]>,
    device: &B::Device,
) -> Option<Value<B>> {
    let graph = &*plan.graph;
    let (first, last) = (graph.node(*group.nodes.first()?), graph.node(group.last()?));
    let mut types = types_of(graph, group.operands.iter().map(|(_, operand)| *operand));
    spread_all(&mut operands, &types, &last.ty, plan, bindings);
    let tail = match group.kernel {
        Kernel::Norm { factor, shift, silu } => {
            types.truncate(1);
            let mut behind = operands.drain(1..).map(Value::tensor);
            let mut next = |is_there: bool| is_there.then(|| behind.next()).flatten();
            Tail { factor: next(factor), shift: next(shift), silu }
        }
        Kernel::GatedSum => Tail::default(),
    };
    let shape = plan.shape_of(&last.ty, bindings);
    let (result, sizes) = (&last.ty, &bindings.sizes);
    let call = Call { operands, types, parameters, result, shape, sizes, device, masks: None, tail };
    match group.kernel {
        Kernel::Norm { .. } => Some(ops::run(first.op()?, call)),
        Kernel::GatedSum => Some(ops::gated_sum(call)),
    }
}

/// Repeats what is the same for all parts of a sample where there are several operands.
fn spread_all<B: Backend>(operands: &mut [Value<B>], types: &[&Type], result: &Type, plan: &Plan, bindings: &Bindings) {
    if operands.len() > 1 {
        for (value, ty) in operands.iter_mut().zip(types) {
            spread(value, ty, result, plan, bindings);
        }
    }
}

fn types_of(graph: &Graph, nodes: impl IntoIterator<Item = NodeId>) -> SmallVec<[&Type; 3]> {
    nodes.into_iter().map(|node| &graph.node(node).ty).collect()
}
