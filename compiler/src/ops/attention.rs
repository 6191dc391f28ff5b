//! Scaled dot-product attention.

use super::{
    Alignment, Alignments, Flow, Gradients, Link, Misuse, Obligations, Operator, Parameters,
    Passage, channels_of, joint_batch, Sent,
};
use crate::analysis::gaussian::{over_mean_square, softmax_concentration};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Class, Moments, Unknown};
use crate::analysis::profile::Course;
use super::joint::Joint;
use super::signals::{Response, Signals};
use crate::dim::Dim;
use crate::operator;
use crate::types::{Axis, Kind, Type};

use smallvec::smallvec;

operator! {
    /// `softmax(Q K^T / sqrt(d)) V` in each head, heads side by side on the channels.
    ///
    /// `q: tokens[N, C]`, `k: tokens[M, C]`, `v: tokens[M, C'] -> tokens[N, C']`. Head `h` owns the channels
    /// `h*d .. (h+1)*d` with `d = C / heads`. Vaswani et al. 2017. `bias: mask[M]`, if it is given, is added to what every
    /// query scores for each key, the same in all heads: large negative numbers leave keys out, as
    /// `(1 - keep) * -10000` does for a mask that keeps with 1 (huggingface/diffusers). `bias: image[heads, N, M]` is added
    /// in each head to what each query, a row, scores for each key, a column: relative positions, Raffel et al. 2020 (T5).
    "attention"(q, k, v; bias)
    pub struct Attention {
        /// Number of heads; has to divide the channels.
        heads: u64,
        /// Whether a token sees itself and the tokens before it only. Queries and keys are then equally many.
        causal: bool = false,
    }
}

/// Weights of attention at initialisation.
struct Logits {
    /// Mean over queries of the sum of squared weights: 1/L where all keys weigh the same, 1 where one does.
    weights: f64,
    /// The same along the queries, where each sees another number of keys.
    course: Option<Course>,
    /// The same for the products of the weights of two queries.
    weights_far: f64,
    /// Variance of the logits over the keys, and the share of it that two queries have in common.
    variance: f64,
    shared: f64,
    /// Mean squared cosine of two tokens, as far as keys and values have it from what both are made of.
    alike: f64,
    tokens: Tokens,
    class: Class,
}

/// How tokens differ in length and direction.
struct Tokens {
    /// Relative variance of the squared lengths of queries, in terms of one over degrees of freedom.
    spread: f64,
    /// Similarity of keys, as far as their lengths differ with it.
    uneven: f64,
    /// What the width of a head leaves to chance.
    chance: f64,
}

impl Tokens {
    /// Mean sum of the squared weights of so many keys, for logits of so much variance.
    fn concentration(&self, count: f64, variance: f64) -> f64 {
        let own = if variance * self.spread < 1e-3 {
            softmax_concentration(count, variance)
        } else {
            over_mean_square(1.0 / self.spread, |u| softmax_concentration(count, variance * u))
        };
        // Long keys have large logits, and long values.
        let long = 4.0 * variance * self.uneven + 3.5 * variance * variance * (self.uneven + self.chance);
        own * (1.0 + long * (1.0 - own).powi(4))
    }
}

impl Logits {
    fn of(at: &Signals<'_>, op: &Attention) -> Result<Self, Unknown> {
        let (q, k, v) = (at.operand(0)?, at.operand(1)?, at.operand(2)?);
        let keys = at.positions(1);
        let variance = logit_variance(&q, &k, &at.axes(1));
        // Scores of two queries have in common what the queries have, and nothing of a bias by pairs.
        let paired = pair_variance(at)?;
        let own_share = if variance > 0.0 { variance / (variance + paired) } else { 0.0 };
        let shared = if q.square() > 0.0 { (q.pairs(&at.axes(0)) / q.square()).clamp(0.0, 1.0) } else { 0.0 } * own_share;
        // Projections add to the similarity of keys and of values what they leave to chance, each by itself.
        let alike = (k.similarity.min(v.similarity) - 1.0 / at.channels(2)).max(0.0);
        // Queries differ in length, and few dimensions are not filled evenly. So do keys.
        let chance = op.heads as f64 / at.channels(0);
        let tokens = Tokens { spread: chance + alike * (1.0 + q.uneven), uneven: alike * k.uneven, chance };
        let of_keys = |count: f64| tokens.concentration(count, variance + paired);
        // Token i sees i keys, and two tokens share those of the earlier one.
        let course = op.causal.then(|| Course::of(keys, of_keys));
        let (weights, even, both) = match course {
            Some(course) => (course.mean(), Course::of(keys, |count| 1.0 / count).mean(), 2.0 / keys),
            None => (of_keys(keys), 1.0 / keys, 1.0 / keys),
        };
        // Rows that see different keys do not share one distribution, and few large logits are not what many are like.
        let hard = op.causal || variance > 0.5 * libm::log(keys);
        let class = if hard { Class::Factor2 } else { Class::Within15 }.max(q.class).max(k.class).max(v.class);
        let weights_far = both * libm::pow(weights / even, shared);
        Ok(Self { weights, course, weights_far, variance, shared, alike, tokens, class })
    }

