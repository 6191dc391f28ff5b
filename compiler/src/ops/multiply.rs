//! Product of two values.

use super::add::combine;
use super::{
    Alignment, Alignments, Flow, Gradients, Misuse, Obligations, Operator, ParameterMoments, Parameters, Passage,
};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::Moments;
use crate::operator;
use crate::types::Type;

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

    fn moments(&self, _: &[&Type], operands: &[Moments], _: &[ParameterMoments]) -> Moments {
        match operands {
            [a, b] => a.times(b),
            _ => Moments::unknown("an operand is missing"),
        }
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
