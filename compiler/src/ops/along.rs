//! Constant matrices along an axis, and what they keep of values that have neighbours in common.

use crate::analysis::moments::LAGS;

/// A matrix that multiplies the values along an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Positions before, and columns.
    pub from: usize,
    /// Positions behind, and rows.
    pub to: usize,
    /// Row by row.
    pub values: Vec<f64>,
}

impl Matrix {
    fn at(&self, row: usize, column: usize) -> f64 {
        self.values.get(row * self.from + column).copied().unwrap_or(0.0)
    }

    #[must_use]
    pub fn transposed(&self) -> Self {
        let places = (0..self.from).flat_map(|row| (0..self.to).map(move |column| (row, column)));
        Self { from: self.to, to: self.from, values: places.map(|(row, column)| self.at(column, row)).collect() }
    }

    /// This times the correlations of neighbours, which are symmetric.
    pub(super) fn spread(&self, correlation: impl Fn(usize) -> f64) -> Self {
        let near = |column: usize| column.saturating_sub(LAGS)..(column + LAGS + 1).min(self.from);
        let places = (0..self.to).flat_map(|row| (0..self.from).map(move |column| (row, column)));
        let values = places
            .map(|(row, column)| near(column).map(|from| self.at(row, from) * correlation(from.abs_diff(column))).sum())
            .collect();
        Self { values, ..*self }
    }

    /// Mean product of two results, by their distance, of values with these correlations and unit mean square.
    pub(super) fn kept(&self, correlation: impl Fn(usize) -> f64) -> Vec<f64> {
        let spread = self.spread(correlation);
        let product = |row, other| (0..self.from).map(|at| spread.at(row, at) * self.at(other, at)).sum();
        by_distance(self.to, product)
    }

    /// The same of values that are all one.
    pub(super) fn kept_of_ones(&self) -> Vec<f64> {
        let sums = self.sums();
        let sum = |row: usize| sums.get(row).copied().unwrap_or(0.0);
        by_distance(self.to, |row, other| sum(row) * sum(other))
    }

    /// Of each row.
    pub(super) fn sums(&self) -> Vec<f64> {
        self.values.chunks(self.from.max(1)).map(|row| row.iter().sum()).collect()
    }

    /// Mean of the diagonal and its neighbours.
    pub(super) fn diagonals(&self) -> Vec<f64> {
        by_distance(self.to, |row, other| self.at(row, other))
    }
}

/// Means over pairs of positions 0 to [`LAGS`] apart.
fn by_distance(positions: usize, product: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    let mean = |lag: usize| {
        let count = positions.saturating_sub(lag);
        (0..count).map(|row| product(row, row + lag)).sum::<f64>() / count.max(1) as f64
    };
    (0..=LAGS).map(mean).collect()
}