    /// Mean over the queries of a function of the sum of squared weights, for gradients that lie along them as these do.
    fn weighted(&self, gradient: &Moments, f: impl Fn(f64) -> f64) -> f64 {
        match self.course {
            Some(course) => course.zip(gradient.profile.course(), |weights, dy| f(weights) * dy).mean(),
            None => f(self.weights),
        }
    }

    /// How much weights change with logits: a weight that is 1 stays at it. `sum a_j a_k ((1 - 2 a_j) (1 - 2 a_k) + 2 a_j
    /// a_k)` over two keys, to the first order in their weights.
    fn slack(&self) -> f64 {
        (1.0 - self.weights).powi(4)
    }
}

/// Variance of the logits over the keys, for fresh queries and keys: what all keys have in common changes nothing.
pub(crate) fn logit_variance(q: &Moments, k: &Moments, key_axes: &[f64]) -> f64 {
    q.square() * (k.square() - k.pairs(key_axes)).max(0.0)
}

/// Variance over the keys that a bias by pairs adds to the logits.
fn pair_variance(at: &Signals<'_>) -> Result<f64, Unknown> {
    if at.operands.get(3).is_none_or(|(ty, _)| !is_paired(ty)) {
        return Ok(0.0);
    }
    let bias = at.operand(3)?;
    Ok((bias.square() - bias.pairs(&[at.axis(3, Axis::Width)])).max(0.0))
}

fn grid(square: f64, pairs: f64) -> Moments {
    let mut moments = Moments::ZERO.map(0.0, |_| pairs);
    if let Some(own) = moments.second.first_mut() {
        *own = square;
    }
    moments
}

