//! Product of two values.

use super::add::combine;
use super::{
    Alignment, Alignments, Flow, Gradients, Misuse, Obligations, Operator, Parameters, Passage, Sent};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{INDEPENDENT, Moments, Unknown};
use super::signals::{Response, Signals};
use crate::operator;
use crate::types::Type;

use smallvec::smallvec;

operator! {
    /// Product of two values, element by element; also written `a * b`. Axes are aligned as in `add`.
    "multiply"(a, b)
    pub struct Multiply {}
}

impl Operator for Multiply {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        combine(operands, "multiplied")
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let (a, b) = (at.operand(0)?, at.operand(1)?);
        Ok(Response { moments: a.times(&b, &at.covariance), carries: smallvec![b.mean, a.mean] })
    }

    fn signal_back(&self, at: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        let (a, b) = (at.operand(0)?, at.operand(1)?);
        // Where one of both is the same everywhere, the product is as tilted as the other.
        let to = |operand, factor: &Moments| {
            let mut sent = gradient.times(factor, &INDEPENDENT);
            let uniform = at.positions(operand) == 1.0;
            if let (Some(own), true) = (sent.second.first_mut(), uniform) {
                *own *= gradient.tilt;
            }
            at.unstretched(operand, sent)
        };
        Ok(smallvec![to(0, &b), to(1, &a)])
    }

    fn needs_covariance(&self) -> bool {
        true
    }

    fn flops(&self, _: &[&[u64]], result: &[u64]) -> u64 {
        result.iter().product()
    }

    fn passage(&self) -> Passage {
        Passage::Gate
    }

    fn alignments(&self, operands: &[&Type], result: &Type) -> Alignments {
        operands.iter().map(|x| Alignment::elementwise(x, result)).collect()
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        at.elementwise(|x| x.iter().copied().fold(Facts::UNIFORM, Facts::times))
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        let other = |operand: usize| at.operand(1 - operand.min(1));
        Gradients::of_operands((0..at.operands.len()).map(|operand| {
            let stretched = gradient.map(|row, column, dy| dy.times(other(operand).at(row, column)));
            at.unstretched(operand, &stretched)
        }))
    }
}
