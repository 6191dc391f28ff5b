//! The language reference, `specs/README.md`: it compiles, it is formatted, and it leaves nothing out.

use archc_compiler::types::Kind;
use archc_compiler::{FileId, ops, words};
use archc_grammar::{format, grammar_rules, rules_of};
use archc_tests::case::File;
use archc_tests::pages::is_update;
use archc_tests::{corpus, run};
use std::collections::BTreeSet;

#[test]
fn examples_report_what_they_say() {
    let cases = corpus::reference();
    assert!(!cases.is_empty(), "there are no examples");
    let mut report = String::new();
    for case in &cases {
        let failures = run::failures(case);
        if !failures.is_empty() {
            report.push_str(&run::report(case, &failures));
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

/// Rules of the grammar by which no correct source is read, and parts of words, which pest does not report.
const NOT_WRITTEN: &[&str] = &[
    "bad_",
    "lone_",
    "token",
    "digits",
    "exponent",
    "file",
    "ident_char",
    "init_head",
    "item_word",
    "keyword",
    "order_head",
    "process_head",
    "rule_part",
    "skip_head",
    "text_char",
];

/// The grammar as text.
fn grammar() -> String {
    corpus::read("grammar/src/arch.pest")
}

/// Rules that leave no trace: `name = _{ .. }`.
fn silent_rules() -> BTreeSet<String> {
    let grammar = grammar();
    let rules = grammar.lines().filter_map(|line| line.split_once('='));
    rules.filter(|(_, body)| body.trim().starts_with("_{")).map(|(name, _)| name.trim().to_owned()).collect()
}

#[test]
fn every_rule_of_the_grammar_is_shown() {
    let read: BTreeSet<String> =
        corpus::reference().iter().flat_map(|case| &case.files).flat_map(|file| rules_of(&file.text)).collect();
    let silent = silent_rules();
    let is_written =
        |rule: &&String| !silent.contains(*rule) && !NOT_WRITTEN.iter().any(|prefix| rule.starts_with(prefix));
    let rules = grammar_rules();
    let missing: Vec<&String> = rules.iter().filter(is_written).filter(|rule| !read.contains(*rule)).collect();
    assert!(missing.is_empty(), "no example in specs/README.md uses {missing:?}");
}

/// The signs and words that the grammar spells out.
fn literals() -> BTreeSet<String> {
    let grammar = grammar().replace(r#""\\""#, "").replace(r#"\""#, "");
    let language = grammar.split("// ---- recovery").next().unwrap_or_default();
    let lines = language.lines().filter(|line| !line.starts_with("//"));
    let quoted = lines.flat_map(|line| line.split('"').skip(1).step_by(2));
    // What stands inside of a word or of a text is not seen by itself.
    let is_seen = |text: &&str| {
        let inside = text.len() == 1 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        !(inside || text.starts_with('\\') || text.trim().is_empty())
    };
    quoted.filter(is_seen).map(str::to_owned).collect()
}

#[test]
fn every_sign_and_word_is_shown() {
    let literals = literals();
    assert!(literals.contains("decoder") && literals.contains("<="), "the grammar is read wrongly: {literals:?}");
    let tables = [
        words::FUNCTIONS,
        words::STAGES,
        words::INITIALISERS,
        words::CONSTANTS,
        words::TYPES,
        words::RESIDUAL_OPTIONS,
        words::SKIP_OPTIONS,
        words::PROCESS_ENTRIES,
        words::DENOISE_SETTINGS,
        words::SCHEDULES,
        words::PREDICTIONS,
        words::PRECONDITIONS,
        words::WEIGHTINGS,
        words::TIMES,
        words::VARIANCES,
    ];
    let words = tables.into_iter().flat_map(words::names).chain(Kind::ALL.map(Kind::name)).map(str::to_owned);
    let shown = shown();
    let missing: Vec<String> = literals.into_iter().chain(words).filter(|text| !shown.contains(text)).collect();
    assert!(missing.is_empty(), "no example in specs/README.md uses {missing:?}");
}

/// Words, and pieces of the runs of signs, of all examples without their comments.
fn shown() -> BTreeSet<String> {
    let mut shown = BTreeSet::new();
    for case in corpus::reference() {
        for line in case.files.iter().flat_map(|file| file.text.lines()) {
            let code = line.split("//").next().unwrap_or_default();
            shown.extend(code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map(str::to_owned));
            let signs = code.split(|c: char| c.is_ascii_alphanumeric() || c == '_' || c.is_whitespace());
            for sign in signs {
                let ends = |start: usize| (start + 1..=sign.len()).filter_map(move |end| sign.get(start..end));
                shown.extend((0..sign.len()).flat_map(ends).map(str::to_owned));
            }
            shown.extend((code.len() < line.len()).then(|| "//".to_owned()));
        }
    }
    shown
}

#[test]
fn every_operator_is_listed() {
    let text = corpus::read("specs/README.md") + &corpus::read("specs/reference/operators.md");
    let missing: Vec<&str> = ops::signatures()
        .iter()
        .map(|signature| signature.name)
        .filter(|name| !text.contains(&format!("{name}(")))
        .collect();
    assert!(missing.is_empty(), "neither the reference nor the list of operators holds {missing:?}");
}

#[test]
fn examples_are_formatted() {
    let mut reference = corpus::read("specs/README.md");
    let mut stale = vec![];
    for case in corpus::reference() {
        for file in &case.files {
            let (own, formatted) = (own_text(file), formatted(file));
            if own != formatted {
                reference = reference.replace(&own, &formatted);
                stale.push(format!("specs/README.md:{}\n{formatted}", file.line));
            }
        }
    }
    if is_update() {
        std::fs::write(corpus::root().join("specs/README.md"), reference).expect("the reference can be written");
        return;
    }
    assert!(
        stale.is_empty(),
        "format with `UPDATE_PAGES=1 cargo test -p archc-tests --test reference`:\n{}",
        stale.join("\n")
    );
}

/// The text as it stands in the block, without the model around it.
fn own_text(file: &File) -> String {
    let lines: Vec<&str> = file.text.lines().collect();
    let inner = lines.get(file.offset..lines.len() - file.offset).unwrap_or(&[]);
    inner.iter().map(|line| format!("{line}\n")).collect()
}

/// What cannot be read cannot be formatted; whether it should be readable is checked with what it reports.
fn formatted(file: &File) -> String {
    let Ok(text) = format(&file.text, FileId(0)) else { return own_text(file) };
    let text = own_text(&File { text, ..file.clone() });
    let indent = if file.offset > 0 { "    " } else { "" };
    text.lines().map(|line| format!("{}\n", line.strip_prefix(indent).unwrap_or(line))).collect()
}