impl Operator for Attention {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        let (q, k, v, bias) = match operands {
            [q, k, v] => (q, k, v, None),
            [q, k, v, bias] => (q, k, v, Some(bias)),
            _ => return Err(Misuse::new("type/kind", "`attention` needs q, k and v")),
        };
        for (at, operand) in operands.iter().take(3).enumerate() {
            if operand.kind != Kind::Tokens {
                return Err(Misuse::new("type/kind", format!("`attention` acts on tokens, found {operand}"))
                    .at(at)
                    .help("turn an image into tokens first: `x -> to_tokens()`"));
            }
        }
        let (inner, values) = (channels_of(operands, 0, "attention")?, channels_of(operands, 2, "attention")?);
        if k.channels() != Some(inner) {
            return Err(Misuse::new("shape/mismatch", format!("queries {q} and keys {k} differ in channels")).at(1));
        }
        if k.dim(Axis::Token) != v.dim(Axis::Token) {
            return Err(Misuse::new("shape/mismatch", format!("keys {k} and values {v} differ in tokens")).at(2));
        }
        if self.causal && q.dim(Axis::Token) != k.dim(Axis::Token) {
            let message = format!("causal attention needs as many queries as keys, found {q} and {k}");
            return Err(Misuse::new("shape/mismatch", message).at(1));
        }
        if let Some(bias) = bias {
            check_bias(bias, self.heads, q, k)?;
        }
        for channels in [inner, values] {
            if channels % self.heads != 0 {
                let fitting = nearest_divisors(channels, self.heads);
                return Err(Misuse::new(
                    "shape/heads",
                    format!("{channels} channels cannot be divided into {} heads", self.heads),
                )
                .help(format!("numbers of heads that fit: {fitting}")));
            }
        }
        Ok((*q).clone().with(Axis::Channel, values.into()).with_batch(joint_batch(operands)?))
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    /// Logits of fresh queries and keys are nearly normal over the keys, with variance `s^2`. What the values do not have
    /// in common adds up by the squares of the weights ([`softmax_concentration`]). Keys that point the same way have
    /// logits that are alike, and values that are: by Price's theorem `E[a_j a_k]` grows by `s^2` times their cosine.
    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let own = Logits::of(at, self)?;
        let v = at.operand(2)?;
        let common = v.pairs(&at.axes(2));
        let spread = v.square() - common;
        let together = own.variance * own.alike * own.slack();
        let far = common + spread * (own.weights_far + own.shared * together);
        let square = common + spread * (own.weights + together).min(1.0);
        // Few dimensions also make the lengths of keys differ, which is not followed.
        let class = if together > 0.25 * own.weights { Class::Factor2 } else { own.class };
        let mut moments = Moments { mean: v.mean, ..grid(square, far) };
        if let Some(course) = own.course {
            moments.profile = course.map(|weights| common + spread * (weights + together).min(1.0)).profile();
        }
        Ok(Response::fresh(Moments { class: v.class, ..moments }.at_most(class).similar(v.similarity)))
    }

    /// Along the values, and along the logits: `dL/dlogit_ij = a_ij (p_ij - sum_k a_ik p_ik)` with `p = dy v`.
    fn signal_back(&self, at: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        let own = Logits::of(at, self)?;
        let (q, k, v) = (at.operand(0)?, at.operand(1)?, at.operand(2)?);
        let (queries, keys) = (at.positions(0), at.positions(1));
        let (dy, dy_pairs) = (gradient.square(), gradient.pairs(&at.axes_of(at.result)));
        let values = v.square() - v.pairs(&at.axes(2));
        let keys_spread = k.square() - k.pairs(&at.axes(1));
        // Sums over the queries of products of weights of one key, and of two keys.
        let one_key = |weights: f64, own_query: f64, other_query: f64| {
            queries / keys * (weights * own_query + (queries - 1.0) * own.weights_far * other_query)
        };
        let two_keys = queries / (keys * keys) * (dy + (queries - 1.0) * dy_pairs);
        let mut to_values = grid(one_key(own.weighted(gradient, |weights| weights), dy, dy_pairs), two_keys);
        // Two keys whose values are alike are alike themselves.
        let rest = 1.0 - own.weights;
        let one = own.weighted(gradient, |weights| (weights + own.alike) * (1.0 - weights));
        let far = (own.weights_far + own.alike) * rest;
        let mut to_queries = grid(dy * values * keys_spread * one, dy_pairs * values * keys_spread * far);
        let free = own.weighted(gradient, |weights| weights * (1.0 - weights)) / rest.max(f64::MIN_POSITIVE);
        let key = values * rest * one_key(free, dy * q.square(), dy_pairs * q.pairs(&at.axes(0)));
        // Adding the same to all keys changes nothing: the gradients of the keys add up to zero.
        let mut to_keys = grid(key, -key / (keys - 1.0).max(1.0));
        if let Some(weights) = own.course {
            // A query sends to the keys in front of it, to each of them the same share.
            let sent = gradient.profile.course().zip(weights, |dy, weights| dy * weights);
            let to_each = |sent: Course| sent.zip(Course::of(keys, |count| 1.0 / count), |sent, one| sent * one);
            let to_queries_by = sent.zip(weights, |sent, weights| sent * (1.0 - weights));
            to_queries.profile = to_queries_by.profile();
            to_values.profile = to_each(sent).sums_behind(keys).profile();
            to_keys.profile = to_each(to_queries_by).sums_behind(keys).profile();
        }
        let joint = Joint::of(at, &q, |count, variance| own.tokens.concentration(count, variance))?;
        if let Some(joint) = joint.filter(|_| !self.causal) {
            let sent = joint.sent(queries, (dy, dy_pairs), (q.square(), q.pairs(&at.axes(0))), own.shared);
            let more = sent.queries / to_queries.square().max(f64::MIN_POSITIVE);
            to_queries = Moments { parts: gradient.parts, ..to_queries.map(0.0, |second| more * second) };
            to_keys = joint.gradient(sent.keys, |key| grid(key, -key / (keys - 1.0).max(1.0)));
            to_values = joint.gradient(sent.values, |square| grid(square, two_keys));
        }
        // Logits have the gradients of differences, which tokens of several origins have more of.
        let logits = Class::Factor2;
        let mixed = k.class.max(v.class) >= Class::Within15 || own.alike > own.weights;
        let values_class = if mixed { Class::Factor2 } else { own.class.max(gradient.class) };
        let mut sent: Sent =
            smallvec![to_queries.at_most(logits), to_keys.at_most(logits), to_values.at_most(values_class)];
        if at.operands.get(3).is_some_and(|(ty, _)| is_paired(ty)) {
            // One logit of each key, where the queries have sums of them times a key.
            let width = at.channels(0) / self.heads as f64;
            let square = width * dy * values * one / keys;
            sent.push(grid(square, 0.0).at_most(logits));
        }
        Ok(sent)
    }

    fn flops(&self, operands: &[&[u64]], _: &[u64]) -> u64 {
        let size = |operand: usize, axis: usize| {
            operands.get(operand).and_then(|shape| shape.get(axis)).copied().unwrap_or(0)
        };
        let scores = size(0, 0).saturating_mul(size(1, 0));
        let products = scores.saturating_mul(2 * (size(0, 1) + size(2, 1)));
        products.saturating_add(scores.saturating_mul(5 * self.heads))
    }

    fn passage(&self) -> Passage {
        Passage::Transform
    }

    fn alignments(&self, operands: &[&Type], _: &Type) -> Alignments {
        let all = [
            Alignment { channels: Link::Unrelated, tokens: Link::Same },
            Alignment::UNRELATED,
            Alignment { channels: Link::Same, tokens: Link::Unrelated },
            Alignment::UNRELATED,
        ];
        all.into_iter().take(operands.len()).collect()
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        let (q, queries, keys) = (at.operand(0), at.all_of(0), at.all_of(1));
        let biased = bias_varies(at);
        Grid::build(at.rows, at.columns, |row, column| {
            let values = at.column_of(2, column);
            // Queries give different mixtures only if they differ, and the keys, and the values do; or if they see
            // different tokens, or see them by another bias.
            let differ = self.causal || pairs_vary(at) || q.row(row).has(Facts::POSITIONS) && keys.has(Facts::POSITIONS);
            let mixes = differ && values.has(Facts::POSITIONS);
            // Uniform weights give every query the mean of the values, causal ones that of the values so far.
            let attends = self.causal || biased || attends(queries, keys);
            let nonzero = values.has(Facts::MEAN_POSITIONS) || attends && values.has(Facts::POSITIONS);
            Facts::NONZERO
                .with(Facts::POSITIONS, mixes)
                .with(Facts::CHANNELS, values.has(Facts::CHANNELS))
                .with(Facts::MEAN_POSITIONS, true)
                .with(Facts::MEAN_CHANNELS, values.has(Facts::MEAN_CHANNELS))
                .with(Facts::MEAN_ALL, values.has(Facts::MEAN_CHANNELS))
                .when(nonzero)
        })
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        let (q, k, v) = (at.operand(0), at.operand(1), at.operand(2));
        let (queries, keys, values) = (at.all_of(0), at.all_of(1), at.all_of(2));
        let varied_values = values.has(Facts::POSITIONS);
        // A score's gradient sums to zero over the keys: uniform keys or values leave nothing for the queries. It is
        // linear in the result's gradient, so that with equal weights for all queries it is centred if that is.
        let dq = q.map(|row, _, _| {
            let line = gradient.row(row);
            let varied = self.causal || pairs_vary(at) || q.row(row).has(Facts::POSITIONS);
            let mean = varied || line.has(Facts::MEAN_POSITIONS);
            Facts::NONZERO
                .with(Facts::POSITIONS, varied || line.has(Facts::POSITIONS))
                .with(Facts::CHANNELS, true)
                .with(Facts::MEAN_POSITIONS, mean)
                .with(Facts::MEAN_CHANNELS, true)
                .with(Facts::MEAN_ALL, mean)
                .when(line.nonzero() && varied_values && keys.has(Facts::POSITIONS))
        });
        // For the keys the same sum leaves a gradient that is centred over all tokens together. It is a sum over
        // queries, each times the gradient of its result; what all queries share has to survive that sum.
        let by_place = self.causal || pairs_vary(at);
        let heard = (0..gradient.rows()).any(|row| {
            let (dy, q) = (gradient.row(row).over_positions(), q.row(row).over_positions());
            dy.contracts(q) || dy.nonzero && (q.varies && keys.has(Facts::POSITIONS) || by_place && q.nonzero)
        });
        let dk = k.map(|_, _, _| centred(k).when(heard && varied_values));
        // Values receive the gradients by weight; equal weights pass on their sum alone.
        let varied_weights = by_place || attends(queries, keys) && queries.has(Facts::POSITIONS);
        let dv = v.map(|_, column, _| {
            let part = gradient.column(column);
            let varies = self.causal || bias_varies(at) || queries.nonzero() && keys.has(Facts::POSITIONS);
            let nonzero = part.has(Facts::MEAN_POSITIONS) || part.nonzero() && varied_weights;
            Facts::NONZERO
                .with(Facts::POSITIONS, varies)
                .with(Facts::CHANNELS, part.has(Facts::CHANNELS))
                .with(Facts::MEAN_POSITIONS, part.has(Facts::MEAN_POSITIONS) || v.rows() > 1)
                .with(Facts::MEAN_CHANNELS, part.has(Facts::MEAN_CHANNELS))
                .with(Facts::MEAN_ALL, part.has(Facts::MEAN_ALL) || v.rows() > 1)
                .when(nonzero)
        });
        let mut result = Gradients::of_operands([dq, dk, dv]);
        if at.operands.len() > 3 {
            // A bias receives the gradients of the scores, those of a key summed over the queries.
            let bias = at.operand(3);
            let heard = gradient.any_nonzero() && varied_values;
            result.operands.push(bias.map(|_, _, _| centred(bias).when(heard)));
        }
        result
    }
}

