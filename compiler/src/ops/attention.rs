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
                    "attention/heads",
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
        let scores = size(0, 0) * size(1, 0);
        2 * scores * (size(0, 1) + size(2, 1)) + 5 * scores * self.heads
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
            let mean = values.has(Facts::MEAN_POSITIONS) || values.has(Facts::POSITIONS) && keys.has(Facts::POSITIONS);
            // Uniform weights give every query the mean of the values.
            let nonzero = values.nonzero() && (mean || attends(q.all(), keys) && values.has(Facts::POSITIONS));
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
        let (queries, keys, values, dy) = (q.all(), k.all(), v.all(), gradient.all());
        let varied_values = values.has(Facts::POSITIONS);
        // A score's gradient sums to zero over the keys: uniform keys or values leave nothing for the queries.
        let dq = q.map(|row, _, _| {
            let line = gradient.row(row);
            Facts::GENERIC
                .without(Facts::POSITIONS)
                .with(Facts::POSITIONS, line.has(Facts::POSITIONS) || q.row(row).has(Facts::POSITIONS))
                .when(line.nonzero() && varied_values && keys.has(Facts::POSITIONS))
        });
        // For the keys the same sum leaves a gradient that is centred over all tokens together.
        let dk = k.map(|_, _, _| {
            Facts::GENERIC
                .without(Facts::MEAN_POSITIONS)
                .without(Facts::MEAN_ALL)
                .with(Facts::MEAN_POSITIONS, k.rows() > 1)
                .with(Facts::MEAN_ALL, k.rows() > 1)
                .when(dy.nonzero() && varied_values && queries.nonzero())
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
    let fits = |heads: &u64| *heads > 0 && channels.is_multiple_of(*heads);
    let below = (1..wanted).rev().find(|heads| fits(heads));
    let above = (wanted + 1..=channels.min(wanted.saturating_mul(64))).find(|heads| fits(heads));
    let both: Vec<String> = below.into_iter().chain(above).map(|heads| heads.to_string()).collect();
    both.join(" and ")
}
