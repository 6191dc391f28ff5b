//! What archc says of the corpus.

use archc_compiler::lint;
use archc_tests::evidence::{Verdict, mutants, threads};

/// A rule that is there is right about every thread; one that is missing is shown as missed.
#[test]
fn rules_are_right_about_the_corpus() {
    let verdicts = threads().expect("the corpus can be read");
    assert!(verdicts.len() >= 20);
    assert_eq!(wrong(&verdicts), Vec::<String>::new());
}

/// Published networks are mutated, and what is said of each mutant is what is true of it.
#[test]
fn rules_are_right_about_mutated_networks() {
    let verdicts = mutants();
    assert!(verdicts.len() >= 10);
    assert_eq!(wrong(&verdicts), Vec::<String>::new());
}

fn wrong(verdicts: &[Verdict]) -> Vec<String> {
    let of = |verdict: &Verdict| -> Vec<String> {
        let missed = verdict.missed().filter(|rule| lint::is_rule(rule)).map(|rule| format!("misses {rule}"));
        let all = missed.chain(verdict.alarms().map(|rule| format!("falsely finds {rule}")));
        all.map(|what| format!("{}: {what}", verdict.title)).collect()
    };
    verdicts.iter().flat_map(of).collect()
}
