//! Training both variants of cases with several seeds.

use super::case::{Case, Variant};
use crate::corpus;
use archc_runtime::Interface;
use archc_runtime::data::{self, Source};
use archc_runtime::train::{Experiment, experiment};
use std::sync::Arc;

/// Both variants of a case with one seed: the same batches, and the same start where both have a parameter.
#[derive(Clone, Debug)]
pub struct Trial {
    pub flagged: Experiment,
    pub fixed: Experiment,
}

/// Trains a case with so many seeds.
pub fn run(case: &Case, seeds: u64) -> Result<Vec<Trial>, String> {
    (0..seeds)
        .map(|seed| {
            let trained = |variant| train(case, variant, seed);
            Ok(Trial { flagged: trained(Variant::Flagged)?, fixed: trained(Variant::Fixed)? })
        })
        .collect()
}

fn train(case: &Case, variant: Variant, seed: u64) -> Result<Experiment, String> {
    let graph = Arc::new(case.graph(variant)?);
    let explain = |error| format!("{}, {variant:?}: {error}", case.rule);
    let interface = Interface::of(&graph).map_err(explain)?;
    let source = Source { labels: None, range: Some((0.0, 16.0)) };
    let digits = corpus::root().join("tests/data/digits.npz");
    let digits = data::read(&digits, &source, &graph, &interface).map_err(explain)?;
    experiment(&graph, &digits, &case.recipe(seed)).map_err(explain)
}
