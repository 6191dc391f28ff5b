//! Tokens to one vector.

use super::to_image::tokens_operand;
use super::{
    Alignment, Alignments, Flow, Gradients, Misuse, Obligations, Operator, Parameters, Passage, Sent};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Moments, Unknown};
use super::signals::{Response, Signals};
use crate::dim::Dim;
use crate::operator;
use crate::types::Type;
use smallvec::smallvec;

operator! {
    /// Tokens side by side: `tokens[N, C] -> vector[N * C]`. Their number has to be known.
    "to_vector"(x)
    pub struct ToVector {}
}

impl Operator for ToVector {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        let (x, count, channels) = tokens_operand(operands, "to_vector")?;
        if count.known().is_none() {
            let message = format!("the channels of a vector have to be known; there are {count} tokens");
            return Err(Misuse::new("type/open-size", message).at(0));
        }
        match count.times(channels) {
            Ok(size @ Dim::Known(_)) => Ok(Type::vector(size).with_batch(x.batch.clone())),
            _ => Err(Misuse::new("shape/size", "the vector is too long").at(0)),
        }
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let x = at.operand(0)?;
        Ok(Response::fresh(Moments { class: x.class, ..Moments::uniform(x.mean, x.square()) }))
    }

    fn signal_back(&self, _: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        Ok(smallvec![Moments { class: gradient.class, ..Moments::independent(0.0, gradient.square()) }])
    }

    fn flops(&self, _: &[&[u64]], _: &[u64]) -> u64 {
        0
    }

    fn passage(&self) -> Passage {
        Passage::Keep
    }

    fn alignments(&self, _: &[&Type], _: &Type) -> Alignments {
        smallvec![Alignment::UNRELATED]
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        // Tokens become channels.
        let x = at.operand(0).all();
        let facts = Facts::NONZERO
            .with(Facts::CHANNELS, x.has(Facts::CHANNELS) || x.has(Facts::POSITIONS))
            .with(Facts::MEAN_CHANNELS, x.has(Facts::MEAN_ALL) || at.columns > 1)
            .when(x.nonzero())
            .closed();
        Grid::filled(at.rows, at.columns, facts)
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        let (x, dy) = (at.operand(0), gradient.all());
        let one_part = x.rows() * x.columns() == 1;
        let facts = Facts::NONZERO
            .with(Facts::POSITIONS, dy.has(Facts::CHANNELS))
            .with(Facts::CHANNELS, dy.has(Facts::CHANNELS))
            .with(Facts::MEAN_POSITIONS, true)
            .with(Facts::MEAN_CHANNELS, true)
            .with(Facts::MEAN_ALL, dy.has(Facts::MEAN_CHANNELS) || !one_part)
            .when(dy.nonzero());
        Gradients::of_operands([x.map(|_, _, _| facts)])
    }
}