/// A bias is one number for each key, or in each head for each pair of a query and a key.
fn check_bias(bias: &Type, heads: u64, queries: &Type, keys: &Type) -> Result<(), Misuse> {
    let token = |ty: &Type| ty.dim(Axis::Token).cloned();
    match bias.kind {
        Kind::Mask if token(bias) == token(keys) => Ok(()),
        Kind::Mask => {
            Err(Misuse::new("shape/mismatch", format!("keys {keys} and their bias {bias} differ in tokens")).at(3))
        }
        Kind::Image => {
            let wanted: Vec<Dim> = [Some(Dim::Known(heads)), token(queries), token(keys)].into_iter().flatten().collect();
            if bias.dims.as_slice() == wanted.as_slice() {
                return Ok(());
            }
            let wanted = Type::new(Kind::Image, wanted);
            let message = format!("a bias of {heads} heads for queries {queries} and keys {keys} is {wanted}, found {bias}");
            Err(Misuse::new("shape/mismatch", message).at(3))
        }
        _ => {
            let message = format!("the `bias` of `attention` is a number for each key, a mask; found {bias}");
            let help = "a bias that differs by head and query is an image: heads as channels, queries as rows, keys as columns";
            Err(Misuse::new("type/kind", message).at(3).help(help))
        }
    }
}

