//! Numbers of few bits: where values at initialisation are too large for a format, and where sums lose what they add.
//!
//! The largest of `n` normal elements of deviation `s` is `s sqrt(2 ln n)` in the mean, to the first order (Leadbetter,
//! Lindgren & Rootzen 1983, chapter 1). A normalisation squares what it is given, attention multiplies before it divides:
//! what operators compute on the way counts as well. After training values are larger, by how much nobody knows; hence a
//! margin.

use super::moments::Moments;
use super::signal::Signal;
use crate::ir::{Graph, NodeId, NodeKind};
use crate::ops::{Op, Passage};
use crate::types::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A floating-point format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    F16,
    Bf16,
    F32,
}

impl Format {
    pub const ALL: [Format; 3] = [Format::F16, Format::Bf16, Format::F32];

    pub fn name(self) -> &'static str {
        match self {
            Format::F16 => "f16",
            Format::Bf16 => "bf16",
            Format::F32 => "f32",
        }
    }

    /// Largest finite number.
    pub fn largest(self) -> f64 {
        match self {
            Format::F16 => 65504.0,
            Format::Bf16 => 3.389_531_389_251_535_5e38,
            Format::F32 => f64::from(f32::MAX),
        }
    }

    /// Half the distance from 1 to the next number: the largest relative error of rounding.
    pub fn rounding(self) -> f64 {
        match self {
            Format::F16 => libm::ldexp(1.0, -11),
            Format::Bf16 => libm::ldexp(1.0, -8),
            Format::F32 => libm::ldexp(1.0, -24),
        }
    }

    /// Integers up to this are all different.
    pub fn integers(self) -> f64 {
        1.0 / self.rounding()
    }
}

/// What a format does not hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Hazard {
    /// The result comes within the margin of the largest number.
    Result { largest: f64 },
    /// Squares or products on the way to the result do, or what it is made from.
    Inside { largest: f64 },
    /// A sum over so many terms, added one by one, loses this share.
    Sum { terms: f64, error: f64 },
    /// Steps up to the last are no longer told from their neighbours.
    Steps { last: f64 },
}

/// An operator, or an input, to be kept in `f32`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kept {
    pub node: NodeId,
    pub hazard: Hazard,
}

/// What a model needs to run in a format.
#[derive(Clone, Debug)]
pub struct Precision {
    pub format: Format,
    /// What is to be kept in `f32`, and nothing else, in the order of the graph.
    pub kept: Vec<Kept>,
    /// Operators that have numbers.
    pub operators: usize,
    /// Of those, such as nothing is known of.
    pub unknown: usize,
    /// The largest number that anything comes to in the format, with where.
    pub largest: Option<(NodeId, f64)>,
}

/// Share that a sum may lose.
const LOSS: f64 = 0.01;
/// Steps that schedules have.
const STEPS: f64 = 1000.0;

/// Of a model whose values may grow by `margin` before they overflow.
pub fn precision(graph: &Graph, signal: &Signal, format: Format, margin: f64) -> Precision {
    let mut found = Precision { format, kept: vec![], operators: 0, unknown: 0, largest: None };
    for id in graph.node_ids() {
        let node = graph.node(id);
        if node.ty.kind.is_index() {
            continue;
        }
        found.operators += usize::from(node.op().is_some());
        if node.ty.kind == Kind::Timestep && matches!(node.kind, NodeKind::Input(_)) && format.integers() < STEPS {
            found.kept.push(Kept { node: id, hazard: Hazard::Steps { last: STEPS } });
            continue;
        }
        let Ok(moments) = signal.at(id) else {
            found.unknown += 1;
            continue;
        };
        let largest = largest(moments, elements(graph, id));
        let hazard = hazards(graph, signal, id, largest).into_iter().find(|hazard| match *hazard {
            Hazard::Result { largest } | Hazard::Inside { largest } => largest * margin > format.largest(),
            Hazard::Sum { terms, .. } => libm::sqrt(terms) * format.rounding() > LOSS,
            Hazard::Steps { .. } => false,
        });
        match hazard {
            Some(Hazard::Sum { terms, .. }) => {
                let error = libm::sqrt(terms) * format.rounding();
                found.kept.push(Kept { node: id, hazard: Hazard::Sum { terms, error } });
            }
            Some(hazard) => found.kept.push(Kept { node: id, hazard }),
            None if found.largest.is_none_or(|(_, other)| largest > other) => found.largest = Some((id, largest)),
            None => {}
        }
    }
    found
}

