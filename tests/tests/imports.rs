//! Configurations of diffusers and transformers, and what becomes of them: `tests/imports/*.md`.
//!
//! A suite is a markdown file of configurations (`json`), each with the spec that it becomes (`arch`) or what is wrong
//! with it (`text`) behind it. `UPDATE_PAGES=1 cargo test -p archc-tests --test imports` writes the results anew; read
//! the difference.

use archc_compiler::import::{classes, import};
use archc_compiler::{FileId, Options, check};
use archc_tests::corpus;
use archc_tests::markdown::blocks;
use archc_tests::pages::is_update;
use archc_tests::report::report;

/// A configuration with its result as it stands in the suite.
struct Case {
    place: String,
    config: String,
    language: String,
    expected: String,
}

fn cases(suite: &str) -> Vec<Case> {
    let blocks = blocks(&corpus::read(suite));
    let pairs = blocks.chunks(2).map(|pair| match pair {
        [config, result] if config.language == "json" => Case {
            place: format!("{suite}:{} ({})", config.line, config.heading),
            config: config.text.clone(),
            language: result.language.clone(),
            expected: result.text.clone(),
        },
        _ => Case {
            place: format!("{suite}: a configuration, then its result"),
            config: String::new(),
            language: String::new(),
            expected: String::new(),
        },
    });
    pairs.collect()
}

/// The spec of a configuration, or the report on it; with the language of either.
fn result(config: &str) -> (&'static str, String) {
    let imported = import("config.json", config, "imported");
    match imported.spec {
        Some(spec) => ("arch", spec.text),
        None => ("text", report(&imported.diagnostics, &imported.sources)),
    }
}

fn suites() -> Vec<String> {
    corpus::files("tests/imports", "md")
}

#[test]
fn configurations_become_what_the_suites_say() {
    assert!(!suites().is_empty(), "there are no suites");
    let mut stale = String::new();
    for suite in suites() {
        let mut text = corpus::read(&suite);
        for case in cases(&suite) {
            let (language, found) = result(&case.config);
            if language == case.language && found == case.expected {
                continue;
            }
            let block =
                |language: &str, text: &str| format!("```json\n{}```\n\n```{language}\n{text}```\n", case.config);
            text = text.replace(&block(&case.language, &case.expected), &block(language, &found));
            stale.push_str(&format!("{}\n{found}\n", case.place));
        }
        if is_update() {
            std::fs::write(corpus::root().join(&suite), text).expect("the suite can be written");
        }
    }
    assert!(stale.is_empty() || is_update(), "\n{stale}");
}

#[test]
fn imported_specs_are_formatted_and_have_no_findings() {
    let mut report = String::new();
    for case in suites().iter().flat_map(|suite| cases(suite)).filter(|case| case.language == "arch") {
        let formatted = archc_grammar::format(&case.expected, FileId(0));
        if formatted.as_ref().ok() != Some(&case.expected) {
            report.push_str(&format!("{}: not formatted\n", case.place));
        }
        let sources = [("imported.arch", case.expected.as_str())];
        let checked = check("imported.arch", &[], &sources, &Options::default()).expect("the spec is there");
        // Heads of eight channels are the default of `UNet2DModel`, and too narrow.
        for problem in checked.diagnostics.into_iter().filter(|problem| problem.id != "attention/heads") {
            report.push_str(&format!("{}: {}[{}]\n", case.place, problem.message, problem.id));
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

/// A class that no suite shows is a class that nobody has tried.
#[test]
fn every_class_is_shown() {
    let all: String = suites().iter().map(|suite| corpus::read(suite)).collect();
    let missing: Vec<&str> = classes().filter(|class| !all.contains(&format!("of {class}"))).collect();
    assert!(missing.is_empty(), "no suite imports {missing:?}");
}

/// Values that no one would write, and some that someone has.
const ODD: &[&str] = &[
    "null",
    "0",
    "-1",
    "0.5",
    "1e300",
    "18446744073709551615",
    "1000000007",
    "\"\"",
    "[]",
    "[null, {}]",
    "[9223372036854775807, 3]",
    "{\"a\": [1]}",
    "true",
];

/// Whatever a configuration holds, there is a spec or a reason, and the reason points into a source.
#[test]
fn odd_values_are_survived() {
    let mut tried = 0;
    for case in suites().iter().flat_map(|suite| cases(suite)).filter(|case| case.language == "arch") {
        for (at, line) in case.config.lines().enumerate() {
            let Some((key, _)) = line.split_once(": ").filter(|(key, _)| !key.contains("_class_name")) else {
                continue;
            };
            let comma = if line.ends_with(',') { "," } else { "" };
            // Each key meets some of them, and different ones in different configurations.
            for odd in ODD.iter().skip((at + tried) % 7).step_by(7) {
                let changed = format!("{key}: {odd}{comma}");
                let config: Vec<&str> = case
                    .config
                    .lines()
                    .enumerate()
                    .map(|(own, line)| if own == at { &*changed } else { line })
                    .collect();
                survives(&config.join("\n"));
                tried += 1;
            }
        }
        for end in (0..case.config.len()).step_by(97) {
            survives(case.config.get(..end).unwrap_or_default());
        }
    }
    assert!(tried > 200, "{tried}");
}

fn survives(config: &str) {
    let imported = import("config.json", config, "imported");
    assert_ne!(imported.spec.is_some(), !imported.diagnostics.is_empty(), "{config}");
    for label in imported.diagnostics.iter().flat_map(|problem| &problem.labels) {
        let text = imported.sources.get(label.span.file).map(|source| &*source.text);
        let slice = text.and_then(|text| text.get(label.span.start as usize..label.span.end as usize));
        assert!(slice.is_some(), "{config}: {label:?}");
    }
}
