//! First and second moments of a value at initialisation, over positions.
//!
//! A moment is an average over parameters, samples and elements. Second moments are kept for pairs of elements in the
//! same channel at several distances, since pooling, upsampling, attention and normalisation depend on how much
//! neighbours have in common, and sums over positions on how much all have.

use super::profile::Profile;
use serde::Serialize;
use std::borrow::Cow;
use std::fmt;

/// Distances along an axis at which second moments are kept: 0 to this, and "far".
pub const LAGS: usize = 8;

/// Second moments by distance: the same element, elements 1 to [`LAGS`] positions apart along one axis, and elements
/// that are far apart.
pub type Lags = [f64; LAGS + 2];

const FAR: usize = LAGS + 1;

/// How much a figure promises, from a proof to a guess. The comparison with measured figures holds it to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Holds for every draw of the parameters.
    Exact,
    /// The mean over draws of the parameters.
    InExpectation,
    /// Within 5 % of the mean over at least 8 draws at width 128 and more.
    Within5,
    Within15,
    Factor2,
}

impl Class {
    /// The largest relative error that is within the promise. What is exact in expectation is measured over few draws.
    pub fn tolerance(self) -> f64 {
        match self {
            Class::Exact => 1e-3,
            Class::InExpectation | Class::Within5 => 0.05,
            Class::Within15 => 0.15,
            Class::Factor2 => 1.0,
        }
    }

    /// Of a sum of parts with these mean squares: what is uncertain of a small part makes little of the whole uncertain.
    fn of_parts(parts: [(Class, f64); 2]) -> Self {
        let [(first, _), (second, _)] = parts;
        let weakest = first.max(second);
        let total: f64 = parts.iter().map(|(_, square)| square.abs()).sum();
        if weakest <= Class::Within5 || total <= 0.0 {
            return weakest;
        }
        let error = parts.iter().map(|(class, square)| class.tolerance() * square.abs()).sum::<f64>() / total;
        let strong = [Class::Within5, Class::Within15].into_iter().find(|class| error <= class.tolerance() + 1e-9);
        strong.unwrap_or(Class::Factor2)
    }

    pub fn name(self) -> &'static str {
        match self {
            Class::Exact => "exact",
            Class::InExpectation => "exact in expectation",
            Class::Within5 => "within 5 %",
            Class::Within15 => "within 15 %",
            Class::Factor2 => "factor 2",
        }
    }
}

/// Why nothing can be said of a value; everything behind it is unknown for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown(pub Cow<'static, str>);

impl Unknown {
    pub fn because(reason: impl Into<Cow<'static, str>>) -> Self {
        Unknown(reason.into())
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub type Estimate = Result<Moments, Unknown>;

/// Mean squares of two streams of tokens side by side, in units of that of all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parts {
    /// Tokens of the first.
    pub tokens: f64,
    pub squares: [f64; 2],
}

/// What is known of the elements of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// Mean of the elements.
    pub mean: f64,
    /// `E[x_i x_j]` by the distance of the positions i and j.
    pub second: Lags,
    /// Mean squared cosine of what two positions far apart do not have in common: one over the number of dimensions
    /// that the features fill, which is smaller than the number of channels behind a narrow layer. Attention prefers
    /// keys that point the same way, and so their values do.
    pub similarity: f64,
    /// Whether the features of a position are as long as so many dimensions leave it to chance, 1, or all equally long, 0.
    pub uneven: f64,
    /// Of a gradient: `E[dx^2 x^2] / (E[dx^2] E[x^2])`. Slopes of activations grow with what comes in, and products with
    /// it send that on.
    pub tilt: f64,
    /// Mean square of the outermost positions along an axis, relative to that of all: convolutions see zeros beyond.
    pub edge: f64,
    /// How many positions along an axis an element has seen, through all convolutions before it.
    pub reach: f64,
    /// How its mean squares lie along a sequence.
    pub profile: Profile,
    /// Of a gradient: how its mean squares lie before and behind the place where two streams of tokens meet.
    pub parts: Option<Parts>,
    pub class: Class,
}

impl Moments {
    pub const ZERO: Moments = Moments {
        mean: 0.0,
        second: [0.0; LAGS + 2],
        similarity: 0.0,
        uneven: 1.0,
        tilt: 1.0,
        edge: 1.0,
        reach: 1.0,
        profile: Profile::FLAT,
        parts: None,
        class: Class::Exact,
    };

