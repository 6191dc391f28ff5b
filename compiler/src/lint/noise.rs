//! What rules about processes share: the numbers that a model computes from the level of noise, at given levels.

use super::Context;
use crate::ir::{Graph, NodeId, NodeKind};
use crate::ops::Op;
use crate::types::Kind;

/// The node that stands for the process of a model: its main output.
pub(crate) fn process_node(context: &Context<'_>) -> Option<NodeId> {
    context.graph.outputs.first().map(|output| output.node)
}

/// Values of all nodes that are numbers and depend on nothing but sigma, at one sigma.
pub(crate) fn numbers_at(graph: &Graph, sigma: f64) -> Vec<Option<f64>> {
    numbers(graph, |id| (graph.node(id).ty.kind == Kind::Sigma).then_some(sigma))
}

/// Values of all nodes that are numbers and depend on nothing but one input, where it has that value.
pub(crate) fn scalars_at(graph: &Graph, input: NodeId, value: f64) -> Vec<Option<f64>> {
    numbers(graph, |id| (id == input).then_some(value))
}

fn numbers(graph: &Graph, given: impl Fn(NodeId) -> Option<f64>) -> Vec<Option<f64>> {
    let mut values: Vec<Option<f64>> = Vec::with_capacity(graph.node_count());
    for id in graph.node_ids() {
        let node = graph.node(id);
        let operands = graph.operands(id);
        let of = |operand: &NodeId| values.get(operand.index()).copied().flatten();
        let value = match &node.kind {
            NodeKind::Input(_) => given(id),
            NodeKind::Op(op) if node.ty.kind.is_scalar() => {
                let given: Option<Vec<f64>> = operands.iter().map(of).collect();
                given.and_then(|given| number(op, &given))
            }
            NodeKind::Op(_) => None,
        };
        values.push(value);
    }
    values
}

/// What an operation makes of numbers.
fn number(op: &Op, given: &[f64]) -> Option<f64> {
    if given.is_empty() {
        return None;
    }
    if let Op::Affine(affine) = op {
        given.first().map(|x| affine.scale * x + affine.shift)
    } else if let Op::Clip(clip) = op {
        given.first().map(|x| x.clamp(clip.low, clip.high))
    } else if let Op::Activation(activation) = op {
        given.first().map(|x| activation.function.value(*x))
    } else if let Op::Add(_) = op {
        Some(given.iter().sum())
    } else if let Op::Multiply(_) = op {
        Some(given.iter().product())
    } else {
        None
    }
}

/// The coefficients of a model that holds its own preconditioning, `skip * x + out * F(input * x)`, as nodes.
pub(crate) struct Preconditioning {
    pub skip: NodeId,
    pub out: NodeId,
    /// `F(input * x)`.
    pub network: NodeId,
    pub input: NodeId,
    /// `input * x`.
    pub entry: NodeId,
    /// The sum.
    pub sum: NodeId,
}

impl Preconditioning {
    /// Of the main output, where it has that form.
    pub fn of(graph: &Graph) -> Option<Self> {
        let sum = graph.outputs.first()?.node;
        let x = graph.noisy_input()?;
        let Op::Add(_) = graph.node(sum).op()? else { return None };
        let operands = graph.operands(sum);
        let [first, second] = operands.as_slice() else { return None };
        let (kept, raw) = match (scaled(graph, *first), scaled(graph, *second)) {
            (Some(a), Some(b)) if a.1 == x => ((*first, a), b),
            (Some(a), Some(b)) if b.1 == x => ((*second, b), a),
            _ => return None,
        };
        let (skip_node, (skip, _)) = kept;
        let users: Vec<NodeId> = graph.users(x).map(|(user, _)| user).filter(|user| *user != skip_node).collect();
        let [entry] = users.as_slice() else { return None };
        let (input, _) = scaled(graph, *entry)?;
        Some(Self { skip, out: raw.0, network: raw.1, input, entry: *entry, sum })
    }
}

/// A product of a number and something else.
fn scaled(graph: &Graph, node: NodeId) -> Option<(NodeId, NodeId)> {
    let Op::Multiply(_) = graph.node(node).op()? else { return None };
    let operands = graph.operands(node);
    let [a, b] = operands.as_slice() else { return None };
    match (graph.node(*a).ty.kind.is_scalar(), graph.node(*b).ty.kind.is_scalar()) {
        (true, false) => Some((*a, *b)),
        (false, true) => Some((*b, *a)),
        _ => None,
    }
}
