//! What is to be kept in `f32` when the rest runs in fewer bits.

use super::text::figure;
use crate::output;
use archc_compiler::analysis::precision::{Hazard, Precision};
use archc_compiler::ir::{Graph, NodeId};
use archc_compiler::ops::Op;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Debug, Serialize)]
pub struct InFewBits {
    format: &'static str,
    /// What the values may grow by before they overflow.
    margin: f64,
    operators: usize,
    /// Operators of which nothing is known.
    unknown: usize,
    /// The largest magnitude that is expected of what is not kept.
    largest: Option<f64>,
    keep_in_f32: Vec<Kept>,
}

#[derive(Debug, Serialize)]
struct Kept {
    place: String,
    operator: &'static str,
    why: String,
    /// Largest magnitude, of the result or on the way to it.
    largest: Option<f64>,
}

impl InFewBits {
    pub fn of(graph: &Graph, precision: &Precision, margin: f64) -> Self {
        let kept = |kept: &archc_compiler::analysis::precision::Kept| {
            let (why, largest) = match kept.hazard {
                Hazard::Result { largest } => ("overflows".to_owned(), Some(largest)),
                Hazard::Inside { largest } => ("overflows on the way".to_owned(), Some(largest)),
                Hazard::Sum { terms, error } => {
                    (format!("a sum of {terms:.0} terms loses {:.1} %", 100.0 * error), None)
                }
                Hazard::Steps { last } => (format!("steps up to {last:.0} are no longer told apart"), None),
            };
            Kept { place: place(graph, kept.node), operator: operator(graph, kept.node), why, largest }
        };
        Self {
            format: precision.format.name(),
            margin,
            operators: precision.operators,
            unknown: precision.unknown,
            largest: precision.largest.map(|(_, largest)| largest),
            keep_in_f32: precision.kept.iter().map(kept).collect(),
        }
    }

    /// One line for operators of a kind that have the same reason.
    pub fn table(&self) -> String {
        let mut rows: BTreeMap<(&str, &str), (usize, f64, &str)> = BTreeMap::new();
        for kept in &self.keep_in_f32 {
            let row = rows.entry((&kept.why, kept.operator)).or_insert((0, 0.0, &kept.place));
            row.0 += 1;
            if kept.largest.unwrap_or(0.0) > row.1 {
                (row.1, row.2) = (kept.largest.unwrap_or(0.0), &kept.place);
            }
        }
        let row = |((why, operator), (count, largest, place)): (&(&str, &str), &(usize, f64, &str))| {
            let largest = if *largest > 0.0 { figure(*largest) } else { String::new() };
            vec![count.to_string(), (*operator).to_owned(), (*why).to_owned(), largest, (*place).to_owned()]
        };
        let rows: Vec<Vec<String>> = rows.iter().map(row).collect();
        let count = self.keep_in_f32.len();
        let mut text = format!("\nin {}, with room to grow {} times: ", self.format, self.margin);
        if count == 0 {
            text.push_str("nothing has to be kept in f32\n");
        } else {
            text.push_str(&format!("{count} of {} operators are to be kept in f32\n\n", self.operators));
            text.push_str(&output::table(&["", "operator", "why", "largest", "such as"], &rows, &[0, 3]));
        }
        if let Some(largest) = self.largest {
            text.push_str(&format!("\nlargest magnitude of the rest: {}\n", figure(largest)));
        }
        if self.unknown > 0 {
            text.push_str(&format!("{} operators are not predicted\n", self.unknown));
        }
        text
    }
}

fn operator(graph: &Graph, id: NodeId) -> &'static str {
    graph.node(id).op().map_or("input", Op::name)
}

/// Its own path, or that of the block it is in.
fn place(graph: &Graph, id: NodeId) -> String {
    let node = graph.node(id);
    let path = node.path.as_deref().unwrap_or(&graph.scope(node.scope).path);
    if path.is_empty() { graph.name().to_owned() } else { path.to_owned() }
}
