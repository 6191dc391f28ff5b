//! Whatever the text, the compiler ends in time and gives a graph or says why there is none.

use archc_compiler::elaborate::Budget;
use archc_compiler::source::{SourceError, SourceMap, Sources};
use archc_compiler::{CompileError, Diagnostic, Level, Options, Span, check, compile, has_errors};
use archc_tests::corpus;
use archc_tests::mutation::{Dice, garbage, mutate, noise};
use std::time::{Duration, Instant};

const MUTATIONS: u64 = 400;
const NOISE: u64 = 100;
/// What a short source may take, with a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(20);

fn options() -> Options {
    let budget = Budget { nodes: 3000, iterations: 20_000, depth: 64, time: Duration::from_secs(5) };
    Options { budget, ..Options::default() }
}

/// Whether a span lies in its source, between characters.
fn fits(span: Span, sources: &SourceMap) -> bool {
    let (start, end) = (span.start as usize, span.end as usize);
    sources.get(span.file).is_some_and(|source| start <= end && source.text.get(start..end).is_some())
}

fn check_spans(name: &str, diagnostics: &[Diagnostic], sources: &SourceMap) {
    for problem in diagnostics {
        let labels = problem.labels.iter().map(|label| label.span);
        let calls = problem.chain.iter().map(|frame| frame.call);
        let edits = problem.fixes.iter().flat_map(|fix| fix.edits.iter().map(|edit| edit.span));
        for span in labels.chain(calls).chain(edits) {
            assert!(fits(span, sources), "{name}: {span:?} of {problem:?}");
        }
        assert!(!problem.message.is_empty(), "{name}: {problem:?} says nothing");
    }
}

/// Checks and compiles a source; whether it gives a graph.
fn survives(name: &str, text: &str) -> bool {
    let begun = Instant::now();
    let source = [("main.arch", text)];
    let checked = check("main.arch", &[], &source, &options()).expect("the source is there");
    check_spans(name, &checked.diagnostics, &checked.program.sources);
    let compiles = match compile("main.arch", None, &[], &source, &options()) {
        Ok(compiled) => {
            check_spans(name, &compiled.diagnostics, &compiled.program.sources);
            let silent = compiled.graph.is_none() && !has_errors(&compiled.diagnostics);
            assert!(!silent, "{name} gives neither a graph nor an error:\n{text}");
            if let Some(graph) = &compiled.graph {
                assert!(!graph.outputs.is_empty(), "{name} has no output:\n{text}");
                assert!(!graph.to_text().is_empty() && !graph.to_flat_text().is_empty());
                let error = |problem: &Diagnostic| problem.level == Level::Error;
                let language = |problem: &&Diagnostic| error(problem) && !archc_compiler::lint::is_rule(&problem.id);
                assert_eq!(compiled.diagnostics.iter().find(language), None, "{name} has a graph and an error");
            }
            compiled.graph.is_some()
        }
        Err(CompileError::Target(message)) => {
            assert!(!message.is_empty(), "{name} is refused without a word");
            false
        }
        Err(error @ CompileError::Source(_)) => {
            assert_eq!(error.to_string(), "", "{name} can be read");
            false
        }
    };
    assert!(begun.elapsed() < PATIENCE, "{name} took {:?}", begun.elapsed());
    compiles
}

#[test]
fn mutated_sources() {
    let all = corpus::everything();
    let mut compiled = 0;
    for seed in 0..MUTATIONS {
        let mut dice = Dice::new(seed);
        let Some(source) = all.get(dice.below(all.len())) else { continue };
        let text = mutate(&source.text, &mut dice);
        compiled += u64::from(survives(&format!("{} (seed {seed})", source.name), &text));
    }
    assert!(compiled * 100 > MUTATIONS, "{compiled} of {MUTATIONS} mutations give a graph");
}

#[test]
fn noise_and_garbage() {
    for seed in 0..NOISE {
        let mut dice = Dice::new(seed);
        let length = dice.below(300);
        let text = if seed % 2 == 0 { noise(&mut dice, length) } else { garbage(&mut dice, length) };
        survives(&format!("seed {seed}"), &text);
        survives(&format!("seed {seed} in a model"), &format!("model M(x: vector[4]) {{ {text} }}"));
    }
}

