//! Multiplication by a number and addition of a number.

use super::{
    Alignment, Alignments, Flow, Gradients, Misuse, Obligations, Operator, Parameters, Passage,
    number_operand, Sent};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Moments, Unknown};
use super::signals::{Response, Signals};
use crate::operator;
use crate::types::{Kind, Type};

use smallvec::smallvec;

operator! {
    /// `scale * x + shift` with numbers known at compile time; also written `2 * x`, `1 + x`, `x / 4`, `-x`.
    "affine"(x)
    pub struct Affine {
        /// Factor.
        scale: f64 = 1.0,
        /// Summand.
        shift: f64 = 0.0,
    }
}

impl Operator for Affine {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        let mut result = number_operand(operands, 0, "affine")?.clone();
        if result.kind.is_scalar() {
            result.kind = Kind::Scalar;
        }
        Ok(result)
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let moments = at.operand(0)?.scaled(self.scale).shifted(self.shift);
        Ok(Response { moments, carries: smallvec![self.scale] })
    }

    fn signal_back(&self, _: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        let tilt = if self.shift == 0.0 { gradient.tilt } else { 1.0 };
        Ok(smallvec![gradient.scaled(self.scale).tilted(tilt)])
    }

    fn flops(&self, _: &[&[u64]], result: &[u64]) -> u64 {
        let per_element = u64::from(self.scale != 1.0) + u64::from(self.shift != 0.0);
        result.iter().product::<u64>() * per_element
    }

    fn passage(&self) -> Passage {
        if self.shift != 0.0 {
            Passage::Transform
        } else if self.scale.abs() != 1.0 {
            Passage::Scale
        } else {
            Passage::Keep
        }
    }

    fn alignments(&self, operands: &[&Type], result: &Type) -> Alignments {
        operands.iter().map(|x| Alignment::elementwise(x, result)).collect()
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        let shift = Facts::UNIFORM.when(self.shift != 0.0);
        at.elementwise(|x| match x {
            [x] => x.when(self.scale != 0.0).or(shift),
            _ => shift,
        })
    }

    fn flow_back(&self, _: &Flow<'_>, gradient: &Grid) -> Gradients {
        Gradients::of_operands([gradient.map(|_, _, dy| dy.when(self.scale != 0.0))])
    }
}
