//! Comparing what a device computes with a reference, operator by operator.
//!
//! Libraries of kernels have mistakes that only some shapes show, and those of Burn are chosen by measuring speed. So every
//! operator of a graph is run by itself, in each of the shapes that the graph has it in, on drawn operands and parameters:
//! in evaluation, and on a tape with the gradients of all of them. The reference of the CPU is made of Burn's own
//! operations; that of other devices is the CPU.

use crate::error::RunError;
use crate::execute::apply;
use crate::host::HostTensor;
use crate::init;
use crate::kernels::{Kernels, Tape, plainly};
use crate::module::{Slot, slots};
use crate::plan::{Bindings, Plan};
use crate::session::Device;
use crate::value::Value;
use archc_compiler::ir::{Graph, NodeId};
use archc_compiler::ops::Op;
use archc_compiler::ops::activation::Function;
use archc_compiler::passes::Optimized;
use archc_compiler::types::{Kind, Type};
use burn::backend::{Autodiff, Flex};
use burn::tensor::{Shape, Tensor, TensorData};
use rand::distr::Distribution;
use rand_distr::StandardNormal;
use serde::Serialize;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Largest difference on the CPU, relative to the largest magnitude of a tensor: sums of some thousand products in another
/// order.
const CPU: f64 = 1e-4;
/// The same where matrix units multiply f32 with 10 bits of the mantissa (TF32): half of 2^-10, and as much again.
const CUDA: f64 = 2e-3;

/// One operator in one shape.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub operator: String,
    /// Shapes of operands, batch first, then of parameters.
    pub shapes: Vec<Vec<usize>>,
    /// How many nodes are like that, in the graph as it is and as passes leave it.
    pub places: usize,
    /// The first of them.
    pub place: String,
    /// Largest difference of the result, relative to its largest magnitude.
    pub result: f64,
    /// The same of gradients; nothing where there are none.
    pub gradients: Option<f64>,
    pub holds: bool,
}

/// Compares every distinct operator of a graph. `watch` is told what has been compared, of how many.
pub fn verify(
    graph: &Arc<Graph>,
    bindings: &Bindings,
    device: Device,
    seed: u64,
    mut watch: impl FnMut(usize, usize),
) -> Result<Vec<Comparison>, RunError> {
    let run = prepared(device)?;
    let plans = [Plan::new(graph.clone()), Plan::new(Arc::new(Optimized::of(graph).graph))];
    let cases = cases(&plans, bindings, seed);
    let total = cases.len();
    let compare = |(at, case): (usize, Case<'_>)| {
        let (found, expected) = run(&case);
        watch(at + 1, total);
        case.compared(&found, &expected, if device == Device::Cpu { CPU } else { CUDA })
    };
    Ok(cases.into_iter().enumerate().map(compare).collect())
}

