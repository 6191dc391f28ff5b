//! A part of a value along an axis.

use super::attribute::Count;
use super::concat::JoinAxis;
use super::{
    Alignment, Alignments, Flow, Gradients, Link, Misuse, Obligations, Operator, ParameterMoments, Parameters,
    Passage,
};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::Moments;
use crate::dim::Dim;
use crate::operator;
use crate::types::Type;
use smallvec::smallvec;

operator! {
    /// The part `start .. start + size` of the channels, or of the tokens. `chunk(n)` makes n equal ones.
    "slice"(x)
    pub struct Slice {
        /// First index.
        start: Count,
        /// How many.
        size: u64,
        /// What is cut.
        along: JoinAxis = JoinAxis::Channels,
    }
}

impl Operator for Slice {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        let axis = self.along.axis();
        let Some(x) = operands.first() else { return Err(Misuse::new("type/kind", "`slice` lacks its operand")) };
        let Some(size) = x.dim(axis) else {
            return Err(Misuse::new("type/kind", format!("{x} has no {} to cut", axis.name())).at(0));
        };
        let end = self.start.0 + self.size;
        if size.known().is_some_and(|size| end > size) {
            let message = format!("{} {}..{end} reach beyond {x}", axis.name(), self.start.0);
            return Err(Misuse::new("shape/range", message).at(0));
        }
        Ok((*x).clone().with(axis, Dim::Known(self.size)))
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    fn moments(&self, _: &[&Type], operands: &[Moments], _: &[ParameterMoments]) -> Moments {
        operands.first().cloned().unwrap_or(Moments::unknown("an operand is missing"))
    }

    fn flops(&self, _: &[&[u64]], _: &[u64]) -> u64 {
        0
    }

    fn passage(&self) -> Passage {
        Passage::Cut
    }

    fn alignments(&self, operands: &[&Type], _: &Type) -> Alignments {
        let known = operands.first().and_then(|x| x.dim(self.along.axis())).and_then(Dim::known).is_some();
        let part = if known { Link::PartOfOperand(self.start.0) } else { Link::Unrelated };
        smallvec![match self.along {
            JoinAxis::Channels => Alignment { channels: part, tokens: Link::Same },
            JoinAxis::Tokens => Alignment { channels: Link::Same, tokens: part },
        }]
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        let x = at.operand(0);
        let Some((rows, columns)) = self.offset(at) else {
            // A part of a tensor may vary where the tensor does, and it is not centred where the tensor is.
            return Grid::build(at.rows, at.columns, |row, column| {
                let whole = x.at(row, column);
                whole.or(Facts::MEAN_POSITIONS).or(Facts::MEAN_CHANNELS).or(Facts::MEAN_ALL).when(whole.nonzero())
            });
        };
        Grid::build(at.rows, at.columns, |row, column| x.at(row + rows, column + columns))
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        let x = at.operand(0);
        let mut operand = Grid::new(x.rows(), x.columns());
        let offset = self.offset(at);
        let (rows, columns) = offset.unwrap_or((0, 0));
        for row in 0..gradient.rows() {
            for column in 0..gradient.columns() {
                let mut facts = gradient.at(row, column);
                if offset.is_none() {
                    // The rest of the operand receives nothing, so its gradient varies.
                    facts = facts.with(self.along.varies(), facts.nonzero());
                }
                operand.add((row + rows).min(x.rows() - 1), (column + columns).min(x.columns() - 1), facts);
            }
        }
        Gradients::of_operands([operand])
    }
}

impl Slice {
    /// Parts of the operand that lie before the slice, in rows and columns, if the operand is divided where it starts.
    fn offset(&self, at: &Flow<'_>) -> Option<(usize, usize)> {
        at.cut.map(|parts| match self.along {
            JoinAxis::Channels => (0, parts),
            JoinAxis::Tokens => (parts, 0),
        })
    }
}
