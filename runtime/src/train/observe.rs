//! What a training pass does besides computing: precision by operator, and moments of blocks.

use super::rounding::Rounding;
use crate::execute::Observer;
use crate::value::Value;
use archc_compiler::ir::{NodeId, ScopeId};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{DType, FloatDType, Shape, Tensor, TensorMetadata};
use std::collections::BTreeMap;

/// Watches one pass, or one segment of it.
pub(super) struct Watch<'g, A: AutodiffBackend> {
    rounding: &'g Rounding,
    /// Last values of blocks, where they are measured.
    ends: &'g BTreeMap<NodeId, ScopeId>,
    /// Mean squares of these.
    pub activations: BTreeMap<NodeId, Tensor<A::InnerBackend, 1>>,
    /// Zeros that are added to these: their gradients are those of the values.
    pub leaves: BTreeMap<NodeId, Tensor<A, 1>>,
}

impl<'g, A: AutodiffBackend> Watch<'g, A> {
    pub fn new(rounding: &'g Rounding, ends: &'g BTreeMap<NodeId, ScopeId>) -> Self {
        Self { rounding, ends, activations: BTreeMap::new(), leaves: BTreeMap::new() }
    }
}

impl<A: AutodiffBackend> Observer<A> for Watch<'_, A> {
    fn made(&mut self, node: NodeId, value: &Value<A>) {
        if let (true, Value::Float(primitive)) = (self.ends.contains_key(&node), value) {
            let inner = Value::<A::InnerBackend>::Float(A::inner(primitive.clone()));
            self.activations.insert(node, mean_square(inner));
        }
    }

    fn taken(&mut self, user: NodeId, operand: NodeId, value: Value<A>) -> Value<A> {
        let Value::Float(mut primitive) = value else { return value };
        if self.ends.contains_key(&operand) {
            let shape = primitive.shape();
            let device = A::float_device(&primitive);
            let count = shape.num_elements();
            let leaf =
                self.leaves.entry(operand).or_insert_with(|| Tensor::<A, 1>::zeros([count], &device).require_grad());
            let mut zeros = A::float_reshape(leaf.clone().into_primitive().tensor(), Shape::from(shape.to_vec()));
            if primitive.dtype() != DType::F32 {
                zeros = A::float_cast(zeros, FloatDType::BF16);
            }
            primitive = A::float_add(primitive, zeros);
        }
        Value::Float(self.rounding.fitted::<A>(primitive, user))
    }
}

/// A watched pass that also keeps what later segments are given.
pub(super) struct Kept<'w, 'g, A: AutodiffBackend> {
    pub watch: &'w mut Watch<'g, A>,
    /// Whether a value is used after the segment.
    pub outlives: &'w dyn Fn(NodeId) -> bool,
    pub values: BTreeMap<NodeId, Value<A>>,
}

impl<A: AutodiffBackend> Observer<A> for Kept<'_, '_, A> {
    fn made(&mut self, node: NodeId, value: &Value<A>) {
        self.watch.made(node, value);
        if (self.outlives)(node) {
            self.values.insert(node, value.clone());
        }
    }

    fn taken(&mut self, user: NodeId, operand: NodeId, value: Value<A>) -> Value<A> {
        self.watch.taken(user, operand, value)
    }
}

/// A pass without a tape that only sees to the precision.
pub(super) struct Fitted<'g>(pub &'g Rounding);

impl<B: Backend> Observer<B> for Fitted<'_> {
    fn made(&mut self, _: NodeId, _: &Value<B>) {}

    fn taken(&mut self, user: NodeId, _: NodeId, value: Value<B>) -> Value<B> {
        match value {
            Value::Float(primitive) => Value::Float(self.0.fitted::<B>(primitive, user)),
            value => value,
        }
    }
}

fn mean_square<B: Backend>(value: Value<B>) -> Tensor<B, 1> {
    let count = value.shape().iter().product();
    let flat: Tensor<B, 1> = value.reshape([count]);
    let flat = flat.cast(FloatDType::F32);
    (flat.clone() * flat).mean()
}
