//! What liveness knows of a tensor at one training step.
//!
//! A fact is about *almost all* parameters and inputs: it says whether a quantity vanishes identically, given which
//! parameters are still at their starting zero. Six quantities are enough to be exact for the operators we have:
//! whether the tensor is non-zero, whether it varies over positions and over channels, and whether its means over
//! positions, over channels and over both are non-zero. Means matter because gradients of shift-invariant operators
//! (softmax, normalisation) sum to zero, and a bias or a uniform input only ever sees that sum.
//!
//! A weight is a tensor too: its inputs take the place of positions, its outputs that of channels. A weight that
//! starts at zero moves along its gradients and nothing else: fed by an input that is the same in all channels it has
//! equal columns for ever.
//!
//! All facts are monotone: once a quantity is non-zero it stays so for almost all parameters, inputs and targets.
//! Distinct paths are assumed not to cancel.

use smallvec::{SmallVec, smallvec};

/// A set of facts about one tensor, or one cell of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Facts(u8);

impl Facts {
    pub const ZERO: Facts = Facts(0);
    /// Not identically zero.
    pub const NONZERO: Facts = Facts(1);
    /// Differs between positions.
    pub const POSITIONS: Facts = Facts(2);
    /// Differs between channels.
    pub const CHANNELS: Facts = Facts(4);
    /// The mean over positions is not zero for every channel.
    pub const MEAN_POSITIONS: Facts = Facts(8);
    /// The mean over channels is not zero for every position.
    pub const MEAN_CHANNELS: Facts = Facts(16);
    /// The mean over positions and channels is not zero.
    pub const MEAN_ALL: Facts = Facts(32);
    /// Everything that can be true is true.
    pub const GENERIC: Facts = Facts(63);
    /// A non-zero number that is the same everywhere.
    pub const UNIFORM: Facts = Facts(1 | 8 | 16 | 32);

    pub fn has(self, fact: Facts) -> bool {
        self.0 & fact.0 == fact.0
    }

    pub fn nonzero(self) -> bool {
        self.has(Facts::NONZERO)
    }

    pub fn or(self, other: Facts) -> Facts {
        Facts(self.0 | other.0)
    }

    pub fn and(self, other: Facts) -> Facts {
        Facts(self.0 & other.0)
    }

    #[must_use]
    pub fn without(self, fact: Facts) -> Facts {
        Facts(self.0 & !fact.0)
    }

    /// `fact` added where `condition` holds.
    #[must_use]
    pub fn with(self, fact: Facts, condition: bool) -> Facts {
        if condition { self.or(fact) } else { self }
    }

    /// These facts where `condition` holds, otherwise nothing.
    pub fn when(self, condition: bool) -> Facts {
        if condition { self } else { Facts::ZERO }
    }

    /// Facts that follow: a zero has none, a tensor that does not vary along an axis equals its mean over it.
    #[must_use]
    pub fn closed(self) -> Facts {
        if !self.nonzero() {
            return Facts::ZERO;
        }
        let mut facts = self;
        if !facts.has(Facts::POSITIONS) {
            facts = facts.with(Facts::MEAN_POSITIONS, true).without(Facts::MEAN_ALL);
            facts = facts.with(Facts::MEAN_ALL, facts.has(Facts::MEAN_CHANNELS));
        }
        if !facts.has(Facts::CHANNELS) {
            facts = facts.with(Facts::MEAN_CHANNELS, true).without(Facts::MEAN_ALL);
            facts = facts.with(Facts::MEAN_ALL, facts.has(Facts::MEAN_POSITIONS));
        }
        facts
    }

