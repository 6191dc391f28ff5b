//! Scaled dot-product attention.

use super::{
    Alignment, Alignments, Flow, Gradients, Link, Misuse, Obligations, Operator, ParameterMoments, Parameters,
    Passage, channels_of,
};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::Moments;
use crate::operator;
use crate::types::{Axis, Kind, Type};
use smallvec::smallvec;

operator! {
    /// `softmax(Q K^T / sqrt(d)) V` in each head, heads side by side on the channels.
    ///
    /// `q: tokens[N, C]`, `k: tokens[M, C]`, `v: tokens[M, C'] -> tokens[N, C']`. Head `h` owns the channels
    /// `h*d .. (h+1)*d` with `d = C / heads`. Vaswani et al. 2017.
    "attention"(q, k, v)
    pub struct Attention {
        /// Number of heads; has to divide the channels.
        heads: u64,
    }
}

impl Operator for Attention {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        let [q, k, v] = operands else { return Err(Misuse::new("type/kind", "`attention` needs q, k and v")) };
        for (at, operand) in operands.iter().enumerate() {
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
        let batched = q.batched || k.batched || v.batched;
        Ok((*q).clone().with(Axis::Channel, values.into()).with_batch(batched))
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    fn moments(&self, _: &[&Type], _: &[Moments], _: &[ParameterMoments]) -> Moments {
        Moments::unknown("attention needs the correlation between tokens")
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

    fn alignments(&self, _: &[&Type], _: &Type) -> Alignments {
        smallvec![
            Alignment { channels: Link::Unrelated, tokens: Link::Same },
            Alignment::UNRELATED,
            Alignment { channels: Link::Same, tokens: Link::Unrelated },
        ]
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        let (q, keys, v) = (at.operand(0), at.operand(1).all(), at.operand(2));
        Grid::build(at.rows, at.columns, |row, column| {
            let values = v.column(column);
            // Queries give different mixtures only if they differ, and the keys, and the values do.
            let mixes = q.row(row).has(Facts::POSITIONS)
                && keys.has(Facts::POSITIONS)
                && values.has(Facts::POSITIONS);
            // Uniform weights give every query the mean of the values.
            let nonzero = values.has(Facts::MEAN_POSITIONS) || attends(q.all(), keys) && values.has(Facts::POSITIONS);
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
        let (queries, keys, values) = (q.all(), k.all(), v.all());
        let varied_values = values.has(Facts::POSITIONS);
        // A score's gradient sums to zero over the keys: uniform keys or values leave nothing for the queries. It is
        // linear in the result's gradient, so that with equal weights for all queries it is centred if that is.
        let dq = q.map(|row, _, _| {
            let line = gradient.row(row);
            let varied = q.row(row).has(Facts::POSITIONS);
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
        let heard = (0..gradient.rows()).any(|row| {
            let (dy, q) = (gradient.row(row).over_positions(), q.row(row).over_positions());
            dy.contracts(q) || dy.nonzero && q.varies && keys.has(Facts::POSITIONS)
        });
        let dk = k.map(|_, _, _| {
            Facts::GENERIC
                .without(Facts::MEAN_POSITIONS)
                .without(Facts::MEAN_ALL)
                .with(Facts::MEAN_POSITIONS, k.rows() > 1)
                .with(Facts::MEAN_ALL, k.rows() > 1)
                .when(heard && varied_values)
        });
        // Values receive the gradients by weight; equal weights pass on their sum alone.
        let varied_weights = attends(queries, keys) && queries.has(Facts::POSITIONS);
        let dv = v.map(|_, column, _| {
            let part = gradient.column(column);
            let varies = queries.nonzero() && keys.has(Facts::POSITIONS);
            let nonzero = part.has(Facts::MEAN_POSITIONS) || part.nonzero() && varied_weights;
            Facts::NONZERO
                .with(Facts::POSITIONS, varies)
                .with(Facts::CHANNELS, part.has(Facts::CHANNELS))
                .with(Facts::MEAN_POSITIONS, part.has(Facts::MEAN_POSITIONS) || v.rows() > 1)
                .with(Facts::MEAN_CHANNELS, part.has(Facts::MEAN_CHANNELS))
                .with(Facts::MEAN_ALL, part.has(Facts::MEAN_ALL) || v.rows() > 1)
                .when(nonzero)
        });
        Gradients::of_operands([dq, dk, dv])
    }
}

/// Whether attention weights differ between keys.
fn attends(queries: Facts, keys: Facts) -> bool {
    queries.nonzero() && keys.has(Facts::POSITIONS)
}

fn nearest_divisors(channels: u64, wanted: u64) -> String {
    let small = (1..).take_while(|heads| heads * heads <= channels).filter(|heads| channels.is_multiple_of(*heads));
    let divisors: Vec<u64> = small.flat_map(|heads| [heads, channels / heads]).collect();
    let below = divisors.iter().copied().filter(|heads| *heads < wanted).max();
    let above = divisors.iter().copied().filter(|heads| *heads > wanted).min();
    let both: Vec<String> = below.into_iter().chain(above).map(|heads| heads.to_string()).collect();
    both.join(" and ")
}
