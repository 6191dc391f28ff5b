//! Measuring what is predicted: mean squares of values and gains of gradients at initialisation, over several draws of
//! the parameters and inputs.
//!
//! Gradients start from independent cotangents of one or minus one at the outputs of blocks and end at what the blocks
//! are given, which is cut off from where it comes from. A loss would not do: behind a head that starts at zero all its
//! gradients vanish.

use crate::error::RunError;
use crate::execute::{Mode, Observer, execute};
use crate::host::HostTensor;
use crate::init;
use crate::module::GraphModule;
use crate::plan::{Bindings, Plan};
use crate::value::Value;
use archc_compiler::ir::{Graph, NodeId, ScopeId};
use archc_compiler::types::{Axis, Batch, Type};
use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Draws of parameters and inputs.
    pub seeds: u64,
    pub batch: usize,
    /// Blocks to send cotangents through; no two of them overlap.
    pub blocks: Vec<ScopeId>,
}

/// Mean over draws with its standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figure {
    pub mean: f64,
    pub error: f64,
}

#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Mean squares of values.
    pub values: BTreeMap<NodeId, Figure>,
    /// Mean squares of means over positions: what positions have in common.
    pub shared: BTreeMap<NodeId, Figure>,
    /// Mean squares of the gradients of what a block is given and of what is made in it, for unit cotangents at its
    /// outputs.
    pub gradients: BTreeMap<(ScopeId, NodeId), Figure>,
}

/// Runs the model on the CPU.
pub fn measure(
    graph: &Arc<Graph>,
    probe: &Probe,
    inputs: impl Fn(u64, &Plan, &Bindings) -> Vec<HostTensor>,
) -> Result<Measured, RunError> {
    type Tape = Autodiff<Flex>;
    let plan = Plan::new(graph.clone());
    let bindings = Bindings { batch: probe.batch, sizes: graph.typical.clone() };
    let mut values: BTreeMap<NodeId, Vec<f64>> = BTreeMap::new();
    let mut shared: BTreeMap<NodeId, Vec<f64>> = BTreeMap::new();
    let mut gradients: BTreeMap<(ScopeId, NodeId), Vec<f64>> = BTreeMap::new();
    let owner = owners(graph, &probe.blocks);
    for seed in 0..probe.seeds {
        let drawn = inputs(seed, &plan, &bindings);
        plan.bind(&drawn)?;
        let device = Default::default();
        let module = GraphModule::<Tape>::init(graph, seed, &device);
        let on_device = drawn.iter().map(|input| Value::<Tape>::from_host(input, &device)).collect();
        let mut observer = Cuts {
            owner: &owner,
            graph,
            squares: BTreeMap::new(),
            shared: BTreeMap::new(),
            leaves: BTreeMap::new(),
            ends: vec![],
            blocks: &probe.blocks,
        };
        execute(&plan, &module, on_device, &bindings, Mode::Evaluation, &device, &mut observer);
        let Cuts { squares, shared: common, leaves, ends, .. } = observer;
        for (node, square) in squares {
            values.entry(node).or_default().push(square);
        }
        for (node, square) in common {
            shared.entry(node).or_default().push(square);
        }
        let Some(loss) = against_signs(graph, &ends, seed) else { continue };
        let found = loss.backward();
        for (place, (leaf, _)) in leaves {
            let gradient = leaf.grad(&found).map(|found| Value::<Flex>::of(found).to_host());
            gradients.entry(place).or_default().push(gradient.map_or(0.0, |found| mean_square(&found)));
        }
    }
    Ok(Measured { values: figures(values), shared: figures(shared), gradients: figures(gradients) })
}

fn figures<K: Ord>(samples: BTreeMap<K, Vec<f64>>) -> BTreeMap<K, Figure> {
    samples.into_iter().map(|(place, samples)| (place, figure(&samples))).collect()
}

/// The block of every node that is in one.
fn owners(graph: &Graph, blocks: &[ScopeId]) -> Vec<Option<ScopeId>> {
    let of = |id| graph.enclosing(graph.node(id).scope).find(|scope| blocks.contains(scope));
    graph.node_ids().map(of).collect()
}

/// Cuts blocks off at what they are given, and keeps what they make. What is made in a block has a zero added that has a
/// gradient.
struct Cuts<'a, A: AutodiffBackend> {
    graph: &'a Graph,
    owner: &'a [Option<ScopeId>],
    blocks: &'a [ScopeId],
    squares: BTreeMap<NodeId, f64>,
    shared: BTreeMap<NodeId, f64>,
    leaves: BTreeMap<(ScopeId, NodeId), (Tensor<A, 1>, Value<A>)>,
    ends: Vec<(NodeId, Value<A>)>,
}