    /// The element-wise product of two tensors.
    pub fn times(self, other: Facts) -> Facts {
        if !(self.nonzero() && other.nonzero()) {
            return Facts::ZERO;
        }
        let (a, b) = (self, other);
        let varies = |fact| a.has(fact) || b.has(fact);
        // The mean along an axis passes a factor that is uniform along it; two varying factors correlate.
        let mean = |axis: Facts, mean: Facts| {
            if !a.has(axis) {
                b.has(mean)
            } else if !b.has(axis) {
                a.has(mean)
            } else {
                true
            }
        };
        let (ap, ac) = (a.has(Facts::POSITIONS), a.has(Facts::CHANNELS));
        let (bp, bc) = (b.has(Facts::POSITIONS), b.has(Facts::CHANNELS));
        let mean_all = match ((ap, ac), (bp, bc)) {
            ((false, false), _) => b.has(Facts::MEAN_ALL),
            (_, (false, false)) => a.has(Facts::MEAN_ALL),
            ((false, true), (true, false)) => a.has(Facts::MEAN_CHANNELS) && b.has(Facts::MEAN_POSITIONS),
            ((true, false), (false, true)) => a.has(Facts::MEAN_POSITIONS) && b.has(Facts::MEAN_CHANNELS),
            ((false, true), (false, true)) | ((true, false), (true, false)) => true,
            ((false, true), (true, true)) => b.has(Facts::MEAN_POSITIONS),
            ((true, true), (false, true)) => a.has(Facts::MEAN_POSITIONS),
            ((true, false), (true, true)) => b.has(Facts::MEAN_CHANNELS),
            ((true, true), (true, false)) => a.has(Facts::MEAN_CHANNELS),
            ((true, true), (true, true)) => true,
        };
        Facts::NONZERO
            .with(Facts::POSITIONS, varies(Facts::POSITIONS))
            .with(Facts::CHANNELS, varies(Facts::CHANNELS))
            .with(Facts::MEAN_POSITIONS, mean(Facts::POSITIONS, Facts::MEAN_POSITIONS))
            .with(Facts::MEAN_CHANNELS, mean(Facts::CHANNELS, Facts::MEAN_CHANNELS))
            .with(Facts::MEAN_ALL, mean_all)
            .closed()
    }

    /// Positions and channels exchanged.
    pub fn transposed(self) -> Facts {
        Facts::ZERO
            .with(Facts::NONZERO, self.nonzero())
            .with(Facts::POSITIONS, self.has(Facts::CHANNELS))
            .with(Facts::CHANNELS, self.has(Facts::POSITIONS))
            .with(Facts::MEAN_POSITIONS, self.has(Facts::MEAN_CHANNELS))
            .with(Facts::MEAN_CHANNELS, self.has(Facts::MEAN_POSITIONS))
            .with(Facts::MEAN_ALL, self.has(Facts::MEAN_ALL))
    }

    /// A tensor along its positions.
    pub fn over_positions(self) -> Line {
        self.line(Facts::NONZERO, Facts::POSITIONS, Facts::MEAN_POSITIONS)
    }

    /// The mean over channels of a tensor, along its positions.
    pub fn channel_mean_over_positions(self) -> Line {
        self.line(Facts::MEAN_CHANNELS, Facts::POSITIONS, Facts::MEAN_ALL)
    }

    /// A tensor along its channels.
    pub fn over_channels(self) -> Line {
        self.line(Facts::NONZERO, Facts::CHANNELS, Facts::MEAN_CHANNELS)
    }

    /// The mean over positions of a tensor, along its channels.
    pub fn position_mean_over_channels(self) -> Line {
        self.line(Facts::MEAN_POSITIONS, Facts::CHANNELS, Facts::MEAN_ALL)
    }

    fn line(self, nonzero: Facts, varies: Facts, mean: Facts) -> Line {
        Line { nonzero: self.has(nonzero), varies: self.has(varies), mean: self.has(mean) }
    }

    /// The sum over positions.
    pub fn sum_positions(self) -> Facts {
        Facts::NONZERO
            .with(Facts::CHANNELS, self.has(Facts::CHANNELS))
            .with(Facts::MEAN_CHANNELS, self.has(Facts::MEAN_ALL))
            .when(self.has(Facts::MEAN_POSITIONS))
            .closed()
    }

    /// The sum over channels.
    pub fn sum_channels(self) -> Facts {
        Facts::NONZERO
            .with(Facts::POSITIONS, self.has(Facts::POSITIONS))
            .with(Facts::MEAN_POSITIONS, self.has(Facts::MEAN_ALL))
            .when(self.has(Facts::MEAN_CHANNELS))
            .closed()
    }
}

/// What is known of a tensor along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    pub nonzero: bool,
    pub varies: bool,
    pub mean: bool,
}

impl Line {
    /// Whether the sum over the axis of the product of two tensors is non-zero: a factor that is uniform along it
    /// passes on the mean of the other one, two that vary correlate.
    pub fn contracts(self, other: Line) -> bool {
        let survives = if !self.varies {
            other.mean
        } else if !other.varies {
            self.mean
        } else {
            true
        };
        self.nonzero && other.nonzero && survives
    }
}