    /// Independent elements.
    pub fn independent(mean: f64, square: f64) -> Self {
        let mut second = [mean * mean; LAGS + 2];
        if let Some(own) = second.first_mut() {
            *own = square;
        }
        Self { mean, second, class: Class::InExpectation, ..Self::ZERO }
    }

    /// The same at every position: a vector, a bias.
    pub fn uniform(mean: f64, square: f64) -> Self {
        Self { mean, second: [square; LAGS + 2], class: Class::InExpectation, ..Self::ZERO }
    }

    /// Elements of which any two of a channel have the same correlation: a part that is the same at every position, and
    /// one that is each its own.
    pub fn in_common(mean: f64, variance: f64, correlation: f64) -> Self {
        let mut moments = Self::uniform(mean, mean * mean + correlation * variance);
        if let Some(own) = moments.second.first_mut() {
            *own = mean * mean + variance;
        }
        moments
    }

    /// Zero mean and unit mean square, independent.
    pub fn unit() -> Self {
        Self::independent(0.0, 1.0)
    }

    /// Unit variance with the given correlation of neighbours, which falls by the same factor with every position.
    pub fn smooth(correlation: f64) -> Self {
        let mut moments = Self::unit();
        let mut power = 1.0;
        for second in moments.second.iter_mut().take(LAGS + 1) {
            *second = power;
            power *= correlation;
        }
        moments
    }

    /// Mean square of the elements.
    pub fn square(&self) -> f64 {
        self.second.first().copied().unwrap_or(0.0)
    }

    pub fn variance(&self) -> f64 {
        (self.square() - self.mean * self.mean).max(0.0)
    }

    /// `E[x_i x_j]` of positions far apart.
    pub fn far(&self) -> f64 {
        self.second.get(FAR).copied().unwrap_or(0.0)
    }

    #[must_use]
    pub fn at_most(mut self, class: Class) -> Self {
        self.class = self.class.max(class);
        self
    }

