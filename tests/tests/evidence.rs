//! What archc says of the corpus.

use archc_compiler::lint;
use archc_tests::evidence::{mutants, threads};

/// A rule that is there is right about every thread; one that is missing is shown as missed.
#[test]
fn rules_are_right_about_the_corpus() {
    let verdicts = threads().expect("the corpus can be read");
    assert!(verdicts.len() >= 20);
    let wrong: Vec<_> = verdicts.iter().filter(|own| lint::is_rule(&own.rule) && !own.is_right()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Mutations are made at all.
#[test]
fn published_networks_are_mutated() {
    assert!(mutants().len() >= 10);
}