/// Every prefix of a source is what an editor sees while it is typed.
#[test]
fn half_typed_sources() {
    for name in ["specs/dit.arch", "specs/std/unet.arch"] {
        let text = corpus::read(name);
        for (at, _) in text.char_indices().step_by(101) {
            survives(&format!("the first {at} bytes of {name}"), text.get(..at).unwrap_or(""));
        }
    }
}

/// Brackets deeper than any network are refused at once.
#[test]
fn deep_nesting() {
    nested(
        100_000,
        &[
            ("(", "x", ")"),
            ("[", "x", "]"),
            ("{", "x", "}"),
            ("f(", "x", ")"),
            ("residual { ", "x", " }"),
            ("if true { ", "x", " } else { x }"),
            ("for i in 0..2 { ", "x", " }"),
            ("encoder { ", "x", " }"),
            ("{ h => ", "h", " }"),
            ("1 * (2 - ", "1", ")"),
            ("(", "", ""),
            ("{", "", ""),
        ],
    );
    let types = format!("model M(x: {}int{}) {{ x }}", "[".repeat(100_000), "]".repeat(100_000));
    survives("lists of lists", &types);
}

/// What goes on for long without brackets is no deeper than what it is made of.
#[test]
fn long_chains() {
    nested(
        500,
        &[
            ("-", "1", ""),
            ("!", "true", ""),
            ("if true { x } else ", "{ x }", ""),
            ("x -> ", "linear(4)", ""),
            ("1 + ", "1", ""),
            ("", "x", ")"),
            ("", "x", "}"),
        ],
    );
}

fn nested(deep: usize, parts: &[(&str, &str, &str)]) {
    for (open, inner, close) in parts {
        let text = format!("{}{inner}{}", open.repeat(deep), close.repeat(deep));
        survives(&format!("`{open}` {deep} times"), &text);
        survives(&format!("`{open}` {deep} times in a model"), &format!("model M(x: vector[4]) {{ {text} }}"));
    }
}

#[test]
fn long_lines_names_and_files() {
    let million = 1_000_000;
    let name = "n".repeat(million);
    survives("a long name", &format!("model {name}({name}: vector[4]) {{ {name} -> linear(4) @{name} }}"));
    survives("an unknown long name", &format!("model M(x: vector[4]) {{ x -> {name}() }}"));
    survives("a long number", &format!("model M(x: vector[{}]) {{ x }}", "9".repeat(million)));
    survives("a long text", &format!("model M(x: vector[4]) {{ assert(false, \"{name}\")\nx }}"));
    survives("an open text", &format!("model M(x: vector[4]) {{ assert(false, \"{name}"));
    survives("a long comment", &format!("// {name}\nmodel M(x: vector[4]) {{ x }}"));
    survives("a long line", &format!("model M(x: vector[4]) {{ x{} }}", " -> silu()".repeat(500)));
    survives("a long sum", &format!("model M(x: vector[4]) {{ x{} }}", " + x".repeat(500)));
    survives("many lines", &format!("model M(x: vector[4]) {{\n{}x\n}}", "let y = x + x\n".repeat(500)));
    survives("many blanks", &format!("{}model M(x: vector[4]) {{ x }}", " \n\t".repeat(million)));
    survives("five megabytes of comments", &"// more of the same\n".repeat(250_000));
    survives("many signs", &"->".repeat(million / 16));
    survives("many quotes", &"\"".repeat(million / 16));
    survives("many attributes", &"#[allow(a, \"b\")]\n".repeat(2_000));
    let blocks: String = (0..500).map(|i| format!("block B{i}(x: vector[4]) {{ x -> linear(4) @a }}\n")).collect();
    survives("many blocks", &format!("{blocks}model M(x: vector[4]) {{ x -> B499() }}"));
    let wrong: String = (0..300).map(|i| format!("model M{i}(x: vector[4]) {{ x -> lin{i}(4) }}\n")).collect();
    survives("many mistakes", &wrong);
}