/// What a node comes to, the gravest first.
fn hazards(graph: &Graph, signal: &Signal, id: NodeId, largest_result: f64) -> Vec<Hazard> {
    let mut found = vec![Hazard::Result { largest: largest_result }];
    let Some(op) = graph.node(id).op() else { return found };
    let operands = graph.operands(id);
    let operand = |at: usize| {
        let own = *operands.get(at)?;
        signal.at(own).as_ref().ok().map(|moments| (own, *moments))
    };
    let given = operands.iter().filter_map(|own| Some(largest(signal.at(*own).as_ref().ok()?, elements(graph, *own))));
    found.extend(given.reduce(f64::max).map(|largest| Hazard::Inside { largest }));
    if op.as_operator().passage() == Passage::Normalize
        && let Some((x, moments)) = operand(0)
    {
        let largest = largest(&moments, elements(graph, x));
        found.push(Hazard::Inside { largest: largest * largest });
        found.push(sum(normalised(graph, op, x)));
    }
    if let (Op::Attention(attention), Some((q, queries)), Some((k, keys))) = (op, operand(0), operand(1)) {
        let width = channels(graph, q) / attention.heads.max(1) as f64;
        let products = Moments::independent(0.0, width * queries.square() * keys.square());
        let count = tokens(graph, q) * tokens(graph, k) * attention.heads as f64;
        found.push(Hazard::Inside { largest: largest(&products, count) });
        found.push(sum(tokens(graph, k)));
    }
    if let (Op::Softmax(_), Some((x, _))) = (op, operand(0)) {
        found.push(sum(channels(graph, x).max(tokens(graph, x))));
    }
    found
}

/// A sum is judged where the format is known.
fn sum(terms: f64) -> Hazard {
    Hazard::Sum { terms, error: 0.0 }
}

/// `|m| + s sqrt(2 ln n)`
fn largest(moments: &Moments, count: f64) -> f64 {
    moments.mean.abs() + libm::sqrt(moments.variance() * 2.0 * libm::log(count.max(2.0)))
}

fn elements(graph: &Graph, id: NodeId) -> f64 {
    let dims = graph.node(id).ty.dims.iter().chain(&graph.node(id).ty.batch.folds);
    dims.map(|dim| dim.at(&graph.typical).unwrap_or(1) as f64).product()
}

fn channels(graph: &Graph, id: NodeId) -> f64 {
    graph.node(id).ty.channels().unwrap_or(1) as f64
}

/// Tokens or pixels.
fn tokens(graph: &Graph, id: NodeId) -> f64 {
    graph.node(id).ty.positions().map(|dim| dim.at(&graph.typical).unwrap_or(1) as f64).product()
}

/// How many elements the statistics of a normalisation are taken over.
fn normalised(graph: &Graph, op: &Op, x: NodeId) -> f64 {
    if let Op::GroupNorm(norm) = op {
        return channels(graph, x) / norm.groups.max(1) as f64 * tokens(graph, x);
    }
    channels(graph, x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_those_of_ieee_754_and_of_bfloat() {
        assert_eq!(Format::F16.integers(), 2048.0);
        assert_eq!(Format::Bf16.integers(), 256.0);
        assert!((Format::Bf16.largest() / 3.3895e38 - 1.0).abs() < 1e-4);
    }

    /// The mean of the largest of 10,000 standard normal numbers is 3.85; of their magnitudes, 4.04.
    #[test]
    fn the_largest_of_many_is_close_to_what_it_is_taken_for() {
        let found = largest(&Moments::unit(), 10_000.0);
        assert!((found / 4.04 - 1.0).abs() < 0.1, "{found}");
    }
}