/// What is found of a case, and what is expected.
type Both = fn(&Case<'_>) -> (Outcome, Outcome);

fn prepared(device: Device) -> Result<Both, RunError> {
    match device {
        Device::Cpu => Ok(|case| (case.outcome::<Autodiff<Flex>>(), plainly(|| case.outcome::<Autodiff<Flex>>()))),
        Device::Cuda => cuda(),
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> Result<Both, RunError> {
    Err(crate::session::without_cuda())
}

#[cfg(feature = "cuda")]
fn cuda() -> Result<Both, RunError> {
    crate::cuda::prepare()?;
    Ok(|case| (case.outcome::<Autodiff<crate::kernels::Cuda>>(), case.outcome::<Autodiff<Flex>>()))
}

/// A node that stands for all that are like it.
struct Case<'p> {
    plan: &'p Plan,
    node: NodeId,
    op: &'p Op,
    bindings: &'p Bindings,
    places: usize,
    operands: SmallVec<[HostTensor; 3]>,
    /// In the layout of the module.
    parameters: SmallVec<[HostTensor; 2]>,
    /// What the result is multiplied by before it is summed for gradients.
    cotangent: Vec<f32>,
}

/// What an operator gives.
struct Outcome {
    /// In evaluation, and on a tape.
    results: Vec<HostTensor>,
    gradients: Vec<HostTensor>,
}

/// One case for all nodes of the same operator, shapes and kinds.
fn cases<'p>(plans: &'p [Plan], bindings: &'p Bindings, seed: u64) -> Vec<Case<'p>> {
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    let mut cases: Vec<Case<'p>> = vec![];
    for plan in plans {
        let stored: Vec<Vec<usize>> = slots(&plan.graph).iter().map(Slot::stored_shape).collect();
        for node in plan.graph.node_ids() {
            let own = plan.graph.node(node);
            let Some(op) = own.op() else { continue };
            let operands = plan.graph.operands(node).into_iter();
            let types: SmallVec<[&Type; 3]> = operands.map(|operand| &plan.graph.node(operand).ty).collect();
            let parameters = own.parameters.iter().filter_map(|id| stored.get(id.index()));
            let parameters: SmallVec<[&Vec<usize>; 2]> = parameters.collect();
            let key = format!("{op:?} {types:?} {parameters:?}");
            if let Some(case) = known.get(&key).and_then(|at| cases.get_mut(*at)) {
                case.places += 1;
                continue;
            }
            let name = |slot: usize| format!("verify.{}.{slot}", cases.len());
            let operand = |(slot, ty): (usize, &&Type)| operand(op, ty, plan.shape_of(ty, bindings), seed, &name(slot));
            let parameter = |(slot, shape): (usize, &&Vec<usize>)| parameter(shape, seed, &name(types.len() + slot));
            let count = plan.shape_of(&own.ty, bindings).iter().product();
            let case = Case {
                plan,
                node,
                op,
                bindings,
                places: 1,
                operands: types.iter().enumerate().map(operand).collect(),
                parameters: parameters.iter().enumerate().map(parameter).collect(),
                cotangent: normal(count, seed, &name(usize::MAX)),
            };
            known.insert(key, cases.len());
            cases.push(case);
        }
    }
    cases
}

fn normal(count: usize, seed: u64, name: &str) -> Vec<f32> {
    StandardNormal.sample_iter(init::stream(seed, name)).take(count).collect()
}

/// Elements of an operand: any number that the operator is defined for.
fn operand(op: &Op, ty: &Type, shape: Vec<usize>, seed: u64, name: &str) -> HostTensor {
    let kind = if ty.kind == Kind::Mask { Kind::Vector } else { ty.kind };
    let drawn = init::input(kind, init::classes(ty), shape, seed, name);
    match op {
        Op::Activation(activation) if matches!(activation.function, Function::Log | Function::Rsqrt) => {
            let shape = drawn.shape.clone();
            HostTensor::f32(shape, drawn.into_f32().into_iter().map(|x| x.abs() + 0.1).collect())
        }
        _ => drawn,
    }
}

/// Elements of a parameter, such that a product with it keeps the size of what it is given.
fn parameter(shape: &[usize], seed: u64, name: &str) -> HostTensor {
    let count: usize = shape.iter().product();
    let terms = count / shape.iter().copied().max().unwrap_or(1).max(1);
    let scale = 1.0 / (terms.max(1) as f32).sqrt();
    let elements = normal(count, seed, name).into_iter().map(|x| x * scale).collect();
    HostTensor::f32(shape.to_vec(), elements)
}

impl Case<'_> {
    fn outcome<A: Tape>(&self) -> Outcome {
        let device: A::Device = Default::default();
        let plain = |tensor: &HostTensor| Value::<A::InnerBackend>::from_host(tensor, &device);
        let evaluated = self.applied(
            self.operands.iter().map(plain).collect(),
            self.parameters.iter().map(|tensor| plain(tensor).primitive()).collect(),
            &device,
        );
        let mut leaves: Vec<(Tensor<A, 1>, Vec<usize>)> = vec![];
        let mut tracked = |tensor: &HostTensor| match Value::<A>::from_host(tensor, &device) {
            // The tape follows a flat leaf, which has one rank for all.
            value @ Value::Float(_) => {
                let shape = value.shape();
                let leaf: Tensor<A, 1> = value.reshape([tensor.len()]).detach().require_grad();
                leaves.push((leaf.clone(), shape.clone()));
                Value::Float(A::float_reshape(leaf.into_primitive().tensor(), Shape::from(shape)))
            }
            labels @ Value::Int(_) => labels,
        };
        let operands: SmallVec<[Value<A>; 3]> = self.operands.iter().map(&mut tracked).collect();
        let parameters = self.parameters.iter().map(|tensor| tracked(tensor).primitive()).collect();
        let on_tape = self.applied(operands, parameters, &device);
        let result = on_tape.as_ref().map(Value::to_host);
        let gradients = match on_tape {
            Some(Value::Float(primitive)) if !leaves.is_empty() => gradients::<A>(primitive, &self.cotangent, &leaves),
            _ => vec![],
        };
        let evaluated = evaluated.as_ref().map(Value::to_host);
        Outcome { results: evaluated.into_iter().chain(result).collect(), gradients }
    }

    fn applied<B: Kernels>(
        &self,
        operands: SmallVec<[Value<B>; 3]>,
        parameters: SmallVec<[B::FloatTensorPrimitive; 2]>,
        device: &B::Device,
    ) -> Option<Value<B>> {
        apply(self.plan, self.bindings, self.node, operands, parameters, None, device)
    }

    fn compared(&self, found: &Outcome, expected: &Outcome, tolerance: f64) -> Comparison {
        let result = difference(&found.results, &expected.results);
        let gradients = (!expected.gradients.is_empty()).then(|| difference(&found.gradients, &expected.gradients));
        let shapes = self.operands.iter().chain(&self.parameters).map(|tensor| tensor.shape.clone());
        let attributes = self.op.attributes().into_iter();
        let attributes: Vec<String> = attributes.map(|(name, value)| format!("{name}: {value}")).collect();
        let operator = match self.op {
            Op::Activation(activation) => activation.function.name().to_owned(),
            op => format!("{}({})", op.name(), attributes.join(", ")),
        };
        Comparison {
            operator,
            shapes: shapes.collect(),
            places: self.places,
            place: self.plan.graph.place(self.node),
            result,
            gradients,
            // A difference that is no number holds nothing.
            holds: [result, gradients.unwrap_or(0.0)].into_iter().all(|difference| difference <= tolerance),
        }
    }
}

/// Gradients of the sum of a result times a cotangent.
fn gradients<A: Tape>(
    result: A::FloatTensorPrimitive,
    cotangent: &[f32],
    leaves: &[(Tensor<A, 1>, Vec<usize>)],
) -> Vec<HostTensor> {
    let device = A::float_device(&result);
    let flat = Value::<A>::Float(result).reshape([cotangent.len()]);
    let cotangent: Tensor<A, 1> = Tensor::from_data(TensorData::new(cotangent.to_vec(), [cotangent.len()]), &device);
    let gradients = (flat * cotangent).sum().backward();
    let of = |(leaf, shape): &(Tensor<A, 1>, Vec<usize>)| {
        let found = leaf.grad(&gradients).map(|gradient| Value::<A::InnerBackend>::of(gradient).to_host().into_f32());
        HostTensor::f32(shape.clone(), found.unwrap_or_else(|| vec![0.0; shape.iter().product()]))
    };
    leaves.iter().map(of).collect()
}

/// Largest difference of tensors, each relative to its largest magnitude; infinite where they differ in shape or one of
/// them is not finite.
fn difference(found: &[HostTensor], expected: &[HostTensor]) -> f64 {
    if found.len() != expected.len() {
        return f64::INFINITY;
    }
    let of = |(found, expected): (&HostTensor, &HostTensor)| {
        if found.shape != expected.shape {
            return f64::INFINITY;
        }
        let (found, expected) = (found.to_f32(), expected.to_f32());
        let largest = expected.iter().fold(0.0_f64, |most, x| most.max(f64::from(x.abs())));
        let apart = |(a, b): (f32, f32)| {
            let apart = f64::from(a - b).abs();
            if apart.is_nan() { f64::INFINITY } else { apart }
        };
        let apart = found.into_iter().zip(expected).map(apart).fold(0.0, f64::max);
        if apart == 0.0 { 0.0 } else { apart / largest }
    };
    found.iter().zip(expected).map(of).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(elements: &[f32]) -> HostTensor {
        HostTensor::f32(vec![elements.len()], elements.to_vec())
    }

    #[test]
    fn differences_are_relative_to_the_largest_magnitude() {
        let expected = [tensor(&[4.0, -8.0]), tensor(&[0.0, 0.0])];
        assert_eq!(difference(&expected, &expected), 0.0);
        assert_eq!(difference(&[tensor(&[5.0, -8.0]), tensor(&[0.0, 0.0])], &expected), 0.125);
        for wrong in [tensor(&[0.0, 1.0]), tensor(&[0.0, f32::NAN]), tensor(&[0.0])] {
            assert_eq!(difference(&[tensor(&[4.0, -8.0]), wrong], &expected), f64::INFINITY);
        }
    }
}
