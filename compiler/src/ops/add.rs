//! Sum of two values.

use super::{
    Alignment, Alignments, Flow, Gradients, Misuse, Obligations, Operator, Parameters, Passage, Sent};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Moments, Unknown};
use super::signals::{Response, Signals};
use crate::operator;
use crate::types::{Kind, Type, broadcast};

use smallvec::smallvec;

operator! {
    /// Sum of two values, element by element; also written `a + b`.
    ///
    /// Axes are aligned by meaning: a vector stretches over the positions of an image or of tokens with as many
    /// channels, a number per sample stretches over everything, an axis of size 1 stretches to its partner's.
    "add"(a, b)
    pub struct Add {}
}

impl Operator for Add {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        combine(operands, "added")
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let moments = at.operand(0)?.plus(&at.operand(1)?, &at.covariance);
        Ok(Response { moments, carries: smallvec![1.0, 1.0] })
    }

    fn signal_back(&self, at: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        let sum = at.operand(0)?.plus(&at.operand(1)?, &at.covariance).square();
        let to = |operand| {
            let share = if sum > 0.0 { (at.operand(operand)?.square() / sum).min(1.0) } else { 0.0 };
            Ok(at.unstretched(operand, gradient.tilted(1.0 + share * (gradient.tilt - 1.0))))
        };
        (0..2).map(to).collect()
    }

    fn needs_covariance(&self) -> bool {
        true
    }

    fn flops(&self, _: &[&[u64]], result: &[u64]) -> u64 {
        result.iter().product()
    }

    fn passage(&self) -> Passage {
        Passage::Add
    }

    fn alignments(&self, operands: &[&Type], result: &Type) -> Alignments {
        operands.iter().map(|x| Alignment::elementwise(x, result)).collect()
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        at.elementwise(|x| x.iter().copied().fold(Facts::ZERO, Facts::or))
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        Gradients::of_operands((0..at.operands.len()).map(|operand| at.unstretched(operand, gradient)))
    }
}

/// Type of an element-wise combination, or why there is none.
pub(crate) fn combine(operands: &[&Type], verb: &str) -> Result<Type, Misuse> {
    let [a, b] = operands else { return Err(Misuse::new("type/kind", "two operands are needed")) };
    broadcast(a, b).map_err(|error| {
        let misuse = Misuse::new("shape/mismatch", format!("{a} and {b} cannot be {verb}"));
        match (error.axis, a.kind, b.kind) {
            (Some(axis), _, _) => {
                let size = |ty: &Type| ty.dim(axis).map_or("none".to_owned(), |dim| dim.to_string());
                misuse.help(format!("they differ in {}: {} and {}", axis.name(), size(a), size(b)))
            }
            _ if a.batch.with(&b.batch).is_none() => misuse.help("they belong to different parts of a sample"),
            (None, Kind::Image, Kind::Tokens) | (None, Kind::Tokens, Kind::Image) => {
                misuse.help("bring both to one layout with `to_tokens()` or `to_image(height, width)`")
            }
            (None, Kind::Label | Kind::Ids, _) | (None, _, Kind::Label | Kind::Ids) => {
                misuse.help("turn class labels into vectors first: `y -> embedding(dim)`")
            }
            _ => misuse,
        }
    })
}
