//! Tokens to image.

use super::to_tokens::{relayout, relayout_back};
use super::{
    Alignment, Alignments, Flow, Gradients, Link, Misuse, Obligations, Operator, Parameters,
    Passage, Sent};
use crate::analysis::liveness::facts::Grid;
use crate::analysis::moments::{Moments, Unknown};
use super::signals::{Response, Signals};
use crate::dim::Dim;
use crate::operator;
use crate::types::{Axis, Kind, Type};
use smallvec::smallvec;

operator! {
    /// The inverse of `to_tokens`: `tokens[H*W, C] -> image[C, H, W]`. Without sizes the grid is square.
    "to_image"(x)
    pub struct ToImage {
        /// Rows of the grid.
        height: Option<Dim> = None,
        /// Columns of the grid.
        width: Option<Dim> = None,
    }
}

impl Operator for ToImage {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        let (x, count, channels) = tokens_operand(operands, "to_image")?;
        let (height, width) = grid(count, self.height.as_ref(), self.width.as_ref(), "to_image")?;
        Ok(Type::new(Kind::Image, [channels.clone(), height, width]).with_batch(x.batch.clone()))
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        at.operand(0).map(Response::same)
    }

    fn signal_back(&self, at: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        Ok(smallvec![gradient.unordered(&at.axes_of(at.result))])
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

/// The operand, its number of tokens and its channels.
pub(super) fn tokens_operand<'a>(operands: &[&'a Type], who: &str) -> Result<(&'a Type, &'a Dim, &'a Dim), Misuse> {
    let found = operands.first().map_or("nothing".to_owned(), |x| x.to_string());
    operands
        .first()
        .filter(|x| x.kind == Kind::Tokens)
        .and_then(|x| Some((*x, x.dim(Axis::Token)?, x.dim(Axis::Channel)?)))
        .ok_or_else(|| Misuse::new("type/kind", format!("`{who}` needs tokens, found {found}")).at(0))
}

/// Height and width of a grid of `count` tokens.
pub(super) fn grid(
    count: &Dim,
    height: Option<&Dim>,
    width: Option<&Dim>,
    who: &str,
) -> Result<(Dim, Dim), Misuse> {
    match (height, width) {
        (Some(height), Some(width)) => {
            if height.times(width).as_ref() == Ok(count) {
                return Ok((height.clone(), width.clone()));
            }
            let message = format!("{count} tokens are not a grid of {height} x {width}");
            Err(Misuse::new("shape/mismatch", message).at(0))
        }
        (None, None) => {
            let side = count.known().map(|count| (count, libm::round(libm::sqrt(count as f64)) as u64));
            match side {
                Some((count, side)) if side * side == count => Ok((Dim::Known(side), Dim::Known(side))),
                _ => Err(Misuse::new("shape/mismatch", format!("{count} tokens are not a square grid"))
                    .at(0)
                    .help(format!("say how they lie: `{who}(.., height: .., width: ..)`"))),
            }
        }
        _ => Err(Misuse::new("call/arguments", format!("`{who}` needs both `height` and `width`, or neither"))),
    }
}
