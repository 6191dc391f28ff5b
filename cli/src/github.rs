//! Findings as commands of GitHub's workflows, which become annotations of a change.

use archc_compiler::source::SourceMap;
use archc_compiler::{Diagnostic, Level};

/// `::error file=..,line=..,col=..,endLine=..,endColumn=..,title=..::message`
pub fn annotation(problem: &Diagnostic, sources: &SourceMap) -> String {
    let command = match problem.level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Info => "notice",
    };
    let mut properties = vec![];
    if let Some((span, source)) = problem.span().and_then(|span| Some((span, sources.get(span.file)?)))
        && !sources.is_library(span.file)
    {
        let ((line, column), (end_line, end_column)) = (sources.line_column(span), sources.line_column(span.after()));
        properties.push(format!("file={}", property(&source.name)));
        properties.push(format!("line={line},col={column},endLine={end_line},endColumn={end_column}"));
    }
    properties.push(format!("title={}", property(&problem.id)));
    let place = |span| sources.place(span);
    let labels = problem.labels.iter().enumerate().map(|(at, label)| match at {
        0 => label.text.clone(),
        _ => format!("{}: {}", place(label.span), label.text),
    });
    let notes = problem.notes.iter().map(|note| format!("note: {note}"));
    let help = problem.help.iter().map(|help| format!("help: {help}"));
    let calls = problem
        .chain
        .iter()
        .map(|frame| format!("`{}` is called from `{}` at {}", frame.callee, frame.inside, place(frame.call)));
    let message = std::iter::once(problem.message.clone()).chain(labels.filter(|text| !text.is_empty()));
    let message: Vec<String> = message.chain(help).chain(notes).chain(calls).collect();
    format!("::{command} {}::{}", properties.join(","), data(&message.join("\n")))
}

/// What could not be checked.
pub fn failure(message: &str) -> String {
    format!("::error ::{}", data(message))
}

/// A line break would end the command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A comma would start the next property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
