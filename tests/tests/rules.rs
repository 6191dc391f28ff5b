//! The reference page of every rule: complete, and with examples that do what it says.

use archc_compiler::lint::{RuleInfo, rules};
use archc_compiler::{Diagnostic, Options, check};
use archc_tests::markdown::arch_blocks;

const HEADINGS: [&str; 5] = ["What it does", "Why is this bad", "Example", "Use instead", "References"];

fn found(source: &str) -> Vec<Diagnostic> {
    let checked = check("page.arch", &[], &[("page.arch", source)], &Options::default());
    checked.map(|checked| checked.diagnostics).unwrap_or_default()
}

/// The page as markdown: lines of a doc comment start with a blank.
fn page(rule: &RuleInfo) -> String {
    let lines: Vec<&str> = rule.doc.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    lines.join("\n")
}

/// The one source under a heading of a page.
fn source(rule: &RuleInfo, heading: &str) -> String {
    let mut blocks: Vec<_> = arch_blocks(&page(rule)).into_iter().filter(|block| block.heading == heading).collect();
    assert_eq!(blocks.len(), 1, "{} has one source under *{heading}*", rule.id);
    blocks.remove(0).text
}

#[test]
fn pages_have_all_headings_in_order() {
    for rule in rules() {
        let page = page(rule);
        let headings: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(headings, HEADINGS, "{}", rule.id);
    }
}

#[test]
fn examples_trigger_their_rule_and_no_other() {
    for rule in rules() {
        let problems = found(&source(rule, "Example"));
        assert!(!problems.is_empty(), "{} is silent about its example", rule.id);
        for problem in problems {
            assert_eq!((&*problem.id, problem.level), (rule.id, rule.level), "{}", problem.message);
            assert!(problem.help.is_some(), "{} says what to do", rule.id);
        }
    }
}

#[test]
fn replacements_trigger_nothing() {
    for rule in rules() {
        let problems = found(&source(rule, "Use instead"));
        let said: Vec<_> = problems.iter().map(|problem| (&problem.id, &problem.message)).collect();
        assert!(said.is_empty(), "{}: {said:?}", rule.id);
    }
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
            assert!(sources.contains(&plain(&source(rule, heading))), "{name} lacks the *{heading}* of the page");
        }
    }
}
