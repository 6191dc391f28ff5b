//! Filtering of images in the frequency domain.

use super::along::Matrix;
use super::signals::{Response, Signals};
use super::{Alignment, Alignments, Flow, Gradients, Link, Misuse, Obligations, Operator, Parameters, Passage, Sent};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Class, LAGS, Moments, Unknown};
use crate::operator;
use crate::types::{Kind, Type};
use smallvec::smallvec;

crate::choice! {
    /// Which frequencies along an axis are low.
    pub enum Band {
        /// From `-radius` to `radius`.
        Closed = "closed",
        /// From `-radius` to `radius - 1`, as slices around the middle of a shifted spectrum take them.
        HalfOpen = "half_open",
    }
}

operator! {
    /// Multiplies the low frequencies of an image by one number and all others by another:
    /// `F^-1(m * F(x))`, `image[C, H, W] -> image[C, H, W]`.
    ///
    /// A frequency is low if it is so along both axes; frequency `f` has `f` periods over the height or width, and 0 is the
    /// mean. `fourier(radius: 4, high: 0)` is a low-pass filter, `fourier(radius: 4, low: 0)` a high-pass filter. With
    /// `band: half_open` and the real part of the result it is `Fourier_filter` of FreeU (Si et al., CVPR 2024;
    /// huggingface/diffusers `fourier_filter`), there for even sizes only.
    ///
    /// It is computed as `high * x + (low - high) * P x`, with constant matrices `P` along either axis: no Fourier
    /// transform is needed, sizes may be odd or open, and the gradient is the same filter.
    "fourier"(x)
    pub struct Fourier {
        /// Highest low frequency.
        radius: u64 = 1,
        /// Factor of low frequencies.
        low: f64 = 1.0,
        /// Factor of all others.
        high: f64 = 1.0,
        /// Which frequencies are low.
        band: Band = Band::Closed,
    }
}

/// Projection on the low frequencies of an axis: `real + i imaginary`, square.
#[derive(Clone, Debug, PartialEq)]
pub struct Projection {
    pub real: Matrix,
    pub imaginary: Matrix,
}

impl Fourier {
    /// Frequencies of an axis that are low, each once.
    fn low_frequencies(&self, size: usize) -> impl Iterator<Item = i64> + use<> {
        let (size, radius) = (size as i64, i64::try_from(self.radius).unwrap_or(i64::MAX));
        let last = if self.band == Band::Closed { radius } else { radius - 1 };
        (-(size / 2)..(size + 1) / 2).filter(move |f| (-radius..=last).contains(f))
    }

    /// The projection along an axis of that size. Filtered images are `A X C - B X D` with `A + i B` along the height and
    /// `C + i D` along the width; imaginary parts vanish where for each frequency its negative is low too.
    pub fn projection(&self, size: usize) -> Projection {
        let mut row = vec![(0.0, 0.0); size];
        for frequency in self.low_frequencies(size) {
            for (distance, (real, imaginary)) in row.iter_mut().enumerate() {
                // Reduced first, so that angles stay small.
                let turns = (frequency * distance as i64).rem_euclid(size as i64) as f64 / size as f64;
                *real += libm::cos(2.0 * std::f64::consts::PI * turns) / size as f64;
                *imaginary += libm::sin(2.0 * std::f64::consts::PI * turns) / size as f64;
            }
        }
        let at = |to: usize, from: usize| row.get((to + size - from) % size.max(1)).copied().unwrap_or_default();
        let places = || (0..size).flat_map(|to| (0..size).map(move |from| (to, from)));
        let square = |values| Matrix { from: size, to: size, values };
        Projection {
            real: square(places().map(|(to, from)| at(to, from).0).collect()),
            imaginary: square(places().map(|(to, from)| at(to, from).1).collect()),
        }
    }

    /// Whether filters along the axes are no more than real matrices.
    pub fn is_real(&self) -> bool {
        self.band == Band::Closed
    }

    /// Whether all frequencies of an axis of that size are low.
    pub fn covers(&self, size: usize) -> bool {
        self.low_frequencies(size).count() == size
    }

