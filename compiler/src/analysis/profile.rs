//! How the energy of a sequence lies along it.
//!
//! With causal attention early tokens see few others and late ones many: what averages over them falls like one over the
//! position, and a norm behind it divides late tokens by less than early ones. Such a slant is smooth in the logarithm of
//! the position, so it is kept for parts of the sequence that are each as long as all before them.

/// The first 1/128 of a sequence, the next, and then each as long as all before it.
const PARTS: usize = 8;

/// Shares of the sequence that the parts make up.
const SHARES: [f64; PARTS] = [1.0 / 128.0, 1.0 / 128.0, 1.0 / 64.0, 1.0 / 32.0, 1.0 / 16.0, 0.125, 0.25, 0.5];

/// Tokens of a part that are looked at one by one; a longer part is sampled at so many places.
const TOKENS: f64 = 8.0;

/// Mean squares of the parts of a sequence, in units of that of all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile([f32; PARTS]);

/// A function of the position at each part, the first token at 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Course([f64; PARTS]);

impl Course {
    /// Means of a function over the parts of a sequence of so many tokens.
    pub fn of(count: f64, f: impl Fn(f64) -> f64) -> Self {
        let mut start = 0.0;
        Self(SHARES.map(|share| {
            let (low, length) = (start * count, share * count);
            start += share;
            over(low, length, &f)
        }))
    }

    #[must_use]
    pub fn map(self, f: impl Fn(f64) -> f64) -> Self {
        Self(self.0.map(f))
    }

    #[must_use]
    pub fn zip(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        let mut result = self;
        for (own, other) in result.0.iter_mut().zip(other.0) {
            *own = f(*own, other);
        }
        result
    }

    /// Mean over all tokens.
    pub fn mean(self) -> f64 {
        self.0.iter().zip(SHARES).map(|(value, share)| value * share).sum()
    }

    /// Sum over a token and all behind it, for each token, of a sequence of so many.
    #[must_use]
    pub fn sums_behind(self, count: f64) -> Self {
        let mut behind = 0.0;
        let mut result = self;
        for (value, share) in result.0.iter_mut().zip(SHARES).rev() {
            let own = *value * share * count;
            // A token has on average half of its own part behind it, and itself.
            *value = behind + 0.5 * own + 0.5 * *value * (share * count).min(1.0);
            behind += own;
        }
        result
    }

    /// As mean squares.
    pub fn profile(self) -> Profile {
        let mean = self.mean();
        if mean > 0.0 { Profile(self.0.map(|value| (value / mean) as f32)) } else { Profile::FLAT }
    }
}

/// Mean of a function over positions from `low` on.
fn over(low: f64, length: f64, f: impl Fn(f64) -> f64) -> f64 {
    let token = |at: f64| libm::floor(at) + 1.0;
    if length > TOKENS {
        let step = length / TOKENS;
        return (0..TOKENS as u32).map(|at| f(token(low + step * (f64::from(at) + 0.5)))).sum::<f64>() / TOKENS;
    }
    let (mut at, mut sum) = (low, 0.0);
    while at < low + length {
        let end = (libm::floor(at) + 1.0).min(low + length);
        sum += (end - at) * f(token(at));
        at = end;
    }
    sum / length
}

impl Profile {
    pub const FLAT: Profile = Profile([1.0; PARTS]);

    pub fn is_flat(&self) -> bool {
        *self == Self::FLAT
    }

    pub fn course(&self) -> Course {
        Course(self.0.map(f64::from))
    }

    /// Of the sum of two sequences with these mean squares.
    #[must_use]
    pub fn joined(&self, own: f64, other: &Profile, others: f64) -> Profile {
        let total = own + others;
        if self == other || total <= 0.0 {
            return *self;
        }
        let mut result = *self;
        for (part, other) in result.0.iter_mut().zip(other.0) {
            *part = ((own * f64::from(*part) + others * f64::from(other)) / total) as f32;
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a / b - 1.0).abs() < 0.02
    }

    #[test]
    fn means_are_those_over_all_tokens() {
        for count in [1.0, 5.0, 77.0, 1000.0] {
            let harmonic: f64 = (1..=count as u64).map(|at| 1.0 / at as f64).sum::<f64>() / count;
            assert!(near(Course::of(count, |at| 1.0 / at).mean(), harmonic), "{count}");
            assert!((Course::of(count, |_| 3.0).mean() - 3.0).abs() < 1e-12);
        }
    }

    #[test]
    fn sums_behind_are_as_many_as_tokens_are_in_front() {
        let count = 77.0;
        let f = |at: f64| 1.0 / (at * at);
        let sums = Course::of(count, f).sums_behind(count);
        let all: f64 = (1..=77).map(|at| f64::from(at) * f(f64::from(at))).sum();
        // Within a part all tokens count as being in its middle.
        assert!((sums.mean() * count / all - 1.0).abs() < 0.15, "{} {all}", sums.mean() * count);
    }

    #[test]
    fn sums_mix_by_energy() {
        let falling = Course::of(64.0, |at| 1.0 / at).profile();
        assert!((falling.course().mean() - 1.0).abs() < 1e-6);
        let mixed = falling.joined(1.0, &Profile::FLAT, 3.0);
        let expected = falling.course().map(|part| 0.25 * part + 0.75).profile();
        assert!(mixed.course().zip(expected.course(), |a, b| (a - b).abs()).mean() < 1e-6);
        assert!(Profile::FLAT.joined(1.0, &Profile::FLAT, 2.0).is_flat());
    }
}
