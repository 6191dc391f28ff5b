//! Loops over floats, for the vectors and threads that the machine has.
//!
//! Plain loops are compiled several times, once for each width of vectors, and the widest that the machine has is taken
//! when the program runs. What such a loop calls has to be inlined, or it is compiled for the oldest machine: functions
//! of floats are types with `#[inline(always)]` functions here, not closures, and have no branches.

use multiversion::multiversion;
use rayon::prelude::*;

/// What a thread takes at a time; below that more threads cost more than they save.
const GRAIN: usize = 16 * 1024;

/// A function of a float.
pub(super) trait Unary {
    fn of(x: f32) -> f32;
}

/// A function of two floats.
pub(super) trait Pairwise {
    fn of(x: f32, y: f32) -> f32;
}

pub(super) struct Sum;
pub(super) struct Product;

impl Pairwise for Sum {
    #[inline(always)]
    fn of(x: f32, y: f32) -> f32 {
        x + y
    }
}

impl Pairwise for Product {
    #[inline(always)]
    fn of(x: f32, y: f32) -> f32 {
        x * y
    }
}

/// Room for `count` floats.
///
/// # Safety
///
/// Every element has to be written before it is read.
#[expect(clippy::uninit_vec, reason = "clearing the memory would cost as much as the kernels")]
pub(super) unsafe fn uninitialized(count: usize) -> Vec<f32> {
    let mut room = Vec::with_capacity(count);
    // SAFETY: the capacity is `count`, every bit pattern is a float, and the caller writes before it reads.
    unsafe {
        room.set_len(count);
    }
    room
}

/// `F` of every element.
pub(super) fn map<F: Unary>(x: &[f32]) -> Vec<f32> {
    #[multiversion(targets = "simd")]
    fn run<F: Unary>(out: &mut [f32], x: &[f32]) {
        for (out, x) in out.iter_mut().zip(x) {
            *out = F::of(*x);
        }
    }
    // SAFETY: the chunks cover all elements.
    let mut out = unsafe { uninitialized(x.len()) };
    out.par_chunks_mut(GRAIN).zip(x.par_chunks(GRAIN)).for_each(|(out, x)| run::<F>(out, x));
    out
}

/// The same in place.
pub(super) fn map_in_place<F: Unary>(x: &mut [f32]) {
    #[multiversion(targets = "simd")]
    fn run<F: Unary>(x: &mut [f32]) {
        for x in x {
            *x = F::of(*x);
        }
    }
    x.par_chunks_mut(GRAIN).for_each(|x| run::<F>(x));
}

/// `F` of the pairs of elements.
pub(super) fn zip<F: Pairwise>(x: &[f32], y: &[f32]) -> Vec<f32> {
    #[multiversion(targets = "simd")]
    fn run<F: Pairwise>(out: &mut [f32], x: &[f32], y: &[f32]) {
        for ((out, x), y) in out.iter_mut().zip(x).zip(y) {
            *out = F::of(*x, *y);
        }
    }
    // SAFETY: the chunks cover all elements.
    let mut out = unsafe { uninitialized(x.len()) };
    let chunks = out.par_chunks_mut(GRAIN).zip(x.par_chunks(GRAIN)).zip(y.par_chunks(GRAIN));
    chunks.for_each(|((out, x), y)| run::<F>(out, x, y));
    out
}

/// The same, written to the place of the first.
pub(super) fn zip_in_place<F: Pairwise>(x: &mut [f32], y: &[f32]) {
    #[multiversion(targets = "simd")]
    fn run<F: Pairwise>(x: &mut [f32], y: &[f32]) {
        for (x, y) in x.iter_mut().zip(y) {
            *x = F::of(*x, *y);
        }
    }
    x.par_chunks_mut(GRAIN).zip(y.par_chunks(GRAIN)).for_each(|(x, y)| run::<F>(x, y));
}

/// Sums of several accumulators at once, which the vectors hold side by side. Call it inside of a function for several widths.
#[expect(clippy::indexing_slicing, reason = "lanes of arrays of that length")]
#[inline(always)]
pub(super) fn fold<const N: usize>(x: &[f32], f: impl Fn(f32) -> [f32; N]) -> [f32; N] {
    const LANES: usize = 32;
    let mut lanes = [[0.0f32; LANES]; N];
    let (whole, rest) = x.as_chunks::<LANES>();
    for chunk in whole {
        for (lane, x) in chunk.iter().enumerate() {
            let terms = f(*x);
            for (sums, term) in lanes.iter_mut().zip(terms) {
                sums[lane] += term;
            }
        }
    }
    let mut sums = lanes.map(|lanes| lanes.iter().sum());
    for x in rest {
        for (sum, term) in sums.iter_mut().zip(f(*x)) {
            *sum += term;
        }
    }
    sums
}