    /// Whether all frequencies of an image of that type are low, so that the filter is a factor.
    fn covers_all(&self, ty: &Type) -> bool {
        ty.positions().all(|dim| {
            let size = dim.known().and_then(|size| usize::try_from(size).ok());
            size.is_some_and(|size| self.covers(size))
        })
    }

    /// Moments behind the filter. What is common to all positions is multiplied by `low`; what is not has a spectrum
    /// along each axis, given by the correlation of neighbours. With them, how much of an element is in the filtered one.
    fn filtered(&self, x: &Moments, axes: &[f64]) -> (Moments, f64) {
        let (far, local) = (x.far(), x.square() - x.far());
        let correlation = |lag: usize| match x.second.get(lag) {
            _ if lag == 0 => 1.0,
            Some(second) if lag <= LAGS && local > 0.0 => (second - far) / local,
            _ => 0.0,
        };
        let energies: Vec<Energy> =
            axes.iter().map(|size| Energy::of(&self.projection(*size as usize), correlation)).collect();
        let product = |part: fn(&Energy, usize) -> f64, lag: usize| {
            // Lags are along one axis; both axes are averaged over.
            let along = |axis: usize| {
                let parts = energies.iter().enumerate();
                parts.map(|(at, energy)| part(energy, if at == axis { lag } else { 0 })).product::<f64>()
            };
            (0..energies.len()).map(along).sum::<f64>() / energies.len().max(1) as f64
        };
        let gain = self.low - self.high;
        let crossed = |lag: usize| product(|energy, lag| energy.crossed(lag), lag);
        let of_lag = |lag: usize| {
            let kept = product(|energy, lag| energy.real(lag), lag) + product(|energy, lag| energy.imaginary(lag), lag);
            self.high * self.high * correlation(lag) + 2.0 * self.high * gain * crossed(lag) + gain * gain * kept
        };
        let common = self.low * self.low * far;
        let mut result = x.map(self.low * x.mean, |_| common);
        for (lag, second) in result.second.iter_mut().enumerate().take(LAGS + 1) {
            *second = common + local * of_lag(lag);
        }
        // Low frequencies reach further than neighbours do: the sum over all positions is multiplied by `low`.
        let positions: f64 = axes.iter().product();
        for _ in 0..3 {
            let missing = self.low * self.low * x.summed(axes) - result.summed(axes);
            if let Some(far) = result.second.last_mut() {
                *far += missing / (positions * positions);
            }
        }
        // What sharp filters leave correlated is cut off with the distances that are kept.
        let tail = (LAGS / 2..=LAGS).map(|lag| correlation(lag).abs()).fold(0.0, f64::max);
        let result = result.at_most(if tail > 0.05 { Class::Factor2 } else { Class::Within15 });
        let shared = self.low * (far - x.mean * x.mean) + local * (self.high + gain * crossed(0));
        let carried = if x.variance() > 0.0 { shared / x.variance() } else { self.low };
        let longest = axes.iter().copied().fold(1.0, f64::max);
        (result.reaching(x.reach.max(longest / self.radius as f64)), carried)
    }
}

/// What a projection keeps of values along an axis, by distance: mean products of the values with what is kept, and of what
/// is kept with itself.
struct Energy {
    crossed: Vec<f64>,
    real: Vec<f64>,
    imaginary: Vec<f64>,
}

impl Energy {
    fn of(projection: &Projection, correlation: impl Fn(usize) -> f64) -> Self {
        Self {
            crossed: projection.real.spread(&correlation).diagonals(),
            real: projection.real.kept(&correlation),
            imaginary: projection.imaginary.kept(&correlation),
        }
    }

    fn crossed(&self, lag: usize) -> f64 {
        self.crossed.get(lag).copied().unwrap_or(0.0)
    }

    fn real(&self, lag: usize) -> f64 {
        self.real.get(lag).copied().unwrap_or(0.0)
    }

    fn imaginary(&self, lag: usize) -> f64 {
        self.imaginary.get(lag).copied().unwrap_or(0.0)
    }
}

