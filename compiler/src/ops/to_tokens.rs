//! Image or vector to tokens.

use super::{
    Alignment, Alignments, Flow, Gradients, Link, Misuse, Obligations, Operator, ParameterMoments, Parameters, Passage,
};
use crate::analysis::liveness::facts::Grid;
use crate::analysis::moments::Moments;
use crate::dim::Dim;
use crate::operator;
use crate::types::{Axis, Kind, Type};
use smallvec::smallvec;

operator! {
    /// A sequence: one token for each pixel, row by row, or a vector as the only token.
    ///
    /// `image[C, H, W] -> tokens[H*W, C]`, `vector[C] -> tokens[1, C]`.
    "to_tokens"(x)
    pub struct ToTokens {}
}

impl Operator for ToTokens {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        let misuse = |found: String| {
            Misuse::new("type/kind", format!("`to_tokens` needs an image or a vector, found {found}")).at(0)
        };
        let Some(x) = operands.first() else { return Err(misuse("nothing".to_owned())) };
        match (x.kind, x.dim(Axis::Height), x.dim(Axis::Width), x.dim(Axis::Channel)) {
            (Kind::Image, Some(height), Some(width), Some(channels)) => {
                let count = height.times(width).map_err(|_| Misuse::new("shape/size", "too many tokens").at(0))?;
                Ok(Type::new(Kind::Tokens, [count, channels.clone()]).with_batch(x.batched))
            }
            (Kind::Vector, _, _, Some(channels)) => {
                Ok(Type::new(Kind::Tokens, [Dim::Known(1), channels.clone()]).with_batch(x.batched))
            }
            _ => Err(misuse(x.to_string())),
        }
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    fn moments(&self, _: &[&Type], operands: &[Moments], _: &[ParameterMoments]) -> Moments {
        operands.first().cloned().unwrap_or(Moments::unknown("an operand is missing"))
    }

    fn flops(&self, _: &[&[u64]], _: &[u64]) -> u64 {
        0
    }

    fn passage(&self) -> Passage {
        Passage::Keep
    }

    fn alignments(&self, _: &[&Type], _: &Type) -> Alignments {
        smallvec![Alignment { channels: Link::Same, tokens: Link::Unrelated }]
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        relayout(at)
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        relayout_back(at, gradient)
    }
}

/// Facts of a change between grid and sequence, which keeps channels and the set of positions.
pub(super) fn relayout(at: &Flow<'_>) -> Grid {
    let x = at.operand(0);
    Grid::build(at.rows, at.columns, |_, column| x.column(column))
}

pub(super) fn relayout_back(at: &Flow<'_>, gradient: &Grid) -> Gradients {
    let x = at.operand(0);
    Gradients::of_operands([Grid::build(x.rows(), x.columns(), |_, column| gradient.column(column))])
}
