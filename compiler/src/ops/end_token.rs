//! The token at which a text ends.

use super::attribute::Count;
use super::slice::part_of;
use super::to_image::tokens_operand;
use super::{
    Alignment, Alignments, Flow, Gradients, Link, Misuse, Obligations, Operator, Parameters, Passage, Sent, joint_batch,
};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Moments, Unknown};
use super::signals::{Response, Signals};
use crate::operator;
use crate::types::{Axis, Kind, Type};
use smallvec::smallvec;

operator! {
    /// The token of `x` at which the text `ids` ends: `tokens[N, C], ids[N, K] -> vector[C]`.
    ///
    /// That is the first place of the largest id, since CLIP's end token is the last word of its vocabulary (Radford et
    /// al. 2021, openai/CLIP `encode_text`), or of the given one; a text without it ends at its first token, as in
    /// huggingface/transformers.
    "end_token"(x, ids)
    pub struct EndToken {
        /// The id of the end token; without it, the largest of each text.
        id: Option<Count> = None,
    }
}

impl Operator for EndToken {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        let (x, count, channels) = tokens_operand(operands, "end_token")?;
        match operands.get(1) {
            Some(ids) if ids.batch.folds != x.batch.folds => {
                let message = format!("{x} and {ids} do not belong to the same parts of a sample");
                Err(Misuse::new("shape/mismatch", message).at(1))
            }
            Some(ids) if ids.kind == Kind::Ids && ids.dim(Axis::Token) == Some(count) => {
                Ok(Type::vector(channels.clone()).with_batch(joint_batch(operands)?))
            }
            Some(ids) if ids.kind == Kind::Ids => {
                Err(Misuse::new("shape/mismatch", format!("{x} and {ids} differ in tokens")).at(1))
            }
            Some(other) => Err(Misuse::new("type/kind", format!("`end_token` needs ids, found {other}")).at(1)),
            None => Err(Misuse::new("type/kind", "`end_token` lacks the ids of the text")),
        }
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let x = at.operand(0)?;
        Ok(Response::fresh(Moments { class: x.class, ..Moments::uniform(x.mean, x.square()) }))
    }

    /// One token gets everything.
    fn signal_back(&self, at: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        let own = Moments { class: gradient.class, ..Moments::independent(0.0, gradient.square()) };
        Ok(smallvec![own.mixed(1.0 / at.positions(0).max(1.0), &Moments::ZERO), Moments::ZERO])
    }

    fn flops(&self, _: &[&[u64]], _: &[u64]) -> u64 {
        0
    }

    fn passage(&self) -> Passage {
        Passage::Cut
    }

    fn alignments(&self, _: &[&Type], _: &Type) -> Alignments {
        smallvec![Alignment { channels: Link::Same, tokens: Link::Unrelated }, Alignment::UNRELATED]
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        Grid::build(at.rows, at.columns, |_, column| {
            part_of(at.operand(0).column(column)).without(Facts::POSITIONS).closed()
        })
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        // One token receives everything.
        let tokens = at.operand(0).map(|_, column, _| {
            let facts = gradient.column(column);
            facts.with(Facts::POSITIONS, facts.nonzero())
        });
        let ids = at.operand(1);
        Gradients::of_operands([tokens, Grid::new(ids.rows(), ids.columns())])
    }
}