impl Operator for Fourier {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        let Some(x) = operands.first().filter(|x| x.kind == Kind::Image) else {
            let found = operands.first().map_or("nothing".to_owned(), |x| x.to_string());
            return Err(Misuse::new("type/kind", format!("`fourier` acts on images, found {found}"))
                .at(0)
                .help("of tokens make an image first: `to_image(height, width)`"));
        };
        Ok((*x).clone())
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let (moments, carried) = self.filtered(&at.operand(0)?, &at.axes(0));
        Ok(Response { moments, carries: smallvec![carried] })
    }

    /// The filter is symmetric.
    fn signal_back(&self, at: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        Ok(smallvec![self.filtered(gradient, &at.axes_of(at.result)).0])
    }

    fn flops(&self, _: &[&[u64]], result: &[u64]) -> u64 {
        // A matrix product along either axis, twice where there are imaginary parts, and the sum.
        let products = if self.is_real() { 2 } else { 4 };
        let sides: u64 = result.iter().skip(1).sum();
        result.iter().product::<u64>().saturating_mul(products * sides + 3)
    }

    fn passage(&self) -> Passage {
        Passage::Resample
    }

    fn alignments(&self, _: &[&Type], _: &Type) -> Alignments {
        smallvec![Alignment { channels: Link::Same, tokens: Link::Unrelated }]
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        let (x, covers) = (at.operand(0), self.covers_all(at.result));
        Grid::build(at.rows, at.columns, |row, column| self.facts(x.at(row, column), covers))
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        let covers = self.covers_all(at.result);
        Gradients::of_operands([gradient.map(|_, _, dy| self.facts(dy, covers))])
    }
}

impl Fourier {
    /// Facts behind the filter: the mean over positions is a low frequency.
    fn facts(&self, x: Facts, covers: bool) -> Facts {
        let varies = x.has(Facts::POSITIONS) && (self.high != 0.0 && !covers || self.low != 0.0);
        let mean = x.has(Facts::MEAN_POSITIONS) && self.low != 0.0;
        if !(varies || mean) {
            return Facts::ZERO;
        }
        x.without(Facts::POSITIONS)
            .without(Facts::MEAN_POSITIONS)
            .without(Facts::MEAN_ALL)
            .with(Facts::POSITIONS, varies)
            .with(Facts::MEAN_POSITIONS, mean)
            .with(Facts::MEAN_ALL, x.has(Facts::MEAN_ALL) && self.low != 0.0)
            .closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dim::Dim;

    fn filter(radius: u64, low: f64, high: f64, band: Band) -> Fourier {
        Fourier { radius, low, high, band }
    }

    #[test]
    fn what_is_kept_of_white_noise_is_the_share_of_low_frequencies() {
        let low_pass = filter(2, 1.0, 0.0, Band::Closed);
        let kept = low_pass.filtered(&Moments::unit(), &[16.0, 16.0]).0;
        assert!((kept.square() - 25.0 / 256.0).abs() < 1e-12, "{}", kept.square());
        // Corners of the half-open square lack their opposites and count half, in energy a quarter each of two.
        let half_open = filter(1, 1.0, 0.0, Band::HalfOpen).filtered(&Moments::unit(), &[16.0, 16.0]).0;
        assert!((half_open.square() - 2.5 / 256.0).abs() < 1e-12, "{}", half_open.square());
    }

    #[test]
    fn what_all_positions_share_is_a_low_frequency() {
        let high_pass = filter(1, 0.0, 1.0, Band::Closed);
        assert!(high_pass.filtered(&Moments::uniform(0.3, 1.0), &[8.0, 8.0]).0.square().abs() < 1e-12);
        let scaled = filter(1, 0.5, 1.0, Band::Closed).filtered(&Moments::uniform(0.3, 1.0), &[8.0, 8.0]).0;
        assert!((scaled.square() - 0.25).abs() < 1e-12 && (scaled.mean - 0.15).abs() < 1e-12);
    }

    #[test]
    fn a_filter_that_covers_an_image_is_a_factor() {
        let ty = |size| Type::new(Kind::Image, [3, size, size].map(Dim::Known));
        for (radius, size, covers) in [(1, 3, true), (1, 4, false), (2, 4, true), (2, 5, true), (2, 6, false), (1, 1, true)] {
            let own = filter(radius, 0.0, 1.0, Band::Closed);
            assert_eq!(own.covers_all(&ty(size)), covers, "{radius} of {size}");
            assert_eq!(own.facts(Facts::GENERIC, covers).nonzero(), !covers);
        }
    }
}
