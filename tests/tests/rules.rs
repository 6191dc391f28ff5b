//! The example of every rule shows that rule alone, and every rule has a suite.

use archc_compiler::lint::{RuleInfo, rules};
use archc_compiler::{Diagnostic, Options, check};
use archc_tests::case::cases;
use archc_tests::corpus::specs;
use archc_tests::markdown::{Block, arch_blocks};
use archc_tests::run;

/// Errors, warnings, and of the remarks those of the rule itself.
fn found(rule: &RuleInfo, block: Block) -> Vec<Diagnostic> {
    let case = cases(rule.id, vec![block]).remove(0);
    assert_eq!(case.mistakes, Vec::<String>::new(), "{}", rule.id);
    run::diagnostics(&case).map(|(problems, _)| problems).unwrap_or_default()
}

/// The one source under a heading of a page.
fn source(rule: &RuleInfo, heading: &str) -> Block {
    let mut blocks: Vec<_> =
        arch_blocks(&rule.page()).into_iter().filter(|block| block.heading.ends_with(heading)).collect();
    assert_eq!(blocks.len(), 1, "{} has one source under *{heading}*", rule.id);
    blocks.remove(0)
}

#[test]
fn examples_trigger_their_rule_and_no_other() {
    let mut wrong = vec![];
    for rule in rules() {
        let problems = found(rule, source(rule, "Example"));
        if problems.is_empty() {
            wrong.push(format!("{} is silent about its example", rule.id));
        }
        for problem in problems {
            if (&*problem.id, problem.level) != (rule.id, rule.level) {
                wrong.push(format!("{}: [{}] {}", rule.id, problem.id, problem.message));
            }
            if problem.help.is_none() {
                wrong.push(format!("{} does not say what to do", rule.id));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// Each rule has a suite that begins with its page.
#[test]
fn every_rule_has_a_suite_with_its_page() {
    for rule in rules() {
        let name = format!("tests/suites/rules/{}.md", rule.id);
        let suite = archc_tests::corpus::read(&name);
        let plain = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| !line.trim_start().starts_with("//^"));
            lines.map(|line| line.split(" // ").next().unwrap_or("").trim().to_owned()).collect()
        };
        let sources: Vec<Vec<String>> = arch_blocks(&suite).iter().map(|block| plain(&block.text)).collect();
        for heading in ["Example", "Use instead"] {
            assert!(sources.contains(&plain(&source(rule, heading).text)), "{name} lacks the *{heading}* of the page");
        }
    }
}

/// Published networks are clean, but for what is excused where it stands.
#[test]
fn published_specs_are_clean() {
    let mut wrong = vec![];
    for spec in specs().into_iter().filter(|spec| !spec.name.contains("/examples/")) {
        let checked =
            check(&spec.name, &[], &[(&*spec.name, &*spec.text)], &Options::default()).expect("specs can be read");
        wrong.extend(checked.diagnostics.iter().map(|own| format!("{}: [{}] {}", spec.name, own.id, own.message)));
    }
    assert_eq!(wrong, Vec::<String>::new());
}
