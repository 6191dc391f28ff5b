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
    /// `E[f'(x)^2 x^2] / (E[f'(x)^2] E[x^2])`.
    pub tilt: f64,
    /// `d ln E[f(x)^2] / d ln Var(x)`, `E[f(x) f'(x) (x - E[x])] / E[f(x)^2]`.
    pub growth: f64,
}

impl Expansion {
    pub fn new(mean: f64, variance: f64, f: impl Fn(f64) -> f64) -> Self {
        let std = libm::sqrt(variance.max(0.0));
        let (mut terms, mut square, mut slope_square, mut weighted, mut growth) = ([0.0; TERMS], 0.0, 0.0, 0.0, 0.0);
        // A step that keeps both the truncation and the rounding of the difference quotient below 1e-9.
        let step = 1e-5 * std.max(1.0);
        for point in GRID.iter() {
            let x = mean + std * point.z;
            let value = f(x);
            square += point.weight * value * value;
            let slope = (f(x + step) - f(x - step)) / (2.0 * step);
            slope_square += point.weight * slope * slope;
            growth += point.weight * value * slope * std * point.z;
            weighted += point.weight * slope * slope * x * x;
            for (term, polynomial) in terms.iter_mut().zip(&point.polynomials) {
                *term += point.weight * value * polynomial;
            }
        }
        let both = slope_square * (variance.max(0.0) + mean * mean);
        let ratio = |part: f64, whole: f64, none: f64| if whole > 0.0 { part / whole } else { none };
        let (tilt, growth) = (ratio(weighted, both, 1.0), ratio(growth, square, 0.0));
        Self { terms, square, std, slope_square, tilt, growth }
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

/// Nodes and weights of Gauss-Hermite quadrature for a normal variable, exact up to the ninth power (Abramowitz & Stegun
/// 25.4.46).
const HERMITE: [(f64, f64); 5] = [
    (-2.856_970_013_872_806, 0.011_257_411_327_720_69),
    (-1.355_626_179_974_266, 0.222_075_922_005_612_6),
    (0.0, 0.533_333_333_333_333_3),
    (1.355_626_179_974_266, 0.222_075_922_005_612_6),
    (2.856_970_013_872_806, 0.011_257_411_327_720_69),
];

/// `E[f(z)]` for a normal variable, for smooth `f`.
pub fn over_normal(f: impl Fn(f64) -> f64) -> f64 {
    HERMITE.iter().map(|(z, weight)| weight * f(*z)).sum()
}

/// `E[f(u)]` for the mean `u` of so many squared normal variables, to a part in a thousand for smooth `f`; Wilson &
/// Hilferty 1931: its cube root is nearly normal.
pub fn over_mean_square(freedom: f64, f: impl Fn(f64) -> f64) -> f64 {
    if !(freedom > 0.0 && freedom < 1e5) {
        return f(1.0);
    }
    let spread = 2.0 / (9.0 * freedom);
    let u = |z: f64| libm::pow((1.0 - spread + z * libm::sqrt(spread)).max(0.0), 3.0);
    let points = HERMITE.iter().map(|(z, weight)| (u(*z), *weight));
    // The approximation has a mean of one to a few parts in a thousand; held to it exactly.
    let (total, sum) = points.clone().fold((0.0, 0.0), |(total, sum), (u, weight)| (total + weight, sum + weight * u));
    let mean = sum / total;
    points.map(|(u, weight)| weight * f(u / mean)).sum::<f64>() / total
}

/// Weights of a softmax over `count` independent normal logits: the mean sum of their squares.
///
/// `1 / (sum e^z)^2 = int t e^(-t sum e^z) dt` turns the mean into an integral over products of means:
/// `E[sum a^2] = count int t E[e^(2z) e^(-t e^z)] E[e^(-t e^z)]^(count - 1) dt`.
pub fn softmax_concentration(count: f64, variance: f64) -> f64 {
    const STEPS: usize = 48;
    const POINTS: usize = 17;
    if count <= 1.0 {
        return 1.0;
    }
    if variance < 1e-4 {
        return 1.0 / count;
    }
    let std = libm::sqrt(variance.min(400.0));
    // With t = e^s, everything happens between the largest logit that is likely, and the sum over all.
    let (low, high) = (-libm::log(count) - 0.5 * variance.min(400.0) - 12.0, 6.0 + 5.5 * std);
    let step = (high - low) / STEPS as f64;
    // Weights, and the exponentials of the logits.
    let points: [(f64, f64); POINTS] = std::array::from_fn(|at| {
        let z = 11.0 * (at as f64 / (POINTS - 1) as f64 - 0.5);
        (libm::exp(-0.5 * z * z), libm::exp(std * z))
    });
    let total: f64 = points.iter().map(|(weight, _)| weight).sum();
    let integrand = |s: f64| {
        let t = libm::exp(s);
        let (mut none, mut square) = (0.0, 0.0);
        for (weight, logit) in points {
            let x = t * logit;
            // Beyond that the exponential is zero beside the others, or one.
            let kept = if x > 40.0 { 0.0 } else { weight * if x < 1e-17 { 1.0 } else { libm::exp(-x) } };
            none += kept;
            square += kept * x * x;
        }
        let (none, square) = (none / total, square / total);
        if none <= 0.0 { 0.0 } else { square * libm::exp((count - 1.0) * libm::log(none)) }
    };
    let sum: f64 = (0..=STEPS).map(|at| integrand(low + step * at as f64)).sum();
    (count * step * sum).clamp(1.0 / count, 1.0)
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
    use super::*;

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

    /// Means over 20,000 draws; for small variances, `e^(s^2) / L`.
    #[test]
    fn a_softmax_is_as_concentrated_as_draws_of_it() {
        let measured =
            [(2.0, 2.0, 0.6986), (12.0, 1.0, 0.1684), (64.0, 2.0, 0.0755), (64.0, 9.0, 0.3269), (1024.0, 4.0, 0.0283)];
        for (count, variance, drawn) in measured {
            let found = softmax_concentration(count, variance);
            assert!((found / drawn - 1.0).abs() < 0.01, "{count} {variance}: {found} instead of {drawn}");
        }
        assert!((softmax_concentration(1024.0, 0.1) * 1024.0 - libm::exp(0.1)).abs() < 2e-3);
        assert_eq!(softmax_concentration(1.0, 3.0), 1.0);
    }

    /// `E[1/u] = d / (d - 2)` and `Var(u) = 2 / d`.
    #[test]
    fn means_of_squares_spread_as_chi_squares_do() {
        for freedom in [12.0, 24.0, 64.0] {
            let inverse = over_mean_square(freedom, |u| 1.0 / u);
            assert!((inverse / (freedom / (freedom - 2.0)) - 1.0).abs() < 0.02, "{freedom}: {inverse}");
            let square = over_mean_square(freedom, |u| u * u);
            assert!((square - 1.0 - 2.0 / freedom).abs() < 5e-3, "{freedom}: {square}");
        }
        assert_eq!(over_mean_square(f64::INFINITY, |u| u), 1.0);
    }

    #[test]
    fn a_linear_function_passes_correlation_on_unchanged() {
        let line = Expansion::new(0.5, 4.0, |x| 3.0 * x + 1.0);
        assert!((line.mean() - 2.5).abs() < 1e-9 && (line.slope() - 3.0).abs() < 1e-9);
        assert!((line.pair(0.25) - (2.5 * 2.5 + 9.0)).abs() < 1e-9);
        assert!((line.slope_square - 9.0).abs() < 1e-6);
    }
}
