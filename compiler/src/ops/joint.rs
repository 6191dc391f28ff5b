//! Attention of all to keys of two streams.
//!
//! Keys that are made by different layers have different things in common. What all keys of a stream share shifts all its
//! logits, so that a query prefers one stream as a whole: with d the difference of the two shifts, the first stream has
//! the mass `1 / (1 + n2/n1 exp(-d))`, and tokens of the smaller stream have more of the squared weights.

use super::signals::Signals;
use crate::analysis::gaussian::over_normal;
use crate::analysis::moments::{Moments, Parts, Unknown};

/// Keys and values of one of the streams.
struct Stream {
    tokens: f64,
    /// Mean share of the weights of a query, and the mean square of that share.
    mass: f64,
    mass_square: f64,
    /// Mean sum of the squared weights.
    weights: f64,
    /// Mean squares of what each token has of its own and of what all share, of keys and of values.
    keys: (f64, f64),
    values: (f64, f64),
}

/// Mean squares of gradients.
pub(super) struct Sent {
    /// Of keys and of values, of each stream.
    pub keys: [f64; 2],
    pub values: [f64; 2],
    pub queries: f64,
}

pub(super) struct Joint {
    streams: [Stream; 2],
    /// Mean square of the product of the two masses.
    contested: f64,
}

impl Joint {
    /// Nothing where keys and values do not both come from two streams of the same lengths. `concentration` is the sum of
    /// squared weights of so many keys with logits of so much variance.
    pub fn of(at: &Signals<'_>, q: &Moments, concentration: impl Fn(f64, f64) -> f64) -> Result<Option<Self>, Unknown> {
        let (Some(keys), Some(values)) = (at.joined(1), at.joined(2)) else { return Ok(None) };
        let lengths = |parts: &[(f64, _); 2]| parts.each_ref().map(|(tokens, _)| *tokens);
        if lengths(&keys) != lengths(&values) {
            return Ok(None);
        }
        let parts = |(tokens, moments): &(f64, Result<Moments, Unknown>)| {
            let moments = moments.clone()?;
            let common = moments.pairs(&[*tokens]).max(0.0);
            Ok((*tokens, ((moments.square() - common).max(0.0), common)))
        };
        let [first, second] = keys.each_ref().map(parts);
        let [first_values, second_values] = values.each_ref().map(parts);
        let ((first, own), (second, other)) = (first?, second?);
        // Both streams grow by the mean of the exponentials of what is their own.
        let scale = q.square();
        let apart = libm::sqrt(scale * (own.1 + other.1));
        let even = libm::log(first / second) + 0.5 * scale * (own.0 - other.0);
        let mass = |z: f64| 1.0 / (1.0 + libm::exp(-(even + apart * z)));
        let stream = |tokens: f64, keys: (f64, f64), values: (f64, f64), mass: &dyn Fn(f64) -> f64| {
            let mass_square = over_normal(|z| mass(z) * mass(z));
            let weights = mass_square * concentration(tokens, scale * keys.0);
            Stream { tokens, mass: over_normal(mass), mass_square, weights, keys, values }
        };
        let streams =
            [stream(first, own, first_values?.1, &mass), stream(second, other, second_values?.1, &|z| 1.0 - mass(z))];
        let contested = over_normal(|z| (mass(z) * (1.0 - mass(z))).powi(2));
        Ok(Some(Self { streams, contested }))
    }

    /// Gradients of logits are `a_j (p_j - sum a p)` with `p = dy v`: within a stream by what tokens have of their own,
    /// between streams by what each has in common. `dy` are the mean squares of the gradient and of what those of two
    /// queries share, `q` the same of the queries; `shared` is the correlation of the logits of two queries.
    pub fn sent(&self, queries: f64, dy: (f64, f64), q: (f64, f64), shared: f64) -> Sent {
        let [first, second] = &self.streams;
        let rest = 1.0 - first.weights - second.weights;
        let common = |own: fn(&Stream) -> (f64, f64)| own(first).1 + own(second).1;
        let (keys_common, values_common) = (common(|own| own.keys), common(|own| own.values));
        // What a token differs by from the mean that a query sees.
        let off = |stream: &Stream, own: f64, common: f64| own + (1.0 - stream.mass).powi(2) * common;
        let one_key = |stream: &Stream, own: f64, other: f64| {
            let even = stream.mass_square / stream.tokens;
            let far = even * libm::pow(stream.weights / even.max(f64::MIN_POSITIVE), shared);
            queries / stream.tokens * (stream.weights * own + (queries - 1.0) * far * other)
        };
        let (dy, dy_pairs) = dy;
        let values = |stream: &Stream| one_key(stream, dy, dy_pairs);
        let keys = |stream: &Stream| {
            rest * off(stream, stream.values.0, values_common) * one_key(stream, dy * q.0, dy_pairs * q.1)
        };
        let within = |stream: &Stream| {
            let all = off(stream, stream.keys.0, keys_common) * off(stream, stream.values.0, values_common);
            let together = (1.0 - stream.mass).powi(4) * keys_common * values_common;
            stream.weights * (all - together)
        };
        let queries = rest * (within(first) + within(second)) + self.contested * keys_common * values_common;
        Sent { keys: [keys(first), keys(second)], values: [values(first), values(second)], queries: dy * queries }
    }

    /// Moments of a gradient with these mean squares for the tokens of each stream.
    pub fn gradient(&self, squares: [f64; 2], moments: impl Fn(f64) -> Moments) -> Moments {
        let ([a, b], [first, second]) = (self.streams.each_ref().map(|stream| stream.tokens), squares);
        let mean = (a * first + b * second) / (a + b);
        let parts = (mean > 0.0).then(|| Parts { tokens: a, squares: [first / mean, second / mean] });
        Moments { parts, ..moments(mean) }
    }
}
