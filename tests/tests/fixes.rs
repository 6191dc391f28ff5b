//! Every fix of every finding of the rules' pages and suites: the result parses, the finding is gone, nothing new is found,
//! and what the fix says of itself is so.

use archc_compiler::elaborate::{Budget, elaborate};
use archc_compiler::fix::{Change, Effect, repair};
use archc_compiler::ir::Graph;
use archc_compiler::lint::{Levels, rules};
use archc_compiler::program::Program;
use archc_compiler::settings::Settings;
use archc_compiler::source::{SourceError, Sources};
use archc_compiler::{Diagnostic, FileId, Fix, Options, Safety, check};
use archc_grammar::{apply, format};
use archc_tests::case::{Case, MAIN};
use archc_tests::corpus;
use std::collections::{BTreeMap, BTreeSet};

/// The most rounds until nothing is left to fix.
const ROUNDS: usize = 8;

/// Files by name.
#[derive(Clone, Debug, PartialEq)]
struct Texts(BTreeMap<String, String>);

impl Sources for Texts {
    fn read(&self, name: &str) -> Result<String, SourceError> {
        self.0.get(name).cloned().ok_or(SourceError::NotFound)
    }
}

impl Texts {
    fn of(case: &Case) -> Self {
        Self(case.files.iter().map(|file| (file.name.clone(), file.text.clone())).collect())
    }

    fn found(&self, case: &Case) -> (Vec<Diagnostic>, Program) {
        let checked = check(MAIN, &case.settings, self, &options(case));
        let checked = checked.expect("a case can be read");
        (checked.diagnostics, checked.program)
    }

    fn graphs(&self, case: &Case) -> Vec<Graph> {
        let (program, _) = Program::load(MAIN, self).expect("a case can be read");
        let graph = |target| elaborate(&program, &target, &case.settings, Budget::default()).graph;
        program.targets().into_iter().filter_map(graph).collect()
    }

    /// With the edits of a fix made.
    fn fixed(&self, fix: &Fix, program: &Program) -> Option<Self> {
        let mut fixed = self.clone();
        for (file, source) in program.sources.iter() {
            if let Some(text) = fixed.0.get_mut(&*source.name) {
                *text = apply(&source.text, file, &fix.edits)?;
            }
        }
        Some(fixed)
    }
}

fn options(case: &Case) -> Options {
    // Remarks are looked for where they are what is tested.
    let rule = rules().iter().find(|rule| case.suite.contains(rule.id));
    let levels = Levels(rule.map(|rule| (rule.id.to_owned(), Some(rule.level))).into_iter().collect());
    Options { budget: case.budget, given: Settings { levels, ..Settings::default() } }
}

/// How often each id is found.
fn counts(problems: &[Diagnostic]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for problem in problems {
        *counts.entry(&*problem.id).or_insert(0) += 1;
    }
    counts
}

/// What is wrong with a fix.
fn mistakes(case: &Case, texts: &Texts, problem: &Diagnostic, fix: &Fix) -> Vec<String> {
    let (before, program) = texts.found(case);
    let Some(fixed) = texts.fixed(fix, &program) else { return vec!["its edits cannot be made".to_owned()] };
    let mut mistakes = vec![];
    let is_library = |file: FileId| program.sources.is_library(file);
    if fix.edits.iter().any(|edit| is_library(edit.span.file)) {
        mistakes.push("it changes the standard library".to_owned());
    }
    let (after, _) = fixed.found(case);
    let (old, new) = (counts(&before), counts(&after));
    let more = new.iter().filter(|(id, count)| **count > old.get(**id).copied().unwrap_or(0));
    mistakes.extend(more.map(|(id, _)| format!("it introduces {id}")));
    if new.get(&*problem.id).copied().unwrap_or(0) >= old.get(&*problem.id).copied().unwrap_or(0) {
        mistakes.push("the finding is still there".to_owned());
    }
    let (before, after) = (texts.graphs(case), fixed.graphs(case));
    if before.len() != after.len() {
        mistakes.push("a model is gone".to_owned());
    }
    let effects = before.iter().zip(&after).map(|(before, after)| Effect::between(before, after));
    let none = Effect { change: Change::Nothing, breaks_weights: false };
    let effect = effects.fold(none, Effect::and);
    if (fix.safety == Safety::Safe) != (effect.change == Change::Nothing) {
        mistakes.push(format!("it says that it is {:?}, and changes {:?}", fix.safety, effect.change));
    }
    if fix.breaks_weights != effect.breaks_weights {
        mistakes.push(format!("breaks_weights is {}, found {}", fix.breaks_weights, effect.breaks_weights));
    }
    mistakes.into_iter().map(|mistake| format!("{mistake}\n{:?}", fixed.0)).collect()
}