impl<A: AutodiffBackend> Cuts<'_, A> {
    fn owner(&self, node: NodeId) -> Option<ScopeId> {
        self.owner.get(node.index()).copied().flatten()
    }
}

impl<A: AutodiffBackend> Observer<A> for &mut Cuts<'_, A> {
    fn made(&mut self, node: NodeId, value: &Value<A>) {
        if matches!(value, Value::Float(_)) {
            let (value, ty) = (value.to_host(), &self.graph.node(node).ty);
            self.squares.insert(node, mean_square(&value));
            if ty.kind.has_positions() {
                self.shared.insert(node, mean_square(&mean_over_positions(&value, ty)));
            }
        }
        let ends = |scope: &&ScopeId| self.graph.scope(**scope).outputs.contains(&node);
        if self.blocks.iter().any(|scope| ends(&scope)) && self.owner(node).is_some() {
            self.ends.push((node, value.clone()));
        }
    }

    fn taken(&mut self, user: NodeId, operand: NodeId, value: Value<A>) -> Value<A> {
        let (own, other) = (self.owner(user), self.owner(operand));
        let (Some(block), Value::Float(_)) = (own, &value) else { return value };
        let inside = own == other;
        // What is the same for all samples collects the gradients of all.
        let shared = self.graph.node(operand).ty.batch == Batch::shared();
        if shared || inside && self.graph.scope(block).outputs.contains(&operand) {
            return value;
        }
        let leaf = self.leaves.entry((block, operand)).or_insert_with(|| {
            let shape = value.shape();
            let flat: Tensor<A, 1> = value.clone().reshape([shape.iter().product()]);
            let (leaf, sum) = if inside {
                let leaf = flat.zeros_like().detach().require_grad();
                (leaf.clone(), flat + leaf)
            } else {
                let leaf = flat.detach().require_grad();
                (leaf.clone(), leaf)
            };
            let primitive = sum.into_primitive().tensor();
            (leaf, Value::Float(A::float_reshape(primitive, burn::tensor::Shape::from(shape))))
        });
        leaf.1.clone()
    }
}

/// The sum of products of what blocks make with independent signs: their mean square is one, not near it, so that a
/// block that ends in a few numbers is measured as closely as one that ends in many.
fn against_signs<A: AutodiffBackend>(graph: &Graph, ends: &[(NodeId, Value<A>)], seed: u64) -> Option<Tensor<A, 1>> {
    let mut sum: Option<Tensor<A, 1>> = None;
    for (node, value) in ends {
        let count: usize = value.shape().iter().product();
        let kind = archc_compiler::types::Kind::Vector;
        let noise = init::input(kind, None, vec![count], seed, &format!("cotangent.{}.{}", graph.model, node.0));
        let signs: Vec<f32> = noise.to_f32().into_iter().map(f32::signum).collect();
        let flat: Tensor<A, 1> = value.clone().reshape([count]);
        let signs: Tensor<A, 1> = Tensor::from_data(burn::tensor::TensorData::new(signs, [count]), &flat.device());
        let product = (flat * signs).sum();
        sum = Some(match sum {
            Some(sum) => sum + product,
            None => product,
        });
    }
    sum
}

/// Means over the positions of each sample and channel.
fn mean_over_positions(tensor: &HostTensor, ty: &Type) -> HostTensor {
    let axes = ty.kind.axes().iter().map(|axis| !matches!(axis, Axis::Channel | Axis::Class));
    let kept: Vec<bool> = std::iter::once(false).chain(axes).collect();
    // How far apart in the result neighbours along each axis are: not at all along axes of positions.
    let (mut count, mut steps) = (1, vec![0; tensor.shape.len()]);
    for (axis, step) in steps.iter_mut().enumerate().rev() {
        if kept.get(axis) == Some(&false) {
            *step = count;
            count *= tensor.shape.get(axis).copied().unwrap_or(1);
        }
    }
    let values = tensor.to_f32();
    let share = count as f32 / values.len().max(1) as f32;
    let mut means = vec![0.0; count];
    for (index, value) in values.iter().enumerate() {
        let (mut rest, mut at) = (index, 0);
        for (size, step) in tensor.shape.iter().zip(&steps).rev() {
            at += rest % size * step;
            rest /= size;
        }
        if let Some(mean) = means.get_mut(at) {
            *mean += value * share;
        }
    }
    HostTensor::f32(vec![count], means)
}

fn mean_square(tensor: &HostTensor) -> f64 {
    let values = tensor.to_f32();
    values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>() / values.len().max(1) as f64
}

fn figure(samples: &[f64]) -> Figure {
    let count = samples.len().max(1) as f64;
    let mean = samples.iter().sum::<f64>() / count;
    let variance = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    Figure { mean, error: (variance / count).sqrt() }
}
