//! Dropping of class labels in training, for classifier-free guidance.

use super::attribute::Rate;
use super::{
    Alignment, Alignments, Flow, Gradients, Misuse, Obligations, Operator, Parameters, Passage, Sent};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Moments, Unknown};
use super::signals::{Response, Signals};
use crate::dim::Dim;
use crate::operator;
use crate::types::{Axis, Kind, Type};
use smallvec::smallvec;

operator! {
    /// Adds a null class behind the others and, in training, replaces a label by it with probability `rate`:
    /// `label[K] -> label[K + 1]`. Ho & Salimans 2022.
    "drop_label"(y)
    pub struct DropLabel {
        /// Probability of the null class in training.
        rate: Rate,
    }
}

impl Operator for DropLabel {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        match operands {
            [y] if y.kind == Kind::Label => {
                let classes = y.dim(Axis::Class).and_then(Dim::known).unwrap_or(0);
                Ok((*y).clone().with(Axis::Class, Dim::Known(classes + 1)))
            }
            _ => {
                let found = operands.first().map_or_else(String::new, |y| y.to_string());
                Err(Misuse::new("type/kind", format!("`drop_label` needs class labels, found {found}")).at(0))
            }
        }
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    fn signal(&self, _: &Signals<'_>) -> Result<Response, Unknown> {
        Err(Unknown::because("labels are indices, not numbers"))
    }

    fn signal_back(&self, _: &Signals<'_>, _: &Moments) -> Result<Sent, Unknown> {
        Ok(smallvec![Moments::ZERO])
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
        Grid::filled(at.rows, at.columns, Facts::UNIFORM)
    }

    fn flow_back(&self, _: &Flow<'_>, _: &Grid) -> Gradients {
        Gradients::of_operands([Grid::new(1, 1)])
    }
}