/// Whether a bias has a number for each pair of a query and a key.
fn is_paired(bias: &Type) -> bool {
    bias.kind == Kind::Image
}

/// Whether there is a bias by which queries prefer different keys.
fn pairs_vary(at: &Flow<'_>) -> bool {
    bias_varies(at) && at.operands.get(3).is_some_and(|(ty, _)| is_paired(ty))
}

/// Whether there is a bias that prefers some keys.
fn bias_varies(at: &Flow<'_>) -> bool {
    at.operands.len() > 3 && at.operand(3).all().has(Facts::POSITIONS)
}

/// A gradient that sums to zero over all keys together.
fn centred(keys: &Grid) -> Facts {
    Facts::GENERIC
        .without(Facts::MEAN_POSITIONS)
        .without(Facts::MEAN_ALL)
        .with(Facts::MEAN_POSITIONS, keys.rows() > 1)
        .with(Facts::MEAN_ALL, keys.rows() > 1)
}

/// Whether attention weights differ between keys.
fn attends(queries: Facts, keys: Facts) -> bool {
    queries.nonzero() && keys.has(Facts::POSITIONS)
}

pub(super) fn nearest_divisors(channels: u64, wanted: u64) -> String {
    let small = (1..).take_while(|heads| heads * heads <= channels).filter(|heads| channels.is_multiple_of(*heads));
    let divisors: Vec<u64> = small.flat_map(|heads| [heads, channels / heads]).collect();
    let below = divisors.iter().copied().filter(|heads| *heads < wanted).max();
    let above = divisors.iter().copied().filter(|heads| *heads > wanted).min();
    let both: Vec<String> = below.into_iter().chain(above).map(|heads| heads.to_string()).collect();
    both.join(" and ")
}