#[test]
fn odd_characters() {
    let spec = corpus::read("specs/dit.arch");
    assert!(survives("line ends of Windows", &spec.replace('\n', "\r\n")));
    assert!(survives("a byte order mark", &format!("\u{feff}{spec}")));
    for (name, text) in [
        ("nothing", ""),
        ("a byte order mark alone", "\u{feff}"),
        ("two byte order marks", "\u{feff}\u{feff}model M(x: vector[4]) { x }"),
        ("blanks", " \t\r\n\n"),
        ("comments alone", "// nothing\n/// here\n// at all"),
        ("NUL", "model M(x: vector[4]) { \0 x }"),
        ("NUL alone", "\0\0\0"),
        ("old line ends", "model M(x: vector[4]) {\r    x -> linear(2)\r}\r"),
        ("a comment with an old line end", "// a\rmodel M(x: vector[4]) { x -> linaer(2) }"),
        ("wide characters", "model Größe(x: vector[4]) { x -> linear(4) @größe // 🦀\n}"),
        ("wide characters in a mistake", "model M(x: vector[4]) { x → linear(4) 🦀🦀 }"),
        ("combining characters", "model M(x: vector[4]) { x -> line\u{301}ar(4) }"),
        ("from right to left", "model M(x: vector[4]) { \u{202e}x -> linear(4) }"),
        ("blanks that are none", "model\u{a0}M(x: vector[4])\u{2003}{ x }"),
        ("quotes of word processors", "model M(x: vector[4]) { assert(true, “yes”)\nx }"),
    ] {
        survives(name, text);
    }
}

/// A source that cannot be read as text, or not at all.
struct Unreadable(SourceError);

impl Sources for Unreadable {
    fn read(&self, name: &str) -> Result<String, SourceError> {
        match name {
            "main.arch" => Ok("use other.{A}\nmodel M(x: vector[4]) { x -> A() }".to_owned()),
            _ => Err(self.0.clone()),
        }
    }
}

#[test]
fn unreadable_sources() {
    for error in [SourceError::NotFound, SourceError::NotUtf8, SourceError::Unreadable("it is a folder".to_owned())] {
        let sources = Unreadable(error.clone());
        let direct = check("other.arch", &[], &sources, &options());
        assert_eq!(direct.map(|checked| checked.targets), Err(error.clone()));
        let imported = check("main.arch", &[], &sources, &options()).expect("the importing file can be read");
        check_spans("an import", &imported.diagnostics, &imported.program.sources);
        let ids: Vec<_> = imported.diagnostics.iter().map(|problem| &*problem.id).collect();
        let expected = match error {
            SourceError::NotFound => "import/not-found",
            SourceError::NotUtf8 => "import/not-utf8",
            SourceError::Unreadable(_) => "import/unreadable",
        };
        assert_eq!(ids, [expected], "the import is reported, its names are not");
    }
}

/// Every file imports another one, without end.
struct Endless;

impl Sources for Endless {
    fn read(&self, name: &str) -> Result<String, SourceError> {
        Ok(format!("use \"a{name}\".{{A}}\nmodel M(x: vector[4]) {{ x -> A() }}"))
    }
}

#[test]
fn endless_imports() {
    let checked = check("main.arch", &[], &Endless, &options()).expect("the first file can be read");
    check_spans("endless imports", &checked.diagnostics, &checked.program.sources);
    assert!(checked.diagnostics.iter().any(|problem| problem.id == "import/too-deep"), "{:?}", checked.diagnostics);
}

#[test]
fn a_source_beyond_the_limit() {
    let text = " ".repeat(archc_grammar::MAX_SOURCE_BYTES + 1);
    assert!(!survives("a source beyond the limit", &text));
    let problems = archc_grammar::parse(&text, archc_compiler::FileId(0)).problems;
    assert!(problems.iter().any(|problem| problem.id == "syntax/too-large"), "{problems:?}");
}
