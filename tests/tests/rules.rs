//! The example of every rule shows that rule alone, and every rule has a suite.

use archc_compiler::lint::{Levels, RuleInfo, rules};
use archc_compiler::settings::Settings;
use archc_compiler::{Diagnostic, Options, check};
use archc_tests::markdown::arch_blocks;

fn found(source: &str) -> Vec<Diagnostic> {
    let given = Settings { levels: Levels::default().with_remarks(), ..Settings::default() };
    let options = Options { given, ..Options::default() };
    let checked = check("page.arch", &[], &[("page.arch", source)], &options);
    checked.map(|checked| checked.diagnostics).unwrap_or_default()
}

/// The one source under a heading of a page.
fn source(rule: &RuleInfo, heading: &str) -> String {
    let mut blocks: Vec<_> =
        arch_blocks(&rule.page()).into_iter().filter(|block| block.heading.ends_with(heading)).collect();
    assert_eq!(blocks.len(), 1, "{} has one source under *{heading}*", rule.id);
    blocks.remove(0).text
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
