//! Training both variants of cases with several seeds.

use super::case::{Case, Variant};
use crate::corpus;
use archc_runtime::Interface;
use archc_runtime::data::{self, Source};
use archc_runtime::train::checkpoint::Checkpoint;
use archc_runtime::train::{Experiment, Recipe, experiment};
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
            let start = |variant| train(case, variant, &case.recipe(variant, seed), None);
            let fixed = start(Variant::Fixed)?;
            if !case.takes_over {
                return Ok(Trial { flagged: start(Variant::Flagged)?, fixed });
            }
            let from = Checkpoint { step: case.steps, tensors: fixed.state };
            let on = |variant| {
                let mut recipe = case.recipe(variant, seed);
                recipe.steps += case.steps.div_ceil(10);
                train(case, variant, &recipe, Some(&from))
            };
            Ok(Trial { flagged: on(Variant::Flagged)?, fixed: on(Variant::Fixed)? })
        })
        .collect()
}

fn train(case: &Case, variant: Variant, recipe: &Recipe, from: Option<&Checkpoint>) -> Result<Experiment, String> {
    let graph = Arc::new(case.graph(variant)?);
    let explain = |error| format!("{}, {variant:?}: {error}", case.rule);
    let interface = Interface::of(&graph).map_err(explain)?;
    let source = Source { labels: None, range: Some((0.0, 16.0)) };
    let digits = corpus::root().join("tests/data/digits.npz");
    let digits = data::read(&digits, &source, &graph, &interface).map_err(explain)?;
    experiment(&graph, &digits, recipe, from).map_err(explain)
}
