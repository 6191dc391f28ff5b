//! Diagnostics for people (drawn by miette) and for programs (JSON).

use crate::output;
use archc_compiler::source::SourceMap;
use archc_compiler::{Diagnostic, Edit, FileId, Fix, Frame, Level, Safety, Span};
use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, Severity, SourceCode};
use serde::Serialize;
use std::fmt;
use std::io::{IsTerminal, Write};

/// A diagnostic in one file, with those of its labels that lie in other files beside it.
#[derive(Debug)]
struct Drawn {
    heading: String,
    severity: Severity,
    help: Option<String>,
    source: Option<NamedSource<String>>,
    labels: Vec<LabeledSpan>,
    related: Vec<Drawn>,
}

impl fmt::Display for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.heading)
    }
}

impl std::error::Error for Drawn {}

impl miette::Diagnostic for Drawn {
    fn severity(&self) -> Option<Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        if self.related.is_empty() {
            return None;
        }
        Some(Box::new(self.related.iter().map(|related| related as &dyn miette::Diagnostic)))
    }
}

fn draw(problem: &Diagnostic, sources: &SourceMap) -> Drawn {
    let severity = match problem.level {
        Level::Error => Severity::Error,
        Level::Warning => Severity::Warning,
        Level::Info => Severity::Advice,
    };
    let own_file = problem.span().map(|span| span.file);
    let mut drawn = Drawn {
        heading: format!("{}[{}]: {}", problem.level.name(), problem.id, problem.message),
        severity,
        help: problem.help.clone(),
        source: own_file.and_then(|file| named(sources, file)),
        labels: vec![],
        related: vec![],
    };
    for (at, label) in problem.labels.iter().enumerate() {
        let spanned = labelled(label.span, &label.text, at == 0);
        if Some(label.span.file) == own_file {
            drawn.labels.push(spanned);
        } else {
            drawn.related.push(Drawn {
                heading: "in another file".to_owned(),
                severity: Severity::Advice,
                help: None,
                source: named(sources, label.span.file),
                labels: vec![spanned],
                related: vec![],
            });
        }
    }
    drawn
}

fn labelled(span: Span, text: &str, primary: bool) -> LabeledSpan {
    let text = (!text.is_empty()).then(|| text.to_owned());
    let (start, length) = (span.start as usize, (span.end - span.start) as usize);
    if primary {
        LabeledSpan::new_primary_with_span(text, (start, length))
    } else {
        LabeledSpan::new_with_span(text, (start, length))
    }
}

fn named(sources: &SourceMap, file: FileId) -> Option<NamedSource<String>> {
    sources.get(file).map(|source| NamedSource::new(&*source.name, source.text.to_string()))
}

/// Notes and the calls that led here, which stand below the help.
fn footer(problem: &Diagnostic, sources: &SourceMap) -> String {
    let notes = problem.notes.iter().map(|note| format!("note: {note}"));
    let fixes = problem.fixes.first().map(|fix| format!("fix ({}): {}", fix.safety.name(), fix.title));
    notes.chain(fixes).chain(chain(&problem.chain, sources)).collect::<Vec<_>>().join("\n")
}

fn chain(frames: &[Frame], sources: &SourceMap) -> Option<String> {
    let (first, rest) = frames.split_first()?;
    let mut text = format!("in `{}`", first.callee);
    for frame in std::iter::once(first).chain(rest) {
        text.push_str(&format!(", called from `{}` at {}", frame.inside, sources.place(frame.call)));
    }
    Some(text)
}

/// Diagnostics as text with source, in colour where that is wanted.
pub fn pretty(problems: &[Diagnostic], sources: &SourceMap, colour: bool) -> String {
    let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let plain = GraphicalReportHandler::new_themed(theme).with_width(110).with_links(false);
    let mut text = String::new();
    for problem in problems {
        let footer = footer(problem, sources);
        let handler = if footer.is_empty() { plain.clone() } else { plain.clone().with_footer(footer) };
        // Writing to a string cannot fail.
        let _ = handler.render_report(&mut text, &draw(problem, sources));
        text.push('\n');
    }
    text
}

/// Whether a stream wants colour: a terminal, unless `NO_COLOR` is set.
pub fn wants_colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

pub fn pretty_to_stderr(problems: &[Diagnostic], sources: &SourceMap) {
    let mut stream = std::io::stderr();
    let text = pretty(problems, sources, wants_colour(&stream));
    let _ = stream.write_all(text.as_bytes());
}

pub fn pretty_to_stdout(problems: &[Diagnostic], sources: &SourceMap) {
    output::print(&pretty(problems, sources, wants_colour(&std::io::stdout())));
}

/// A place in a file for programs: lines and columns from one, offsets in bytes from zero.
#[derive(Debug, Serialize)]
pub struct Place {
    file: String,
    line: usize,
    column: usize,
    start: u32,
    end: u32,
}

impl Place {
    fn of(span: Span, sources: &SourceMap) -> Self {
        let (line, column) = sources.line_column(span);
        let file = sources.get(span.file).map_or_else(String::new, |source| source.name.to_string());
        Place { file, line, column, start: span.start, end: span.end }
    }
}

#[derive(Debug, Serialize)]
struct JsonLabel {
    #[serde(flatten)]
    place: Place,
    text: String,
}

#[derive(Debug, Serialize)]
struct JsonFrame {
    callee: String,
    inside: String,
    call: Place,
}

/// A replacement of text.
#[derive(Debug, Serialize)]
struct JsonEdit {
    #[serde(flatten)]
    place: Place,
    /// What stands there afterwards.
    replacement: String,
}

/// A proposed change.
#[derive(Debug, Serialize)]
struct JsonFix {
    title: String,
    safety: Safety,
    breaks_weights: bool,
    edits: Vec<JsonEdit>,
}

/// A diagnostic for programs. The first label is the primary one.
#[derive(Debug, Serialize)]
pub struct JsonDiagnostic {
    id: String,
    level: Level,
    message: String,
    labels: Vec<JsonLabel>,
    notes: Vec<String>,
    help: Option<String>,
    fixes: Vec<JsonFix>,
    chain: Vec<JsonFrame>,
}

pub fn json(problem: &Diagnostic, sources: &SourceMap) -> JsonDiagnostic {
    let label =
        |label: &archc_compiler::Label| JsonLabel { place: Place::of(label.span, sources), text: label.text.clone() };
    let edit = |edit: &Edit| JsonEdit { place: Place::of(edit.span, sources), replacement: edit.text.clone() };
    let fix = |fix: &Fix| JsonFix {
        title: fix.title.clone(),
        safety: fix.safety,
        breaks_weights: fix.breaks_weights,
        edits: fix.edits.iter().map(edit).collect(),
    };
    let frame = |frame: &Frame| JsonFrame {
        callee: frame.callee.clone(),
        inside: frame.inside.clone(),
        call: Place::of(frame.call, sources),
    };
    JsonDiagnostic {
        id: problem.id.to_string(),
        level: problem.level,
        message: problem.message.clone(),
        labels: problem.labels.iter().map(label).collect(),
        notes: problem.notes.clone(),
        help: problem.help.clone(),
        fixes: problem.fixes.iter().map(fix).collect(),
        chain: problem.chain.iter().map(frame).collect(),
    }
}
