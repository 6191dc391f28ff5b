//! The generated pages of `specs/reference`.

use archc_compiler::analysis::precision::Format;
use archc_compiler::settings::Settings;
use archc_compiler::{FileId, library, lint, ops};
use archc_grammar::ast::{ItemKind, UseSource};
use archc_tests::case::cases;
use archc_tests::markdown::arch_blocks;
use archc_tests::pages::{is_update, pages};
use archc_tests::{corpus, evidence, run};

#[test]
fn pages_are_current() {
    for page in pages() {
        if is_update() {
            page.write().expect("the page can be written");
        }
        assert!(
            page.is_current(),
            "`{}` is stale; refresh it with `UPDATE_PAGES=1 cargo test -p archc-tests --test pages`",
            page.path
        );
    }
    let known: Vec<&str> = pages().iter().map(|page| page.path).chain([evidence::PAGE]).collect();
    let stray: Vec<String> =
        corpus::files("specs/reference", "md").into_iter().filter(|file| !known.contains(&file.as_str())).collect();
    assert!(stray.is_empty(), "nothing generates {stray:?}");
}

/// What can be used as `std.models` is what stands in `specs`, and it needs nothing but the standard library.
#[test]
fn published_networks_are_part_of_the_library() {
    let all = corpus::files("specs", "arch");
    let names = all.iter().filter_map(|path| path.strip_prefix("specs/")?.strip_suffix(".arch"));
    let specs: Vec<&str> = names.filter(|name| !name.contains('/')).collect();
    let embedded: Vec<&str> = library::MODELS.iter().map(|(name, _)| *name).collect();
    assert_eq!(embedded, specs, "`MODELS` in compiler/src/library.rs");
    let library: Vec<&str> = library::STD.iter().map(|(name, _)| *name).collect();
    let std = corpus::files("specs/std", "arch");
    let std: Vec<&str> = std.iter().filter_map(|path| path.strip_prefix("specs/std/")?.strip_suffix(".arch")).collect();
    assert_eq!(library, std, "`STD` in compiler/src/library.rs");
    for (name, source) in library::MODELS {
        for item in archc_grammar::parse(source, FileId(0)).file.items {
            let ItemKind::Use(import) = item.kind else { continue };
            let is_std =
                matches!(&import.source, UseSource::Path(path) if path.first().is_some_and(|part| &**part == "std"));
            assert!(is_std, "`std.models.{name}` uses a file that is not part of the program");
        }
    }
}

/// Blocks of the standard library, with whether they say what they are.
fn library_blocks() -> Vec<(String, bool)> {
    let items = library::STD.iter().flat_map(|(_, source)| archc_grammar::parse(source, FileId(0)).file.items);
    let blocks = items.filter_map(|item| match item.kind {
        ItemKind::Definition(definition) => Some((definition.name.text.to_string(), !definition.docs.is_empty())),
        ItemKind::Use(_) | ItemKind::Preset(_) => None,
    });
    blocks.collect()
}

#[test]
fn everything_declared_is_documented() {
    let mut missing: Vec<String> = vec![];
    for signature in ops::signatures() {
        missing.extend(signature.doc.trim().is_empty().then(|| signature.name.to_owned()));
        let silent = signature.attributes.iter().filter(|attribute| attribute.doc.trim().is_empty());
        missing.extend(silent.map(|attribute| format!("{}.{}", signature.name, attribute.name)));
    }
    missing.extend(library_blocks().into_iter().filter(|(_, documented)| !documented).map(|(name, _)| name));
    assert!(missing.is_empty(), "without a doc comment: {missing:?}");
}

#[test]
fn every_rule_has_the_headings_of_a_page() {
    for rule in lint::rules() {
        let headings: Vec<&str> = rule.doc.lines().filter_map(|line| line.trim().strip_prefix("## ")).collect();
        // A page says what its fix does, or why there is none.
        let mut expected = vec!["What it does", "Why is this bad", "Example", "Use instead", "Fix"];
        // Where an experiment did not confirm what the rule predicts.
        expected.extend(headings.contains(&"Evidence").then_some("Evidence"));
        expected.extend(["References", "Threads", "To confirm"]);
        assert_eq!(headings, expected, "{}", rule.id);
    }
}

/// The text of a page under a heading.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let start = page.split_once(&format!("\n## {heading}\n")).map_or("", |(_, rest)| rest);
    start.split("\n## ").next().unwrap_or("").trim()
}

/// Whether a word names a thread: `owner/repository#12`, perhaps with a sign behind it.
fn is_thread(word: &str) -> bool {
    let word = word.trim_end_matches([':', ',', '.', ';']);
    let Some((repository, number)) = word.split_once('#') else { return false };
    let is_repository = repository.split('/').count() == 2 && repository.split('/').all(|part| !part.is_empty());
    is_repository && !number.is_empty() && number.chars().all(|digit| digit.is_ascii_digit())
}

/// A page has a number, a public thread (or says that none was found) and a command that confirms what is found.
#[test]
fn every_rule_says_where_it_was_seen_and_how_to_confirm_it() {
    for rule in lint::rules() {
        let page = rule.page();
        let why = section(&page, "Why is this bad");
        assert!(why.contains(|digit: char| digit.is_ascii_digit()), "{}: no number says how bad it is", rule.id);
        let threads = section(&page, "Threads");
        let is_found = threads.split_whitespace().any(is_thread);
        assert!(is_found || threads.starts_with("None found"), "{}: no thread is named", rule.id);
        assert!(section(&page, "References").starts_with("* "), "{}: no paper is named", rule.id);
        let mut quoted = section(&page, "To confirm").split('`').skip(1).step_by(2);
        assert!(quoted.any(|code| code.starts_with("archc ")), "{}: no command confirms it", rule.id);
    }
}

/// The example of a page triggers its rule, and the replacement triggers none.
#[test]
fn examples_of_rules_say_what_they_show() {
    let mut report = String::new();
    for rule in lint::rules() {
        let page = rule.page();
        for case in cases(rule.id, arch_blocks(&page)) {
            let found =
                run::diagnostics(&case).map(|(problems, _)| problems.iter().map(|own| own.id.to_string()).collect());
            let found: Vec<String> = found.unwrap_or_else(|message| vec![message]);
            let is_right = match case.heading.rsplit(" > ").next() {
                Some("Example") => found.iter().any(|id| id == rule.id),
                _ => found.is_empty(),
            };
            if !is_right {
                report.push_str(&format!("{} ({}): {found:?}\n", rule.id, case.heading));
            }
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

/// The `archc.yaml` that the reference shows is one.
#[test]
fn the_declarations_of_the_reference_are_right() {
    let page = corpus::read("specs/README.md");
    let (_, rest) = page.split_once("```yaml\n# yaml-language-server").expect("an example");
    let (text, _) = rest.split_once("```").expect("its end");
    let settings = Settings::read(&format!("#{text}"), FileId(0)).expect("it is right");
    assert_eq!(settings.dtype.map(Format::name), Some("bf16"));
    assert_eq!(settings.inputs.highest(), Some(80.0));
}
