//! Functions of normal variables: moments, and how they pass correlation on.

use rustc_hash::FxHashMap;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::LazyLock;

/// Terms of the expansion in Hermite polynomials.
const TERMS: usize = 24;
/// Points of the quadrature, evenly spaced over eight standard deviations on both sides; for smooth functions the
/// trapezoidal rule converges faster than any power of the step.
const POINTS: usize = 257;

struct Point {
    z: f64,
    weight: f64,
    /// Normalised Hermite polynomials `He_n(z) / sqrt(n!)`.
    polynomials: [f64; TERMS],
}

static GRID: LazyLock<Vec<Point>> = LazyLock::new(|| {
    let z = |at: usize| 16.0 * (at as f64 / (POINTS - 1) as f64 - 0.5);
    let total: f64 = (0..POINTS).map(|at| libm::exp(-0.5 * z(at) * z(at))).sum();
    let point = |at: usize| {
        let z = z(at);
        let mut polynomials = [0.0; TERMS];
        let (mut before, mut own) = (0.0, 1.0);
        for (n, slot) in polynomials.iter_mut().enumerate() {
            *slot = own;
            let n = n as f64;
            (before, own) = (own, (z * own - libm::sqrt(n) * before) / libm::sqrt(n + 1.0));
        }
        Point { z, weight: libm::exp(-0.5 * z * z) / total, polynomials }
    };
    (0..POINTS).map(point).collect()
});

/// A function `f` of a normal variable `x` of given mean and deviation.
#[derive(Clone, Debug)]
pub struct Expansion {
    /// `E[f He_n] / sqrt(n!)`.
    terms: [f64; TERMS],
    pub square: f64,
    std: f64,
    /// `E[f'(x)^2]`.
    pub slope_square: f64,
}

impl Expansion {
    pub fn new(mean: f64, variance: f64, f: impl Fn(f64) -> f64) -> Self {
        let std = libm::sqrt(variance.max(0.0));
        let (mut terms, mut square, mut slope_square) = ([0.0; TERMS], 0.0, 0.0);
        // A step that keeps both the truncation and the rounding of the difference quotient below 1e-9.
        let step = 1e-5 * std.max(1.0);
        for point in GRID.iter() {
            let x = mean + std * point.z;
            let value = f(x);
            square += point.weight * value * value;
            let slope = (f(x + step) - f(x - step)) / (2.0 * step);
            slope_square += point.weight * slope * slope;
            for (term, polynomial) in terms.iter_mut().zip(&point.polynomials) {
                *term += point.weight * value * polynomial;
            }
        }
        Self { terms, square, std, slope_square }
    }

    /// `E[f(x)]`
    pub fn mean(&self) -> f64 {
        self.terms.first().copied().unwrap_or(0.0)
    }

    /// `E[f'(x)]`, by Stein's lemma `Cov(f(x), x) / Var(x)`.
    pub fn slope(&self) -> f64 {
        if self.std == 0.0 { 0.0 } else { self.terms.get(1).copied().unwrap_or(0.0) / self.std }
    }

    /// `E[f(x) f(y)]` for `x` and `y` of the given correlation (Mehler's formula).
    pub fn pair(&self, correlation: f64) -> f64 {
        series(self.terms.iter().map(|term| term * term), self.square, correlation)
    }

    /// `E[f'(x) f'(y)]`
    pub fn slope_pair(&self, correlation: f64) -> f64 {
        if self.std == 0.0 {
            return self.slope_square;
        }
        let variance = self.std * self.std;
        let terms = self.terms.iter().enumerate().skip(1).map(|(n, term)| n as f64 * term * term / variance);
        series(terms, self.slope_square, correlation)
    }
}

/// `sum a_n r^n`, where all terms add up to `total`; what is missing of it stands behind the last.
fn series(terms: impl Iterator<Item = f64>, total: f64, correlation: f64) -> f64 {
    let (mut sum, mut rest, mut power) = (0.0, total, 1.0);
    for term in terms {
        sum += term * power;
        rest -= term;
        power *= correlation;
    }
    sum + rest * power
}

/// Expansions that have been made: the layers of a network see few different distributions.
#[derive(Debug, Default)]
pub struct Expansions(RefCell<FxHashMap<Key, Rc<Expansion>>>);

/// Name of a function, with the bits of mean and variance.
type Key = (&'static str, u64, u64);

impl Expansions {
    /// Of the function of that name.
    pub fn of(&self, name: &'static str, mean: f64, variance: f64, f: impl Fn(f64) -> f64) -> Rc<Expansion> {
        let key = (name, mean.to_bits(), variance.to_bits());
        let mut known = self.0.borrow_mut();
        known.entry(key).or_insert_with(|| Rc::new(Expansion::new(mean, variance, f))).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::Expansion;

    /// Cho & Saul 2009: for ReLU, `E[f f'] = (sqrt(1 - r^2) + r (pi - acos r)) / (2 pi)`.
    #[test]
    fn relu_passes_correlation_on_as_the_arc_cosine_kernel_says() {
        let relu = Expansion::new(0.0, 1.0, |x| x.max(0.0));
        for r in [0.0_f64, 0.3, 0.7, 0.95] {
            let kernel = (libm::sqrt(1.0 - r * r) + r * (std::f64::consts::PI - libm::acos(r))) / std::f64::consts::TAU;
            assert!((relu.pair(r) - kernel).abs() < 2e-3, "{r}: {} instead of {kernel}", relu.pair(r));
        }
        assert!((relu.slope() - 0.5).abs() < 1e-6 && (relu.slope_square - 0.5).abs() < 1e-2);
    }

    #[test]
    fn a_linear_function_passes_correlation_on_unchanged() {
        let line = Expansion::new(0.5, 4.0, |x| 3.0 * x + 1.0);
        assert!((line.mean() - 2.5).abs() < 1e-9 && (line.slope() - 3.0).abs() < 1e-9);
        assert!((line.pair(0.25) - (2.5 * 2.5 + 9.0)).abs() < 1e-9);
        assert!((line.slope_square - 9.0).abs() < 1e-6);
    }
}