/// Facts about the cells of a tensor.
///
/// Where tensors are cut and joined (`chunk`, `concat`), parts of one tensor have different fates. Rows are parts of
/// the token axis, columns parts of the channel axis; most tensors have a single cell. Weights of linear maps have
/// a row for each part of their output and a column for each part of their input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    rows: usize,
    columns: usize,
    /// As many as fit into the room that a pointer to more would take.
    cells: SmallVec<[Facts; 16]>,
}

impl Grid {
    pub fn new(rows: usize, columns: usize) -> Self {
        Self::filled(rows, columns, Facts::ZERO)
    }

    pub fn filled(rows: usize, columns: usize, facts: Facts) -> Self {
        Self { rows, columns, cells: smallvec![facts; rows * columns] }
    }

    pub fn build(rows: usize, columns: usize, cell: impl Fn(usize, usize) -> Facts) -> Self {
        let mut cells = SmallVec::with_capacity(rows * columns);
        for row in 0..rows {
            for column in 0..columns {
                cells.push(cell(row, column));
            }
        }
        Self { rows, columns, cells }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    /// A cell; an axis with a single part stands for every part.
    pub fn at(&self, row: usize, column: usize) -> Facts {
        let row = if self.rows == 1 { 0 } else { row };
        let column = if self.columns == 1 { 0 } else { column };
        self.cells.get(row * self.columns + column).copied().unwrap_or_default()
    }

    /// Adds facts to a cell.
    pub fn add(&mut self, row: usize, column: usize, facts: Facts) {
        if let Some(cell) = self.cells.get_mut(row * self.columns + column) {
            *cell = cell.or(facts);
        }
    }

    /// Adds the facts of another grid of the same form; whether anything was new.
    pub fn absorb(&mut self, other: &Grid) -> bool {
        let mut changed = false;
        for (own, new) in self.cells.iter_mut().zip(&other.cells) {
            let sum = own.or(*new);
            changed |= sum != *own;
            *own = sum;
        }
        changed
    }

    #[must_use]
    pub fn map(&self, f: impl Fn(usize, usize, Facts) -> Facts) -> Grid {
        Grid::build(self.rows, self.columns, |row, column| f(row, column, self.at(row, column)))
    }

    /// A row of tokens, over all channels. Parts that are not zero differ from each other.
    pub fn row(&self, row: usize) -> Facts {
        let cells = (0..self.columns).map(|column| self.at(row, column));
        merge(cells, Facts::CHANNELS, self.columns)
    }

    /// A part of the channels, over all tokens.
    pub fn column(&self, column: usize) -> Facts {
        let cells = (0..self.rows).map(|row| self.at(row, column));
        merge(cells, Facts::POSITIONS, self.rows)
    }

    /// The whole tensor.
    pub fn all(&self) -> Facts {
        merge((0..self.rows).map(|row| self.row(row)), Facts::POSITIONS, self.rows)
    }

    pub fn any_nonzero(&self) -> bool {
        self.cells.iter().any(|cell| cell.nonzero())
    }
}

fn merge(cells: impl Iterator<Item = Facts>, axis: Facts, parts: usize) -> Facts {
    let union = cells.fold(Facts::ZERO, Facts::or);
    union.with(axis, parts > 1 && union.nonzero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_centred_gradient_vanishes_against_a_uniform_input() {
        let centred = Facts::GENERIC.without(Facts::MEAN_POSITIONS).without(Facts::MEAN_ALL);
        let bias = Facts::NONZERO.or(Facts::CHANNELS).or(Facts::MEAN_CHANNELS).closed();
        assert_eq!(centred.times(bias).sum_positions(), Facts::ZERO);
        assert!(centred.times(Facts::GENERIC).sum_positions().nonzero());
    }

    #[test]
    fn a_uniform_tensor_equals_its_means() {
        assert_eq!(Facts::NONZERO.closed(), Facts::UNIFORM);
        assert_eq!(Facts::UNIFORM.times(Facts::GENERIC), Facts::GENERIC);
    }

    #[test]
    fn sums_keep_the_other_axis() {
        let rows = Facts::GENERIC.sum_positions();
        assert!(rows.has(Facts::CHANNELS) && !rows.has(Facts::POSITIONS));
        assert_eq!(rows.sum_channels(), Facts::UNIFORM);
    }
}
