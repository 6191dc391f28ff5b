//! The precision of what operators take in training.

use super::recipe::Precision;
use crate::halves::{MARGIN, multiplies};
use archc_compiler::analysis::precision::{Format, precision};
use archc_compiler::analysis::signal::Signal;
use archc_compiler::ir::{Graph, NodeId};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, FloatDType, TensorMetadata};

/// What each node of a graph takes.
#[derive(Clone, Debug)]
pub(super) struct Rounding(Vec<Take>);

/// What a node takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Take {
    /// Whatever comes.
    Any,
    As(FloatDType),
    /// Numbers of f32 that the other format has too.
    Rounded(FloatDType),
}

impl Rounding {
    pub fn of(graph: &Graph, wanted: Precision) -> Self {
        let all = |take: &dyn Fn(NodeId) -> Take| Self(graph.node_ids().map(take).collect());
        match wanted {
            Precision::F32 => all(&|_| Take::Any),
            Precision::Bf16 => {
                all(&|id| Take::As(if multiplies(graph.node(id).op()) { FloatDType::BF16 } else { FloatDType::F32 }))
            }
            Precision::Throughout(format) => all(&|_| rounded(format)),
            Precision::Islands(format) => {
                let kept = precision(graph, &Signal::of(graph), format, MARGIN).kept;
                all(&|id| if kept.iter().any(|kept| kept.node == id) { Take::Any } else { rounded(format) })
            }
        }
    }

    /// Brings a tensor to what a node takes.
    pub fn fitted<B: Backend>(&self, tensor: B::FloatTensorPrimitive, user: NodeId) -> B::FloatTensorPrimitive {
        match self.0.get(user.index()) {
            None | Some(Take::Any) => tensor,
            Some(Take::As(dtype)) => cast::<B>(tensor, *dtype),
            Some(Take::Rounded(dtype)) => cast::<B>(cast::<B>(tensor, *dtype), FloatDType::F32),
        }
    }
}

fn rounded(format: Format) -> Take {
    match format {
        Format::F16 => Take::Rounded(FloatDType::F16),
        Format::Bf16 => Take::Rounded(FloatDType::BF16),
        Format::F32 => Take::Any,
    }
}

/// A tensor in a precision that it may have.
pub(super) fn cast<B: Backend>(tensor: B::FloatTensorPrimitive, wanted: FloatDType) -> B::FloatTensorPrimitive {
    if tensor.dtype() == DType::from(wanted) { tensor } else { B::float_cast(tensor, wanted) }
}
