//! Tokens change places with what is folded into the batch.

use super::to_frames::{refolded, refolded_back};
use super::{
    Alignment, Alignments, Flow, Gradients, Link, Misuse, Obligations, Operator, Parameters, Passage, Sent,
};
use crate::analysis::liveness::facts::Grid;
use crate::analysis::moments::{Class, Moments, Unknown};
use super::signals::{Response, Signals};
use crate::operator;
use crate::types::{Axis, Kind, Type};
use smallvec::smallvec;

operator! {
    /// Sequences along the other axis: `tokens[N, C]` for each of T `-> tokens[T, C]` for each of N.
    ///
    /// The tokens of frames become, for each place in them, a sequence of its own over time; attention then acts along
    /// time. The same again is the inverse.
    "transpose_tokens"(x)
    pub struct TransposeTokens {}
}

impl Operator for TransposeTokens {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        let tokens = operands.first().filter(|x| x.kind == Kind::Tokens);
        let parts = tokens.and_then(|x| Some((*x, x.batch.folds.last()?, x.dim(Axis::Token)?)));
        let Some((x, fold, count)) = parts else {
            let found = operands.first().map_or("nothing".to_owned(), |x| x.to_string());
            let message = format!("`transpose_tokens` needs the tokens of parts of a sample, found {found}");
            let help = "tokens of frames are such: `video -> to_frames() -> to_tokens()`";
            return Err(Misuse::new("type/kind", message).at(0).help(help));
        };
        let mut batch = x.batch.clone();
        batch.folds.pop();
        batch.folds.push(count.clone());
        Ok((*x).clone().with(Axis::Token, fold.clone()).with_batch(batch))
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    /// What a place has in common at several times is not known of tokens, which have no order.
    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        Ok(Response::same(at.operand(0)?.at_most(Class::Factor2)))
    }

    fn signal_back(&self, _: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        Ok(smallvec![gradient.at_most(Class::Factor2)])
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
        refolded(at)
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        refolded_back(at, gradient)
    }
}
