//! Random masks in training.

use super::attribute::Rate;
use super::{
    Alignment, Alignments, Flow, Gradients, Misuse, Obligations, Operator, Parameters, Passage,
    number_operand, Sent};
use crate::analysis::liveness::facts::Grid;
use crate::analysis::moments::{Moments, Unknown};
use super::signals::{Response, Signals};
use crate::operator;
use crate::types::Type;

crate::choice! {
    /// What is kept or dropped together.
    pub enum MaskUnit {
        /// Every element by itself: dropout.
        Element = "element",
        /// A whole sample: DropPath, stochastic depth, stochastic skips.
        Sample = "sample",
    }
}

use smallvec::smallvec;

operator! {
    /// In training, sets elements (or whole samples) to zero with probability `rate` and divides the others by
    /// `1 - rate`; otherwise the identity. Srivastava et al. 2014; per sample, Huang et al. 2016.
    ///
    /// With `rescale: false` the others stay as they are: the dropping of a condition for classifier-free guidance
    /// (Ho & Salimans 2022), where zeros stand for no condition.
    "dropout"(x)
    pub struct Dropout {
        /// Probability of a zero.
        rate: Rate,
        /// What is dropped together.
        per: MaskUnit = MaskUnit::Element,
        /// Whether what is kept is divided by `1 - rate`.
        rescale: bool = true,
    }
}

impl Operator for Dropout {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        number_operand(operands, 0, "dropout").cloned()
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    /// In evaluation mode, in which predictions and outputs are compared.
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

    fn alignments(&self, operands: &[&Type], result: &Type) -> Alignments {
        operands.iter().map(|x| Alignment::elementwise(x, result)).collect()
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        at.elementwise(|x| x.first().copied().unwrap_or_default())
    }

    fn flow_back(&self, _: &Flow<'_>, gradient: &Grid) -> Gradients {
        Gradients::of_operands([gradient.clone()])
    }
}
