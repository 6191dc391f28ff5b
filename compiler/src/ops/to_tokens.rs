//! Image, sequence or vector to tokens.

use super::{
    Alignment, Alignments, Flow, Gradients, Link, Misuse, Obligations, Operator, Parameters, Passage, Sent};
use crate::analysis::liveness::facts::Grid;
use crate::analysis::moments::{Moments, Unknown};
use super::signals::{Response, Signals};
use crate::dim::Dim;
use crate::operator;
use crate::types::{Axis, Kind, Type};

use smallvec::smallvec;

operator! {
    /// Channels behind positions: one token for each pixel, row by row, or each place of a sequence, or a vector as the
    /// only token.
    ///
    /// `image[C, H, W] -> tokens[H*W, C]`, `sequence[C, N] -> tokens[N, C]`, `vector[C] -> tokens[1, C]`.
    "to_tokens"(x)
    pub struct ToTokens {}
}

impl Operator for ToTokens {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        let misuse = |found: String| {
            Misuse::new("type/kind", format!("`to_tokens` needs an image, a sequence or a vector, found {found}")).at(0)
        };
        let Some(x) = operands.first() else { return Err(misuse("nothing".to_owned())) };
        match (x.kind, x.dim(Axis::Height), x.dim(Axis::Width), x.dim(Axis::Channel)) {
            (Kind::Image, Some(height), Some(width), Some(channels)) => {
                let count = height.times(width).map_err(|_| Misuse::new("shape/size", "too many tokens").at(0))?;
                Ok(Type::new(Kind::Tokens, [count, channels.clone()]).with_batch(x.batch.clone()))
            }
            (Kind::Sequence, _, _, Some(channels)) => {
                let count = x.dim(Axis::Token).cloned().into_iter();
                Ok(Type::new(Kind::Tokens, count.chain([channels.clone()])).with_batch(x.batch.clone()))
            }
            (Kind::Vector, _, _, Some(channels)) => {
                Ok(Type::new(Kind::Tokens, [Dim::Known(1), channels.clone()]).with_batch(x.batch.clone()))
            }
            _ => Err(misuse(x.to_string())),
        }
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let x = at.operand(0)?;
        let tokens = if at.axes(0).is_empty() { x } else { x.unordered(&at.axes(0)) };
        Ok(Response::same(tokens))
    }

    fn signal_back(&self, _: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        Ok(smallvec![*gradient])
    }

    fn flops(&self, _: &[&[u64]], _: &[u64]) -> u64 {
        0
    }

    fn passage(&self) -> Passage {
        Passage::Keep
    }

    fn alignments(&self, operands: &[&Type], result: &Type) -> Alignments {
        // Places of a sequence stay where they are.
        operands.iter().map(|x| Alignment { channels: Link::Same, ..Alignment::elementwise(x, result) }).collect()
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        if is_sequence(at) { at.operand(0).clone() } else { relayout(at) }
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        if is_sequence(at) { Gradients::of_operands([gradient.clone()]) } else { relayout_back(at, gradient) }
    }
}

fn is_sequence(at: &Flow<'_>) -> bool {
    at.operands.first().is_some_and(|(x, _)| x.kind == Kind::Sequence)
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
