//! Values side by side along an axis.

use super::{
    Alignment, Alignments, Flow, Gradients, Link, Misuse, Obligations, Operator, Parameters,
    Passage, joint_batch, Sent,
};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Class, Moments, Parts, Unknown};
use super::signals::{Response, Signals};
use crate::dim::Dim;
use crate::operator;
use crate::types::{Axis, Type};

crate::choice! {
    /// The axis along which values are joined or cut.
    pub enum JoinAxis {
        /// The channels.
        Channels = "channels",
        /// The tokens.
        Tokens = "tokens",
    }
}

impl JoinAxis {
    pub fn axis(self) -> Axis {
        match self {
            JoinAxis::Channels => Axis::Channel,
            JoinAxis::Tokens => Axis::Token,
        }
    }

    /// The fact that a tensor varies along it.
    pub(super) fn varies(self) -> Facts {
        match self {
            JoinAxis::Channels => Facts::CHANNELS,
            JoinAxis::Tokens => Facts::POSITIONS,
        }
    }
}

operator! {
    /// Joins values along the channels, or along the tokens, in the order given.
    "concat"(x...)
    pub struct Concat {
        /// What is joined.
        along: JoinAxis = JoinAxis::Channels,
    }
}

impl Concat {
    /// Where the operands start in the result, as far as sizes are known.
    fn offsets(&self, operands: &[&Type]) -> Vec<Option<u64>> {
        let mut offset = Some(0);
        operands
            .iter()
            .map(|operand| {
                let start = offset;
                let size = operand.dim(self.along.axis()).and_then(Dim::known);
                offset = offset.zip(size).map(|(start, size)| start + size);
                start
            })
            .collect()
    }
}

