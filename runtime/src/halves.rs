//! Evaluating with products in numbers of 16 bits.
//!
//! Matrix products, convolutions and attention take operands of 16 bits, with sums in f32 inside; everything between them
//! is f32. Products that would overflow are f32 too, which [`precision`] predicts.

use crate::execute::Observer;
use crate::kernels::Kernels;
use crate::module::GraphModule;
use crate::value::Value;
use archc_compiler::analysis::precision::{Format, Hazard, Kept, precision};
use archc_compiler::analysis::signal::Signal;
use archc_compiler::ir::{Graph, NodeId};
use archc_compiler::ops::Op;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, FloatDType, TensorMetadata};

/// How much values may grow after initialisation before they overflow.
pub(crate) const MARGIN: f64 = 8.0;

/// Whether an operator is a matrix product or convolution, which half the digits do for.
pub(crate) fn multiplies(op: Option<&Op>) -> bool {
    matches!(op, Some(Op::Linear(_) | Op::Conv1d(_) | Op::Conv2d(_) | Op::Conv3d(_) | Op::Attention(_)))
}

/// What a graph computes in 16 bits.
#[derive(Clone, Debug)]
pub(crate) struct Halves {
    format: Format,
    dtype: FloatDType,
    nodes: Vec<bool>,
}

impl Halves {
    /// Of a graph in a format; nothing if that has 32 bits.
    pub fn of(graph: &Graph, format: Format) -> Option<Self> {
        let dtype = match format {
            Format::F16 => FloatDType::F16,
            Format::Bf16 => FloatDType::BF16,
            Format::F32 => return None,
        };
        let mut nodes: Vec<bool> = graph.node_ids().map(|id| multiplies(graph.node(id).op())).collect();
        // Sums are f32 inside of products, so that only overflow is a reason.
        let overflows = |kept: &Kept| matches!(kept.hazard, Hazard::Result { .. } | Hazard::Inside { .. });
        for kept in precision(graph, &Signal::of(graph), format, MARGIN).kept.into_iter().filter(overflows) {
            if let Some(half) = nodes.get_mut(kept.node.index()) {
                *half = false;
            }
        }
        Some(Self { format, dtype, nodes })
    }

    pub fn format(&self) -> Format {
        self.format
    }

    /// A tensor as a node takes it.
    fn fitted<B: Backend>(&self, tensor: B::FloatTensorPrimitive, user: NodeId) -> B::FloatTensorPrimitive {
        let half = self.nodes.get(user.index()).copied().unwrap_or(false);
        let wanted = if half { self.dtype } else { FloatDType::F32 };
        if tensor.dtype() == DType::from(wanted) { tensor } else { B::float_cast(tensor, wanted) }
    }

    /// The parameters of the graph as its nodes take them.
    pub fn of_module<B: Kernels>(&self, graph: &Graph, module: GraphModule<B>) -> GraphModule<B> {
        module.each(|id, tensor| self.fitted::<B>(tensor, graph.parameter(id).node))
    }
}

/// Brings values to the precision of what takes them.
impl<B: Backend> Observer<B> for Option<&Halves> {
    fn made(&mut self, _: NodeId, _: &Value<B>) {}

    fn taken(&mut self, user: NodeId, _: NodeId, value: Value<B>) -> Value<B> {
        match (self, value) {
            (Some(halves), Value::Float(tensor)) => Value::Float(halves.fitted::<B>(tensor, user)),
            (_, value) => value,
        }
    }
}
