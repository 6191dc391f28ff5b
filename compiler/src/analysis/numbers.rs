//! The numbers that a model computes from the level of noise, at given levels and as functions of it.

use super::algebra::Radical;
use crate::ir::{Graph, NodeId, NodeKind};
use crate::ops::Op;
use crate::ops::activation::Function;
use crate::types::Kind;

/// Values of all nodes that are numbers and depend on nothing but sigma, at one sigma.
pub(crate) fn numbers_at(graph: &Graph, sigma: f64) -> Vec<Option<f64>> {
    follow(graph, |id| is_sigma(graph, id).then_some(sigma), number)
}

/// Values of all nodes that are numbers and depend on nothing but one input, where it has that value.
pub(crate) fn scalars_at(graph: &Graph, input: NodeId, value: f64) -> Vec<Option<f64>> {
    follow(graph, |id| (id == input).then_some(value), number)
}

/// All nodes that are numbers and depend on nothing but sigma, as functions of it, where they are radicals.
pub(crate) fn functions_of_sigma(graph: &Graph) -> Vec<Option<Radical>> {
    follow(graph, |id| is_sigma(graph, id).then(Radical::variable), radical)
}

fn is_sigma(graph: &Graph, id: NodeId) -> bool {
    graph.node(id).ty.kind == Kind::Sigma
}

/// What becomes of given inputs in all nodes that are numbers.
fn follow<T: Clone>(
    graph: &Graph,
    given: impl Fn(NodeId) -> Option<T>,
    make: impl Fn(&Op, &[T]) -> Option<T>,
) -> Vec<Option<T>> {
    let mut values: Vec<Option<T>> = Vec::with_capacity(graph.node_count());
    for id in graph.node_ids() {
        let node = graph.node(id);
        let operands = graph.operands(id);
        let of = |operand: &NodeId| values.get(operand.index()).cloned().flatten();
        let value = match &node.kind {
            NodeKind::Input(_) => given(id),
            NodeKind::Op(op) if node.ty.kind.is_scalar() && !operands.is_empty() => {
                let given: Option<Vec<T>> = operands.iter().map(of).collect();
                given.and_then(|given| make(op, &given))
            }
            NodeKind::Op(_) => None,
        };
        values.push(value);
    }
    values
}

/// What an operation makes of numbers.
fn number(op: &Op, given: &[f64]) -> Option<f64> {
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

/// What an operation makes of functions.
fn radical(op: &Op, given: &[Radical]) -> Option<Radical> {
    let (first, rest) = given.split_first()?;
    if let Op::Affine(affine) = op {
        let scaled = first.times(&Radical::number(affine.scale));
        if affine.shift == 0.0 { Some(scaled) } else { scaled.plus(&Radical::number(affine.shift)) }
    } else if let Op::Activation(activation) = op
        && activation.function == Function::Rsqrt
    {
        first.reciprocal_root()
    } else if let Op::Add(_) = op {
        rest.iter().try_fold(first.clone(), |sum, next| sum.plus(next))
    } else if let Op::Multiply(_) = op {
        Some(rest.iter().fold(first.clone(), |product, next| product.times(next)))
    } else {
        None
    }
}