/// The same over pairs.
#[expect(clippy::indexing_slicing, reason = "lanes of arrays of that length")]
#[inline(always)]
pub(super) fn fold2<const N: usize>(x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> [f32; N]) -> [f32; N] {
    const LANES: usize = 32;
    let mut lanes = [[0.0f32; LANES]; N];
    let ((whole, rest), (whole_y, rest_y)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (chunk, chunk_y) in whole.iter().zip(whole_y) {
        for lane in 0..LANES {
            let terms = f(chunk[lane], chunk_y[lane]);
            for (sums, term) in lanes.iter_mut().zip(terms) {
                sums[lane] += term;
            }
        }
    }
    let mut sums = lanes.map(|lanes| lanes.iter().sum());
    for (x, y) in rest.iter().zip(rest_y) {
        for (sum, term) in sums.iter_mut().zip(f(*x, *y)) {
            *sum += term;
        }
    }
    sums
}

/// The largest element. Call it inside of a function for several widths.
#[inline(always)]
pub(super) fn largest(x: &[f32]) -> f32 {
    const LANES: usize = 32;
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = x.as_chunks::<LANES>();
    for chunk in whole {
        for (largest, x) in lanes.iter_mut().zip(chunk) {
            *largest = if *x > *largest { *x } else { *largest };
        }
    }
    lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max)
}

/// `e^x` within 2 units in the last place: `2^n e^r` with `|r| <= ln 2 / 2`, and the polynomial of Cephes' `expf` for
/// `e^r`. Below -87.3 it stays at the smallest normal number, above 88.7 it is infinite.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it leaves the nearest whole number in the low bits.
    let inside = x.clamp(-87.336_54, 88.722_83);
    let shifted = inside.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-0.693_359_4, inside);
    let r = n.mul_add(2.121_944_4e-4, r);
    let p = 1.987_569_1e-4f32
        .mul_add(r, 1.398_199_9e-3)
        .mul_add(r, 8.333_452e-3)
        .mul_add(r, 4.166_579_5e-2)
        .mul_add(r, 1.666_666_5e-1)
        .mul_add(r, 0.5);
    let y = p.mul_add(r * r, r) + 1.0;
    // Half of the exponent twice, since 2^128 alone is no float.
    let half = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32) >> 1;
    let rest = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32) - half;
    let power = |n: i32| f32::from_bits(((n + 127) << 23) as u32);
    let y = y * power(half) * power(rest);
    if x > 88.722_83 { f32::INFINITY } else { y }
}

/// `1 / (1 + e^-x)`
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `tanh x`, by its series near zero where `1 - 2 / (e^2x + 1)` would lose digits.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let far = 1.0 - 2.0 / (exp(2.0 * x) + 1.0);
    let square = x * x;
    // Cephes' `tanhf` below 0.625.
    let p = (-5.704_988_7e-3f32)
        .mul_add(square, 2.063_909e-2)
        .mul_add(square, -5.373_971_4e-2)
        .mul_add(square, 1.333_144_1e-1)
        .mul_add(square, -3.333_328_3e-1);
    let near = (p * square).mul_add(x, x);
    if x.abs() < 0.625 { near } else { far }
}

/// The normal distribution function, `(1 + erf(x / sqrt 2)) / 2`, within 4e-7 in floats: Abramowitz and Stegun 7.1.26.
#[inline(always)]
pub(super) fn normal_cdf(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / z.mul_add(0.327_591_1, 1.0);
    let p =
        1.061_405_4f32.mul_add(t, -1.453_152).mul_add(t, 1.421_413_7).mul_add(t, -0.284_496_74).mul_add(t, 0.254_829_6)
            * t;
    let tail = 0.5 * p * exp(-z * z);
    if x < 0.0 { tail } else { 1.0 - tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep(low: f32, high: f32) -> impl Iterator<Item = f32> {
        (0..=20_000).map(move |at| low + (high - low) * at as f32 / 20_000.0)
    }

    #[test]
    fn functions_are_as_exact_as_floats() {
        for x in sweep(-87.0, 88.5) {
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 3e-7, "exp({x}) = {}", exp(x));
        }
        for x in sweep(-12.0, 12.0) {
            assert!((f64::from(tanh(x)) - f64::from(x).tanh()).abs() < 2e-7, "tanh({x}) = {}", tanh(x));
            let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
            assert!((f64::from(sigmoid(x)) - exact).abs() < 2e-7, "sigmoid({x}) = {}", sigmoid(x));
            let exact = 0.5 * libm::erfc(-f64::from(x) / std::f64::consts::SQRT_2);
            assert!((f64::from(normal_cdf(x)) - exact).abs() < 4e-7, "cdf({x}) = {}", normal_cdf(x));
        }
    }

    #[test]
    fn exp_has_the_limits_of_exp() {
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(100.0), f32::INFINITY);
        assert!(exp(-1000.0) < 2e-38);
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn sums_and_maxima_take_every_element() {
        for count in [0usize, 1, 31, 32, 33, 100] {
            let x: Vec<f32> = (0..count).map(|at| at as f32).collect();
            let sum = (count * count.saturating_sub(1) / 2) as f32;
            assert_eq!(fold(&x, |x| [x, 1.0]), [sum, count as f32]);
            assert_eq!(fold2(&x, &x, |x, y| [x - y, 1.0]), [0.0, count as f32]);
            assert_eq!(largest(&x), x.last().copied().unwrap_or(f32::NEG_INFINITY));
        }
    }
}
