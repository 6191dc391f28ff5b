//! Sine-cosine positions of a grid.

use crate::dim::{Dim, Sizes};
use crate::words::short;
use std::fmt;

/// A grid of positions as sines and cosines of its columns and rows.
///
/// Tokens are row-major. The first half of the channels encodes the column, the second half the row; each half holds
/// the sines, then the cosines, of `position * 10000^(-2i/half)`. facebookresearch/DiT `models.py`
/// (`get_2d_sincos_pos_embed`), after Vaswani et al. 2017; `base` and `scale` in PixArt-alpha and SD3. Positions are
/// computed in f32, the rest in f64 and rounded to f32 at the end, as upstream does.
#[derive(Clone, Debug, PartialEq)]
pub struct SinCosGrid {
    pub height: Dim,
    pub width: Dim,
    /// The length that height and width stand for, whatever the number of cells: positions are
    /// `index * base / size`. Without it they are indices.
    pub base: Option<f64>,
    /// Divides all positions.
    pub scale: f64,
}

/// The same with its sizes known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SinCosTable {
    pub height: u64,
    pub width: u64,
    base: Option<f64>,
    scale: f64,
}

impl SinCosGrid {
    /// The grid for given sizes; `None` if one is unbound.
    pub fn at(&self, sizes: &Sizes) -> Option<SinCosTable> {
        let (height, width) = (self.height.at(sizes)?, self.width.at(sizes)?);
        Some(SinCosTable { height, width, base: self.base, scale: self.scale })
    }
}

/// Sizes that are known only when the model runs stand for this many cells.
const TYPICAL_SIZE: u64 = 64;

/// Averages over a table of positions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TableStatistics {
    /// Over positions and channels.
    pub mean: f64,
    /// Of products of two distinct positions in one channel.
    pub shared: f64,
    /// Of squared cosines of two distinct positions, less what all have in common.
    pub similarity: f64,
}

impl SinCosGrid {
    pub fn statistics(&self) -> TableStatistics {
        self.statistics_of(None)
    }

    /// Averages over the table, or the rows and columns in the middle of it, to about 1 %: over some of the frequencies
    /// and positions where there are many.
    pub fn statistics_of(&self, window: Option<(u64, u64)>) -> TableStatistics {
        const CHANNELS: u64 = 96;
        const CELLS: u64 = 96;
        let size = |dim: &Dim| dim.known().unwrap_or(TYPICAL_SIZE).max(1);
        let (height, width) = (size(&self.height), size(&self.width));
        let table = SinCosTable { height, width, base: self.base, scale: self.scale };
        // Along an axis, the centred vectors of its positions and the mean of each channel.
        let (rows, columns) = window.unwrap_or((height, width));
        let along = |(size, count): (u64, u64), step: u64, first: u64| {
            let count = count.clamp(1, size);
            let (taken, start) = (count.min(CELLS), (size - count) / 2);
            let mut means = vec![];
            let mut vectors = vec![vec![]; taken as usize];
            for channel in first..first + CHANNELS / 2 {
                let cell = |at: u64| table.value(CHANNELS, (start + at * count / taken) * step, channel);
                let mean = (0..taken).map(cell).sum::<f64>() / taken as f64;
                means.push(mean);
                (0..taken).zip(&mut vectors).for_each(|(at, vector)| vector.push(cell(at) - mean));
            }
            (means, vectors)
        };
        let count = (rows.clamp(1, height) * columns.clamp(1, width)) as f64;
        let (columns, rows) = (along((width, columns), 1, 0), along((height, rows), width, CHANNELS / 2));
        let all = || columns.0.iter().chain(&rows.0);
        let mean = all().sum::<f64>() / CHANNELS as f64;
        let of_means = all().map(|mean| mean * mean).sum::<f64>() / CHANNELS as f64;
        let shared = if count > 1.0 { (count * of_means - 0.5) / (count - 1.0) } else { 0.5 };
        // Two positions differ in column and row: the products of both halves add up, and their means are zero.
        let energy = (0.5 - of_means).max(f64::MIN_POSITIVE) * CHANNELS as f64;
        let products = mean_squared_product(&columns.1) + mean_squared_product(&rows.1);
        TableStatistics { mean, shared, similarity: products / (energy * energy) }
    }
}

/// Over all pairs of vectors, as many as there are of each.
fn mean_squared_product(vectors: &[Vec<f64>]) -> f64 {
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let pairs = vectors.iter().flat_map(|a| vectors.iter().map(move |b| (a, b)));
    let sum: f64 = pairs.map(|(a, b)| product(a, b).powi(2)).sum();
    sum / (vectors.len() * vectors.len()).max(1) as f64
}

impl SinCosTable {
    /// An element of the table, which is `channels` wide.
    pub fn value(&self, channels: u64, token: u64, channel: u64) -> f64 {
        let half = channels / 2;
        let (row, column) = (token / self.width.max(1), token % self.width.max(1));
        let (position, at) = if channel < half {
            (self.position(column, self.width), channel)
        } else {
            (self.position(row, self.height), channel - half)
        };
        let quarter = (half / 2).max(1);
        let exponent = (at % quarter) as f64 / quarter as f64;
        let angle = f64::from(position) / libm::pow(10_000.0, exponent);
        if at < quarter { libm::sin(angle) } else { libm::cos(angle) }
    }

    /// All elements, token by token.
    pub fn values(&self, channels: u64) -> impl Iterator<Item = f32> + use<> {
        let table = *self;
        let count = table.height * table.width * channels;
        (0..count).map(move |index| table.value(channels, index / channels, index % channels) as f32)
    }

    fn position(&self, index: u64, size: u64) -> f32 {
        let step = self.base.map_or(1.0, |base| size as f64 / base);
        index as f32 / step as f32 / self.scale as f32
    }
}

impl fmt::Display for SinCosGrid {
    /// The arguments as they would be written in a spec.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.height, self.width)?;
        if let Some(base) = self.base {
            write!(f, ", base: {}", short(base))?;
        }
        if self.scale != 1.0 {
            write!(f, ", scale: {}", short(self.scale))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::SinCosTable;

    #[test]
    fn columns_come_first_and_positions_follow_base_and_scale() {
        let table = |base, scale| SinCosTable { height: 2, width: 4, base, scale };
        // Token 7 is row 1, column 3.
        let value = |table: SinCosTable, channel| table.value(8, 7, channel);
        assert_eq!(value(table(None, 1.0), 0), libm::sin(3.0));
        assert_eq!(value(table(None, 1.0), 3), libm::cos(3.0 / 100.0));
        assert_eq!(value(table(None, 1.0), 4), libm::sin(1.0));
        // A base of 2 brings four columns to steps of a half, and leaves two rows alone.
        assert_eq!(value(table(Some(2.0), 1.0), 0), libm::sin(1.5));
        assert_eq!(value(table(Some(2.0), 1.0), 4), libm::sin(1.0));
        assert_eq!(value(table(Some(2.0), 2.0), 0), libm::sin(0.75));
    }
}
