//! Weights as an optimised graph takes them, and back.

use crate::ops::SMALLEST_SQUARE;
use archc_compiler::passes::Fold;

/// What the rows of a parameter have been divided by.
#[derive(Clone, Debug)]
pub(crate) struct Divisors(Vec<f32>);

impl Divisors {
    /// Folds what is done to a parameter of that shape into its elements.
    pub fn of(fold: Fold, shape: &[usize], data: &mut [f32]) -> Self {
        let Fold::UnitRows { eps } = fold;
        let size = shape.iter().skip(1).product::<usize>().max(1);
        let divisors = data.chunks_mut(size).map(|row| {
            let squares: f64 = row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
            let rms = (squares / size as f64 + SMALLEST_SQUARE).sqrt();
            let divisor = ((eps + rms) * (size as f64).sqrt()) as f32;
            row.iter_mut().for_each(|x| *x /= divisor);
            divisor
        });
        Self(divisors.collect())
    }

    /// The elements as they were, but for rounding.
    pub fn undo(&self, data: &mut [f32]) {
        let size = data.len() / self.0.len().max(1);
        for (row, divisor) in data.chunks_mut(size.max(1)).zip(&self.0) {
            row.iter_mut().for_each(|x| *x *= divisor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_get_unit_length_and_come_back() {
        let before = [3.0, 4.0, 0.0, 0.0, -0.5, 0.0];
        let mut data = before;
        let divisors = Divisors::of(Fold::UnitRows { eps: 0.0 }, &[3, 2], &mut data);
        let expected = [0.6, 0.8, 0.0, 0.0, -1.0, 0.0];
        assert!(data.iter().zip(expected).all(|(x, y): (&f32, f32)| (x - y).abs() < 1e-6), "{data:?}");
        divisors.undo(&mut data);
        assert!(data.iter().zip(before).all(|(x, y)| (x - y).abs() < 1e-6), "{data:?}");
    }
}
