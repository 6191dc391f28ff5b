//! Findings as SARIF 2.1.0 (OASIS Standard, 27 March 2020), which code scanning services read.

use archc_compiler::lint::{RuleInfo, rules};
use archc_compiler::source::SourceMap;
use archc_compiler::{Diagnostic, Edit, Fix, Level, Safety, Span};
use serde_json::{Value, json};

/// Results of a run, file by file.
#[derive(Debug, Default)]
pub struct Log {
    results: Vec<Value>,
}

impl Log {
    /// Adds what was found in a file and those that it uses.
    pub fn add(&mut self, problems: &[Diagnostic], sources: &SourceMap) {
        self.results.extend(problems.iter().map(|problem| result(problem, sources)));
    }

    /// The document; `failures` are what could not be checked.
    pub fn document(&self, failures: &[String]) -> Value {
        let notification = |text: &String| json!({ "level": "error", "message": { "text": text } });
        json!({
            "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
            "version": "2.1.0",
            "runs": [{
                "tool": { "driver": {
                    "name": "archc",
                    "semanticVersion": env!("CARGO_PKG_VERSION"),
                    "rules": rules().iter().map(descriptor).collect::<Vec<_>>(),
                } },
                "columnKind": "unicodeCodePoints",
                "invocations": [{
                    "executionSuccessful": failures.is_empty(),
                    "toolExecutionNotifications": failures.iter().map(notification).collect::<Vec<_>>(),
                }],
                "results": self.results,
            }],
        })
    }
}

fn descriptor(rule: &RuleInfo) -> Value {
    let page = rule.page();
    json!({
        "id": rule.id,
        "shortDescription": { "text": rule.summary() },
        "help": { "text": page, "markdown": page },
        // Remarks run where they are asked for.
        "defaultConfiguration": { "level": level(rule.level), "enabled": rule.level != Level::Info },
        "properties": { "tags": rule.id.split('/').take(1).collect::<Vec<_>>() },
    })
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Info => "note",
    }
}

fn result(problem: &Diagnostic, sources: &SourceMap) -> Value {
    let mut result = json!({
        "ruleId": problem.id,
        "level": level(problem.level),
        "message": { "text": text(problem) },
        "locations": problem.span().and_then(|span| location(span, sources)).into_iter().collect::<Vec<_>>(),
        "relatedLocations": related(problem, sources),
        "fixes": problem.fixes.iter().filter(|own| own.safety != Safety::DisplayOnly)
            .map(|own| fix(own, sources)).collect::<Vec<_>>(),
    });
    // An error of the language has no description; it stands for itself.
    if let (Some(at), Some(own)) = (rules().iter().position(|rule| rule.id == problem.id), result.as_object_mut()) {
        own.insert("ruleIndex".to_owned(), json!(at));
    }
    result
}

/// The message with everything that has no place of its own.
fn text(problem: &Diagnostic) -> String {
    let label = problem.labels.first().map(|label| label.text.clone()).filter(|text| !text.is_empty());
    let notes = problem.notes.iter().map(|note| format!("note: {note}"));
    let help = problem.help.iter().map(|help| format!("help: {help}"));
    std::iter::once(problem.message.clone()).chain(label).chain(notes).chain(help).collect::<Vec<_>>().join("\n")
}

/// Other labels, then the calls that lead to the place.
fn related(problem: &Diagnostic, sources: &SourceMap) -> Vec<Value> {
    let labels = problem.labels.iter().skip(1).map(|label| (label.span, label.text.clone()));
    let calls = problem
        .chain
        .iter()
        .map(|frame| (frame.call, format!("`{}` is called from `{}` here", frame.callee, frame.inside)));
    let places = labels.chain(calls).filter_map(|(span, text)| {
        let mut place = location(span, sources)?;
        place.as_object_mut()?.insert("message".to_owned(), json!({ "text": text }));
        Some(place)
    });
    // Viewers tell them apart by their numbers.
    places
        .enumerate()
        .map(|(at, mut place)| {
            if let Some(own) = place.as_object_mut() {
                own.insert("id".to_owned(), json!(at));
            }
            place
        })
        .collect()
}

/// None in the standard library, which is no file of the user.
fn location(span: Span, sources: &SourceMap) -> Option<Value> {
    let artifact = artifact(span, sources)?;
    Some(json!({ "physicalLocation": { "artifactLocation": artifact, "region": region(span, sources) } }))
}

fn artifact(span: Span, sources: &SourceMap) -> Option<Value> {
    let source = sources.get(span.file).filter(|_| !sources.is_library(span.file))?;
    Some(json!({ "uri": uri(&source.name) }))
}

/// Lines and columns from one; the end lies behind the last character.
fn region(span: Span, sources: &SourceMap) -> Value {
    let ((line, column), (end_line, end_column)) = (sources.line_column(span), sources.line_column(span.after()));
    json!({ "startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column })
}

fn fix(fix: &Fix, sources: &SourceMap) -> Value {
    let weights = if fix.breaks_weights { "; weights of before no longer load" } else { "" };
    let change = |edit: &Edit| {
        let replacement =
            json!({ "deletedRegion": region(edit.span, sources), "insertedContent": { "text": edit.text } });
        Some(json!({ "artifactLocation": artifact(edit.span, sources)?, "replacements": [replacement] }))
    };
    json!({
        "description": { "text": format!("{} ({}{weights})", fix.title, fix.safety.name()) },
        "artifactChanges": fix.edits.iter().filter_map(change).collect::<Vec<_>>(),
    })
}

/// A path as a reference (RFC 3986): relative ones stay relative to the folder that the check ran in.
fn uri(path: &str) -> String {
    let mut text = String::new();
    if path.starts_with('/') {
        text.push_str("file://");
    }
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}
