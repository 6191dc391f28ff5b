//! A part of a value along an axis.

use super::attribute::Offset;
use super::concat::JoinAxis;
use super::{
    Alignment, Alignments, Flow, Gradients, Link, Misuse, Obligations, Operator, Parameters,
    Passage, Sent};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Class, Moments, Parts, Unknown};
use super::signals::{Response, Signals};
use crate::dim::{Dim, Sizes};
use crate::operator;
use crate::types::{Axis, Type};
use smallvec::smallvec;

operator! {
    /// The part `start .. start + size` of the channels, or of the tokens. `chunk(n)` makes n equal ones.
    ///
    /// Places in a sequence may be known only when the model runs: `slice(0, N, along: tokens)`. With `groups`, that part
    /// of each of so many equal groups of channels is taken, and the parts are put side by side.
    "slice"(x)
    pub struct Slice {
        /// First index.
        start: Offset,
        /// How many.
        size: Dim,
        /// What is cut.
        along: JoinAxis = JoinAxis::Channels,
        /// Groups of channels, each of which is cut.
        groups: u64 = 1,
    }
}

impl Slice {
    /// The channels from `start` on, of each of some groups.
    pub fn of_channels(start: u64, size: u64, groups: u64) -> Self {
        let start = Offset(Dim::Known(start));
        Self { start, size: Dim::Known(size), along: JoinAxis::Channels, groups }
    }

    /// The same with sizes that are given, where they suffice.
    #[must_use]
    pub fn at(&self, sizes: &Sizes) -> Self {
        let bound = |dim: &Dim| dim.at(sizes).map_or_else(|| dim.clone(), Dim::Known);
        Self { start: Offset(bound(&self.start.0)), size: bound(&self.size), ..self.clone() }
    }

    /// The one number at which a slice of whole groups starts, if it is known.
    fn known_start(&self) -> Option<u64> {
        self.start.0.known().filter(|_| self.groups == 1)
    }
}

impl Operator for Slice {
    fn infer(&self, operands: &[&Type], obligations: &mut Obligations) -> Result<Type, Misuse> {
        let axis = self.along.axis();
        let Some(x) = operands.first() else { return Err(Misuse::new("type/kind", "`slice` lacks its operand")) };
        let Some(size) = x.dim(axis).filter(|_| !x.kind.is_index()) else {
            return Err(Misuse::new("type/kind", format!("{x} has no {} to cut", axis.name())).at(0));
        };
        if self.groups > 1 && self.along != JoinAxis::Channels {
            return Err(Misuse::new("call/arguments", "`groups` of `slice` are groups of channels").at(0));
        }
        let size = match size {
            Dim::Known(size) if size % self.groups != 0 => {
                let message = format!("{size} channels are not {} equal groups", self.groups);
                return Err(Misuse::new("shape/remainder", message).at(0));
            }
            Dim::Known(size) => Dim::Known(size / self.groups),
            open => open.clone(),
        };
        let too_long = |_| Misuse::new("shape/size", "the part is too long").at(0);
        let end = self.start.0.plus(&self.size).map_err(too_long)?;
        // What is left behind the part is not below zero; for open sizes, when the model runs.
        match size.minus(&end) {
            Ok(Dim::Known(_)) => {}
            Ok(open) => obligations.0.push(open),
            Err(_) => {
                let message = format!("{} {}..{end} reach beyond {x}", axis.name(), self.start.0);
                return Err(Misuse::new("shape/range", message).at(0));
            }
        }
        let kept = self.size.times(&Dim::Known(self.groups)).map_err(too_long)?;
        Ok((*x).clone().with(axis, kept))
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let x = at.operand(0)?;
        // Fewer channels leave more to chance.
        let chance = match self.along {
            JoinAxis::Channels => 1.0 / at.size_in_result(Axis::Channel) - 1.0 / at.channels(0),
            JoinAxis::Tokens => 0.0,
        };
        // A part of tokens of several origins is not like all of them.
        let mixed = self.along == JoinAxis::Tokens && x.class >= Class::Within15;
        let class = if mixed { Class::Factor2 } else { x.class };
        Ok(Response::fresh(x.similar(x.similarity + chance.max(0.0)).at_most(class)))
    }

    /// The part gets what comes, the rest nothing.
    fn signal_back(&self, at: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        let share = at.size_in_result(self.along.axis()) / at.axis(0, self.along.axis()).max(1.0);
        let parts = gradient.mixed(share, &Moments::ZERO);
        Ok(smallvec![match self.along {
            JoinAxis::Channels => parts,
            JoinAxis::Tokens => {
                let (square, far) = (parts.square(), share * share * gradient.far());
                let mut moments = parts.map(0.0, |_| far);
                if let Some(own) = moments.second.first_mut() {
                    *own = square;
                }
                let total = at.axis(0, Axis::Token);
                moments.parts = self.known_start().filter(|_| share < 1.0).map(|start| match start as f64 {
                    0.0 => Parts { tokens: share * total, squares: [1.0 / share, 0.0] },
                    start => Parts { tokens: start, squares: [0.0, total / (total - start)] },
                });
                moments
            }
        }])
    }

    fn flops(&self, _: &[&[u64]], _: &[u64]) -> u64 {
        0
    }

    fn passage(&self) -> Passage {
        Passage::Cut
    }

    fn alignments(&self, operands: &[&Type], _: &Type) -> Alignments {
        let known = operands.first().and_then(|x| x.dim(self.along.axis())).and_then(Dim::known).is_some();
        let start = self.known_start().filter(|_| known && self.size.known().is_some());
        let part = start.map_or(Link::Unrelated, Link::PartOfOperand);
        smallvec![match self.along {
            JoinAxis::Channels => Alignment { channels: part, tokens: Link::Same },
            JoinAxis::Tokens => Alignment { channels: Link::Same, tokens: part },
        }]
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        let x = at.operand(0);
        let Some((rows, columns)) = self.offset(at) else {
            return Grid::build(at.rows, at.columns, |row, column| match self.along {
                JoinAxis::Channels => part_of(x.row(row)),
                JoinAxis::Tokens => part_of(x.column(column)),
            });
        };
        Grid::build(at.rows, at.columns, |row, column| x.at(row + rows, column + columns))
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        let x = at.operand(0);
        let Some((rows, columns)) = self.offset(at) else {
            // The rest of the operand receives nothing, so its gradient varies.
            return Gradients::of_operands([x.map(|row, column, _| {
                let facts = match self.along {
                    JoinAxis::Channels => gradient.row(row),
                    JoinAxis::Tokens => gradient.column(column),
                };
                facts.with(self.along.varies(), facts.nonzero())
            })]);
        };
        let mut operand = Grid::new(x.rows(), x.columns());
        for row in 0..gradient.rows() {
            for column in 0..gradient.columns() {
                let facts = gradient.at(row, column);
                operand.add((row + rows).min(x.rows() - 1), (column + columns).min(x.columns() - 1), facts);
            }
        }
        Gradients::of_operands([operand])
    }
}

/// Facts of a part of a tensor: it may vary where the tensor does, and it is not centred where the tensor is.
pub(super) fn part_of(whole: Facts) -> Facts {
    whole.or(Facts::MEAN_POSITIONS).or(Facts::MEAN_CHANNELS).or(Facts::MEAN_ALL).when(whole.nonzero())
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
