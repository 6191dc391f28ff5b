//! What archc says of the corpus.

use archc_compiler::{Level, lint};
use archc_tests::corpus;
use archc_tests::evidence::{Verdict, Verdicts, idle, page};
use archc_tests::experiment;
use archc_tests::pages::is_update;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// Asked once for all tests.
static VERDICTS: LazyLock<Verdicts> = LazyLock::new(|| Verdicts::collect().expect("the corpus can be read"));

/// Rules are right about every thread and every network.
#[test]
fn rules_are_right_about_the_corpus() {
    assert!(VERDICTS.threads.len() >= 350, "{}", VERDICTS.threads.len());
    assert_eq!(wrong(&VERDICTS.threads), Vec::<String>::new());
}

/// Rules are right about what others made of published networks.
#[test]
fn rules_are_right_about_edited_networks() {
    assert!(VERDICTS.edits.len() >= 100, "{}", VERDICTS.edits.len());
    assert_eq!(wrong(&VERDICTS.edits), Vec::<String>::new());
}

#[test]
fn the_page_is_current() {
    let page = page(&VERDICTS);
    if is_update() {
        page.write().expect("the page can be written");
    }
    let path = page.path;
    assert!(page.is_current(), "`{path}` is stale: UPDATE_PAGES=1 cargo test -p archc-tests --test evidence");
}

/// Every thread that the corpus names leads to where it stands.
#[test]
fn threads_of_the_corpus_are_linked() {
    let page = corpus::read("tests/corpus/threads.md");
    let named: BTreeSet<&str> = page
        .split('[')
        .skip(1)
        .filter_map(|rest| rest.split(']').next())
        .filter(|name| name.contains('/') && name.contains('#') && !name.contains('`'))
        .collect();
    assert!(named.len() >= 40, "{named:?}");
    let is_linked = |name: &&str| {
        name.split_once('#').is_some_and(|(repository, number)| {
            let of = |kind| format!("\n[{name}]: https://github.com/{repository}/{kind}/{number}\n");
            page.contains(&of("issues")) || page.contains(&of("pull"))
        })
    };
    let missing: Vec<&&str> = named.iter().filter(|name| !is_linked(name)).collect();
    assert!(missing.is_empty(), "without a link: {missing:?}");
    let cases = page.lines().filter(|line| line.starts_with("## ") && line.contains('#'));
    let bare: Vec<&str> = cases.filter(|line| line.split(['#']).skip(3).count() != line.matches('[').count()).collect();
    assert!(bare.is_empty(), "not in brackets: {bare:?}");
}

/// Published networks are mutated, and what is said of each mutant is what is true of it.
#[test]
fn rules_are_right_about_mutated_networks() {
    let verdicts = &VERDICTS.mutants;
    assert_eq!(idle(verdicts), Vec::<&str>::new());
    assert!(verdicts.len() >= 80, "{}", verdicts.len());
    assert_eq!(wrong(verdicts), Vec::<String>::new());
}

/// A rule whose prediction no experiment has confirmed, and whose networks learn as well as their repairs, is a remark; and
/// every prediction that was not confirmed is owned up to on the page of its rule.
#[test]
fn levels_follow_the_experiments() {
    let report = corpus::read("tests/evidence/report.md");
    let rows: Vec<Vec<&str>> = report
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|row| row.split('|').map(|cell| cell.trim().trim_matches('`')).collect())
        .collect();
    let titles: Vec<String> = experiment::all().expect("cases").iter().map(experiment::Case::title).collect();
    let reported: Vec<&str> = rows.iter().filter_map(|row| row.first().copied()).collect();
    assert_eq!(reported, titles, "the report is of other cases: cargo build --workspace && target/debug/evidence");
    let mut outcomes: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
    for row in &rows {
        let cell = |at: usize| row.get(at).copied().expect("nine columns");
        let (title, confirmed, learns) = (cell(0), cell(5), cell(8));
        let rule = title.split(", ").next().unwrap_or(title);
        let (holds, fails) = outcomes.entry(rule).or_default();
        *holds |= confirmed == "yes" || learns == "worse";
        *fails |= confirmed != "yes";
    }
    for (id, (holds, fails)) in outcomes {
        let rule = lint::rule(id).expect("a rule");
        assert!(holds || rule.level == Level::Info, "{id} is not confirmed, and more than a remark");
        assert!(!fails || rule.page().contains("## Evidence"), "the page of {id} does not say what is not confirmed");
    }
}

fn wrong(verdicts: &[Verdict]) -> Vec<String> {
    let of = |verdict: &Verdict| -> Vec<String> {
        let missed = verdict.missed().map(|rule| format!("misses {rule}"));
        let all = missed.chain(verdict.alarms().map(|rule| format!("falsely finds {rule}")));
        all.map(|what| format!("{}: {what}", verdict.title)).collect()
    };
    verdicts.iter().flat_map(of).collect()
}