/// Cases of rules: their pages are part of their suites.
fn cases() -> Vec<Case> {
    corpus::suites().into_iter().filter(|case| case.suite.contains("suites/rules") && case.target.is_none()).collect()
}

#[test]
fn every_fix_does_what_it_says() {
    let mut report = String::new();
    let mut tried: BTreeMap<String, usize> = BTreeMap::new();
    for case in cases() {
        let texts = Texts::of(&case);
        for problem in texts.found(&case).0 {
            for fix in problem.fixes.iter().filter(|fix| fix.safety != Safety::DisplayOnly) {
                *tried.entry(problem.id.to_string()).or_default() += 1;
                for mistake in mistakes(&case, &texts, &problem, fix) {
                    let place = format!("{}:{} {}", case.suite, case.line(), problem.id);
                    report.push_str(&format!("{place}, `{}`: {mistake}\n", fix.title));
                }
            }
        }
    }
    assert!(report.is_empty(), "\n{report}");
    let untried: Vec<&str> =
        rules().iter().filter(|rule| rule.fixable && !tried.contains_key(rule.id)).map(|rule| rule.id).collect();
    assert!(untried.is_empty(), "no case of these has a fix: {untried:?}");
}

/// A page says what its fix does, or why there is none; its example is repaired by it.
#[test]
fn examples_of_fixable_rules_have_a_fix() {
    let examples = cases().into_iter().map(|case| Texts::of(&case).found(&case).0);
    let fixed: BTreeSet<String> =
        examples.flatten().filter(|problem| !problem.fixes.is_empty()).map(|problem| problem.id.to_string()).collect();
    for rule in rules() {
        let says = rule.doc.split("## Fix\n").nth(1).unwrap_or_default();
        assert!(!says.is_empty(), "{} says nothing of its fix", rule.id);
        let has = !says.trim_start().starts_with("None: ");
        assert_eq!((rule.fixable, rule.fixable), (has, fixed.contains(rule.id)), "{}", rule.id);
    }
}

/// What `archc check --fix` makes of a case is formatted where the case was, and nothing is left that it could still do.
#[test]
fn what_is_repaired_is_formatted_and_done() {
    let formatted = |text: &str| format(text, FileId(0)).is_ok_and(|own| own == text);
    for case in cases() {
        let texts = Texts::of(&case);
        if texts.found(&case).0.iter().all(|problem| problem.fixes.is_empty()) {
            continue;
        }
        let repair = |texts: &Texts| {
            let repair = repair(MAIN, &case.settings, texts, &options(&case), Safety::Unsafe, &|name| {
                texts.0.contains_key(name)
            });
            repair.expect("a case can be read")
        };
        let mut repaired = texts.clone();
        for file in repair(&texts).files {
            assert!(
                !formatted(&file.before) || formatted(&file.after),
                "{}:{}\n{}",
                case.suite,
                case.line(),
                file.after
            );
            repaired.0.insert(file.name, file.after);
        }
        let again = repair(&repaired);
        assert!(again.applied.is_empty(), "{}:{}\n{:?}", case.suite, case.line(), again.applied);
    }
}

/// Taking the first fix of the first finding, again and again, ends.
#[test]
fn fixing_comes_to_an_end() {
    for case in cases() {
        let mut texts = Texts::of(&case);
        let mut open = true;
        for _ in 0..ROUNDS {
            let (found, program) = texts.found(&case);
            let fixes = found.iter().flat_map(|problem| problem.fixes.first());
            let fix = fixes.into_iter().find(|fix| fix.safety != Safety::DisplayOnly);
            let Some(fixed) = fix.and_then(|fix| texts.fixed(fix, &program)) else {
                open = false;
                break;
            };
            assert_ne!(fixed, texts, "{}:{}", case.suite, case.line());
            texts = fixed;
        }
        assert!(!open, "{}:{} is never done: {:?}", case.suite, case.line(), texts.0);
    }
}