impl Operator for Concat {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        let axis = self.along.axis();
        let Some((first, rest)) = operands.split_first() else {
            return Err(Misuse::new("type/kind", "`concat` needs at least one operand"));
        };
        if first.axis(axis).is_none() || first.kind.is_index() {
            return Err(Misuse::new("type/kind", format!("{first} has no {} to join", axis.name())).at(0));
        }
        let mut result = (*first).clone();
        for (at, other) in rest.iter().enumerate() {
            let differs = first.kind.axes().iter().find(|own| **own != axis && first.dim(**own) != other.dim(**own));
            if other.kind != first.kind || differs.is_some() {
                let misuse = Misuse::new("shape/mismatch", format!("{first} and {other} cannot be joined"));
                return Err(match differs {
                    Some(axis) if other.kind == first.kind => {
                        misuse.at(at + 1).help(format!("they differ in {}", axis.name()))
                    }
                    _ => misuse.at(at + 1),
                });
            }
            let sum = match (result.dim(axis), other.dim(axis)) {
                (Some(a), Some(b)) => a.plus(b),
                _ => Err(crate::dim::DimError::OutOfRange),
            };
            let sum = sum.map_err(|_| Misuse::new("shape/size", "the joined axis is too long").at(at + 1))?;
            result = result.with(axis, sum);
        }
        result.batch = joint_batch(operands)?;
        Ok(result)
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    /// The mean over all elements, each operand by its share of the joined axis.
    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let mut total = at.axis(0, self.along.axis());
        let mut moments = at.operand(0)?;
        for operand in 1..at.operands.len() {
            let size = at.axis(operand, self.along.axis());
            let (own, other) = (moments, at.operand(operand)?);
            let share = total / (total + size);
            moments = own.mixed(share, &other);
            if self.along == JoinAxis::Tokens {
                // Pairs of tokens lie in one part, in the other, or across, where nothing is shared but the means.
                let rest = 1.0 - share;
                let across = 2.0 * share * rest * own.mean * other.mean;
                let pairs = share * share * own.pairs(&[total]) + rest * rest * other.pairs(&[size]) + across;
                let square = moments.square();
                moments = moments.map(moments.mean, |_| pairs);
                if let Some(own) = moments.second.first_mut() {
                    *own = square;
                }
                // Tokens of two origins do not share one distribution.
                moments = moments.at_most(Class::Within15);
            }
            total += size;
        }
        Ok(Response::fresh(moments))
    }

    fn signal_back(&self, at: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        let whole = Moments { parts: None, ..*gradient };
        let part = |share: f64| whole.map(whole.mean, |second| second * share);
        let meets_here = |parts: &Parts| {
            self.along == JoinAxis::Tokens && at.operands.len() == 2 && parts.tokens == at.axis(0, Axis::Token)
        };
        Ok(match gradient.parts.filter(meets_here) {
            Some(parts) => parts.squares.into_iter().map(part).collect(),
            None => at.operands.iter().map(|_| whole).collect(),
        })
    }

    fn flops(&self, _: &[&[u64]], _: &[u64]) -> u64 {
        0
    }

    fn passage(&self) -> Passage {
        Passage::Join
    }

    fn alignments(&self, operands: &[&Type], result: &Type) -> Alignments {
        let offsets = self.offsets(operands);
        let link = |offset: Option<u64>| offset.map_or(Link::Unrelated, Link::PartOfResult);
        let known = result.dim(self.along.axis()).and_then(Dim::known).is_some();
        offsets
            .into_iter()
            .map(|offset| {
                let part = link(offset.filter(|_| known));
                match self.along {
                    JoinAxis::Channels => Alignment { channels: part, tokens: Link::Same },
                    JoinAxis::Tokens => Alignment { channels: Link::Same, tokens: part },
                }
            })
            .collect()
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        let mut result = Grid::new(at.rows, at.columns);
        let divided = self.is_divided(at);
        for (operand, (_, x)) in at.operands.iter().enumerate() {
            for row in 0..at.rows {
                for column in 0..at.columns {
                    for (own_row, own_column) in self.below(at, operand, row, column) {
                        let facts = x.at(own_row, own_column);
                        // Parts differ from each other.
                        result.add(row, column, facts.with(self.along.varies(), facts.nonzero() && !divided));
                    }
                }
            }
        }
        result
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        let divided = self.is_divided(at);
        Gradients::of_operands(at.operands.iter().enumerate().map(|(operand, (_, x))| {
            let mut result = Grid::new(x.rows(), x.columns());
            for row in 0..gradient.rows() {
                for column in 0..gradient.columns() {
                    let mut facts = gradient.at(row, column);
                    if !divided && facts.nonzero() {
                        // A part of a centred gradient is not centred.
                        facts = facts.or(Facts::MEAN_POSITIONS).or(Facts::MEAN_CHANNELS).or(Facts::MEAN_ALL);
                    }
                    for (own_row, own_column) in self.below(at, operand, row, column) {
                        result.add(own_row.min(x.rows() - 1), own_column.min(x.columns() - 1), facts);
                    }
                }
            }
            result
        }))
    }
}

impl Concat {
    fn parts(&self, grid: &Grid) -> usize {
        match self.along {
            JoinAxis::Channels => grid.columns(),
            JoinAxis::Tokens => grid.rows(),
        }
    }

    /// Whether the result has a part for every part of its operands.
    fn is_divided(&self, at: &Flow<'_>) -> bool {
        let own = match self.along {
            JoinAxis::Channels => at.columns,
            JoinAxis::Tokens => at.rows,
        };
        own == at.operands.iter().map(|(_, grid)| self.parts(grid)).sum::<usize>()
    }

    /// The cells of an operand that lie under a cell of the result: one, or none, of a result that has a part for each; all
    /// of them under the one cell of a result that is not divided.
    fn below(
        &self,
        at: &Flow<'_>,
        operand: usize,
        row: usize,
        column: usize,
    ) -> impl Iterator<Item = (usize, usize)> + use<> {
        let along = self.along;
        let here = match along {
            JoinAxis::Channels => column,
            JoinAxis::Tokens => row,
        };
        let parts = at.operands.get(operand).map_or(0, |(_, grid)| self.parts(grid));
        let own = if self.is_divided(at) {
            let start: usize = at.operands.iter().take(operand).map(|(_, grid)| self.parts(grid)).sum();
            match here.checked_sub(start).filter(|own| *own < parts) {
                Some(own) => own..own + 1,
                None => 0..0,
            }
        } else {
            0..parts
        };
        own.map(move |own| match along {
            JoinAxis::Channels => (row, own),
            JoinAxis::Tokens => (own, column),
        })
    }
}