    /// Applies a map of second moments at every distance.
    #[must_use]
    pub fn map(mut self, mean: f64, f: impl Fn(f64) -> f64) -> Self {
        self.mean = mean;
        self.second = self.second.map(f);
        self
    }

    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        self.map(self.mean * factor, |second| second * factor * factor)
    }

    #[must_use]
    pub fn shifted(self, shift: f64) -> Self {
        let mean = self.mean;
        self.map(mean + shift, |second| second + 2.0 * mean * shift + shift * shift)
    }

    /// Second moments around the mean.
    pub fn centred(&self) -> Lags {
        self.second.map(|second| second - self.mean * self.mean)
    }

    /// The sum of two values with the given covariance.
    #[must_use]
    pub fn plus(&self, other: &Moments, covariance: &Lags) -> Self {
        let product = self.mean * other.mean;
        let second =
            zip(&zip(&self.second, &other.second, |a, b| a + b), covariance, |sum, c| sum + 2.0 * (c + product));
        let similarity = self.joined_similarity(other, 1.0, 1.0);
        let reach = self.joined_reach(other, 1.0, 1.0);
        let (uneven, edge) = (self.joined_uneven(other, 1.0, 1.0), self.joined_edge(other, 1.0, 1.0));
        let (own, others) = (self.square(), other.square());
        let tilt = if own + others > 0.0 { (own * self.tilt + others * other.tilt) / (own + others) } else { 1.0 };
        let profile = self.profile.joined(own, &other.profile, others);
        let class = Class::of_parts([(self.class, own), (other.class, others)]);
        let parts = self.joined_parts(own, other, others);
        Self { mean: self.mean + other.mean, second, similarity, uneven, reach, edge, tilt, profile, parts, class }
    }

    /// The product of two values with the given covariance, as if they were normal.
    #[must_use]
    pub fn times(&self, other: &Moments, covariance: &Lags) -> Self {
        let own = covariance.first().copied().unwrap_or(0.0);
        let together = zip(covariance, covariance, |a, b| a * b);
        let second = zip(&zip(&self.second, &other.second, |a, b| a * b), &together, |product, c| product + 2.0 * c);
        let class = self.class.max(other.class);
        let class = if own == 0.0 { class } else { class.max(Class::Within15) };
        // A factor that is the same everywhere turns no direction into another.
        let similarity = match (self.spread() > 0.0, other.spread() > 0.0) {
            (true, false) => self.similarity,
            (false, true) => other.similarity,
            _ => self.similarity * other.similarity,
        };
        let reach = self.reach.max(other.reach);
        let edge = self.edge * other.edge;
        Self { mean: self.mean * other.mean + own, second, similarity, reach, edge, class, ..*self }
    }

    /// A mixture: this with weight `share`, the other with the rest.
    #[must_use]
    pub fn mixed(&self, share: f64, other: &Moments) -> Self {
        let rest = 1.0 - share;
        Self {
            mean: share * self.mean + rest * other.mean,
            second: zip(&self.second, &other.second, |a, b| share * a + rest * b),
            similarity: self.joined_similarity(other, share, rest),
            reach: self.joined_reach(other, share, rest),
            uneven: self.joined_uneven(other, share, rest),
            edge: self.joined_edge(other, share, rest),
            profile: self.profile.joined(share * self.square(), &other.profile, rest * other.square()),
            parts: self.joined_parts(share * self.square(), other, rest * other.square()),
            class: Class::of_parts([(self.class, share * self.square()), (other.class, rest * other.square())]),
            ..*self
        }
    }

    /// Mean square of what is not common to all positions.
    pub fn spread(&self) -> f64 {
        (self.square() - self.far()).max(0.0)
    }

    /// Of two values side by side or on top of each other, in these shares.
    fn joined_similarity(&self, other: &Moments, share: f64, rest: f64) -> f64 {
        let (own, others) = (share * self.spread(), rest * other.spread());
        let total = own + others;
        if total <= 0.0 {
            return 0.0;
        }
        (own * own * self.similarity + others * others * other.similarity) / (total * total)
    }

    fn joined_reach(&self, other: &Moments, share: f64, rest: f64) -> f64 {
        let (own, others) = (share * self.spread(), rest * other.spread());
        let total = own + others;
        if total > 0.0 { (own * self.reach + others * other.reach) / total } else { 1.0 }
    }

    fn joined_uneven(&self, other: &Moments, share: f64, rest: f64) -> f64 {
        let (own, others) = (share * self.spread(), rest * other.spread());
        let total = own + others;
        if total > 0.0 { (own * self.uneven + others * other.uneven) / total } else { 1.0 }
    }

    fn joined_parts(&self, own: f64, other: &Moments, others: f64) -> Option<Parts> {
        let total = own + others;
        let (a, b) = match (self.parts, other.parts) {
            _ if total <= 0.0 => return None,
            (None, None) => return None,
            (Some(a), None) => (a, Parts { squares: [1.0; 2], ..a }),
            (None, Some(b)) => (Parts { squares: [1.0; 2], ..b }, b),
            // Of two places one would have to be forgotten.
            (Some(a), Some(b)) if a.tokens != b.tokens => return None,
            (Some(a), Some(b)) => (a, b),
        };
        let ([first, second], [other_first, other_second]) = (a.squares, b.squares);
        let mixed = [(first, other_first), (second, other_second)].map(|(a, b)| (own * a + others * b) / total);
        Some(Parts { squares: mixed, ..a })
    }

    fn joined_edge(&self, other: &Moments, share: f64, rest: f64) -> f64 {
        let (own, others) = (share * self.square(), rest * other.square());
        let total = own + others;
        if total > 0.0 { (own * self.edge + others * other.edge) / total } else { 1.0 }
    }

    /// Windows of `taps` positions along an axis as one vector have more dimensions than one position, by this factor
    /// of similarity: less so where neighbours are alike, or have seen the same.
    pub fn similarity_of_windows(&self, taps: usize) -> f64 {
        let at = |lag: usize| if lag == 0 { 1.0 } else { self.local(lag) };
        let pairs = (0..taps).flat_map(|a| (0..taps).map(move |b| a.abs_diff(b)));
        let alike: f64 = pairs.map(|lag| at(lag) * at(lag)).sum();
        let overlap = self.reach / (self.reach + taps as f64 - 1.0);
        (alike / (taps * taps).max(1) as f64).max(overlap)
    }

    /// After a convolution, or a change of resolution.
    #[must_use]
    pub fn reaching(mut self, reach: f64) -> Self {
        self.reach = reach.max(1.0);
        self
    }

    #[must_use]
    pub fn tilted(mut self, tilt: f64) -> Self {
        self.tilt = tilt;
        self
    }

    #[must_use]
    pub fn similar(mut self, similarity: f64) -> Self {
        self.similarity = similarity;
        self
    }

    /// Correlation of what is not common to all positions, at a distance.
    fn local(&self, lag: usize) -> f64 {
        let (far, own) = (self.far(), self.square());
        match self.second.get(lag) {
            Some(second) if lag <= LAGS && own > far => (second - far) / (own - far),
            _ => 0.0,
        }
    }

    /// `E[x_i x_j]` averaged over all pairs of distinct positions of a grid. Correlations along several axes multiply.
    pub fn pairs(&self, axes: &[f64]) -> f64 {
        if axes.iter().product::<f64>() <= 1.0 {
            return self.square();
        }
        self.far() + (self.square() - self.far()) * self.over_pairs(axes, |local| local)
    }

    /// Mean over all pairs of distinct positions of a function of the correlation of what is local, for functions that
    /// take products to products.
    fn over_pairs(&self, axes: &[f64], f: impl Fn(f64) -> f64) -> f64 {
        let count: f64 = axes.iter().product();
        if count <= 1.0 {
            return 1.0;
        }
        let along = |size: &f64| {
            let lags = (1..=LAGS).filter(|lag| (*lag as f64) < *size);
            1.0 + 2.0 * lags.map(|lag| (1.0 - lag as f64 / size) * f(self.local(lag))).sum::<f64>()
        };
        (axes.iter().map(along).product::<f64>() - 1.0) / (count - 1.0)
    }

    /// Mean square of the sum over all positions.
    pub fn summed(&self, axes: &[f64]) -> f64 {
        let count: f64 = axes.iter().product();
        count * (self.square() + (count - 1.0) * self.pairs(axes))
    }

    /// Every `stride`-th position.
    #[must_use]
    pub fn strided(self, stride: usize) -> Self {
        self.with_local(|lag| self.local(lag * stride))
    }

    /// With `stride - 1` unrelated positions between any two.
    #[must_use]
    pub fn spaced(self, stride: usize) -> Self {
        let stride = stride.max(1);
        self.with_local(|lag| if lag % stride == 0 { self.local(lag / stride) } else { 0.0 })
    }

    /// Every position `factor` times.
    #[must_use]
    pub fn repeated(self, factor: usize) -> Self {
        let factor = factor.max(1);
        self.with_local(|lag| {
            let (whole, part) = (lag / factor, (lag % factor) as f64 / factor as f64);
            let near = if whole == 0 { 1.0 } else { self.local(whole) };
            (1.0 - part) * near + part * self.local(whole + 1)
        })
    }

    /// Means over windows, weighted along each axis by `taps`, every `step` positions.
    #[must_use]
    pub fn filtered(self, taps: &[f64], step: usize) -> Self {
        let total: f64 = taps.iter().sum();
        let at = |lag: i64| {
            let lag = lag.unsigned_abs() as usize;
            if lag == 0 { 1.0 } else { self.local(lag) }
        };
        // Mean product along an axis of two windows so many windows apart.
        let between = |windows: usize| {
            let offset = (windows * step) as i64;
            let products = taps
                .iter()
                .enumerate()
                .flat_map(|(a, x)| taps.iter().enumerate().map(move |(b, y)| x * y * at(offset + a as i64 - b as i64)));
            products.sum::<f64>() / (total * total)
        };
        self.with_energy(between(0), between)
    }

    /// `factor` times as many positions along each axis: zeros between them, then weighted sums by `taps`.
    #[must_use]
    pub fn interpolated(self, taps: &[f64], factor: usize) -> Self {
        let factor = factor.max(1);
        let scale = factor as f64 / taps.iter().sum::<f64>();
        let at = |lag: usize| if lag == 0 { 1.0 } else { self.local(lag) };
        // Each new position sees every `factor`-th tap.
        let phase = |first: usize| {
            let own: Vec<f64> = taps.iter().skip(first).step_by(factor).map(|tap| tap * scale).collect();
            let pairs = own
                .iter()
                .enumerate()
                .flat_map(|(a, x)| own.iter().enumerate().map(move |(b, y)| x * y * at(a.abs_diff(b))));
            pairs.sum::<f64>()
        };
        let energy = (0..factor).map(phase).sum::<f64>() / factor as f64;
        let repeated = self.repeated(factor);
        self.with_energy(energy, |lag| energy * if lag == 0 { 1.0 } else { repeated.local(lag) })
    }

    /// Scales what is local by an energy along each axis, with another for pairs at a distance along one.
    fn with_energy(self, energy: f64, between: impl Fn(usize) -> f64) -> Self {
        let (far, local) = (self.far(), self.square() - self.far());
        let mut result = self.map(self.mean, |_| far);
        for (lag, second) in result.second.iter_mut().enumerate().take(LAGS + 1) {
            *second += local * energy * between(lag);
        }
        result
    }

    /// Correlation of two elements, from the mean of their product.
    pub fn correlation(&self, second: f64) -> f64 {
        let variance = self.variance();
        if variance > 0.0 { ((second - self.mean * self.mean) / variance).clamp(-1.0, 1.0) } else { 1.0 }
    }

    /// As one token each: what neighbours have in common joins what all have.
    #[must_use]
    pub fn unordered(self, axes: &[f64]) -> Self {
        let pairs = self.pairs(axes);
        let mut result = self.map(self.mean, |_| pairs);
        if let Some(own) = result.second.first_mut() {
            *own = self.square();
        }
        // Neighbours point the same way more than others do, and so do features of few dimensions.
        let (before, behind) = (self.spread(), result.spread());
        if behind > 0.0 {
            let (mean, square) = (self.over_pairs(axes, |local| local), self.over_pairs(axes, |local| local * local));
            let ratio = before / behind;
            result.similarity = (ratio * ratio * (self.similarity + square - mean * mean)).min(1.0);
        }
        result
    }

    fn with_local(self, local: impl Fn(usize) -> f64) -> Self {
        let (far, own) = (self.far(), self.square());
        let mut result = self;
        for (lag, second) in result.second.iter_mut().enumerate().take(LAGS + 1).skip(1) {
            *second = far + (own - far) * local(lag);
        }
        result
    }
}

