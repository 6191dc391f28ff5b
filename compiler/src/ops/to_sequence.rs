//! Tokens to a sequence with its channels first.

use super::to_image::tokens_operand;
use super::{
    Alignment, Alignments, Flow, Gradients, Link, Misuse, Obligations, Operator, Parameters, Passage, Sent};
use crate::analysis::liveness::facts::Grid;
use crate::analysis::moments::{Moments, Unknown};
use super::signals::{Response, Signals};
use crate::operator;
use crate::types::{Kind, Type};
use smallvec::smallvec;

operator! {
    /// Channels before tokens: `tokens[N, C] -> sequence[C, N]`. The way back is `to_tokens`.
    "to_sequence"(x)
    pub struct ToSequence {}
}

impl Operator for ToSequence {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        let (x, count, channels) = tokens_operand(operands, "to_sequence")?;
        Ok(Type::new(Kind::Sequence, [channels.clone(), count.clone()]).with_batch(x.batch.clone()))
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        at.operand(0).map(Response::same)
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

    fn alignments(&self, _: &[&Type], _: &Type) -> Alignments {
        smallvec![Alignment { channels: Link::Same, tokens: Link::Same }]
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        at.operand(0).clone()
    }

    fn flow_back(&self, _: &Flow<'_>, gradient: &Grid) -> Gradients {
        Gradients::of_operands([gradient.clone()])
    }
}