/// Combines second moments distance by distance.
pub fn zip(a: &Lags, b: &Lags, f: impl Fn(f64, f64) -> f64) -> Lags {
    let mut result = *a;
    for (own, other) in result.iter_mut().zip(b) {
        *own = f(*own, *other);
    }
    result
}

/// No covariance at any distance.
pub const INDEPENDENT: Lags = [0.0; LAGS + 2];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooling_keeps_what_neighbours_share() {
        // The mean of four independent values has a quarter of the energy, that of four equal ones all of it.
        assert!((Moments::unit().filtered(&[1.0; 2], 2).square() - 0.25).abs() < 1e-12);
        assert!((Moments::uniform(0.0, 1.0).filtered(&[1.0; 2], 2).square() - 1.0).abs() < 1e-12);
        let smooth = Moments::smooth(0.9).filtered(&[1.0; 2], 2);
        assert!((smooth.square() - (1.0 + 0.9) * (1.0 + 0.9) / 4.0).abs() < 1e-12);
    }

    #[test]
    fn repeating_and_striding_undo_each_other() {
        let smooth = Moments::smooth(0.8);
        assert_eq!(smooth.interpolated(&[1.0; 2], 2).second, smooth.repeated(2).second);
        let back = smooth.repeated(2).strided(2);
        for lag in 0..LAGS / 2 {
            assert!((back.second.get(lag).unwrap_or(&0.0) - smooth.second.get(lag).unwrap_or(&1.0)).abs() < 1e-12);
        }
        assert!((Moments::unit().repeated(2).second.get(1).unwrap_or(&0.0) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn sums_over_positions_add_what_is_common() {
        assert!((Moments::unit().summed(&[4.0, 4.0]) - 16.0).abs() < 1e-12);
        assert!((Moments::uniform(0.0, 1.0).summed(&[4.0, 4.0]) - 256.0).abs() < 1e-12);
    }
}
