//! Diagnostics to text that snapshots and suites keep.

use archc_compiler::Diagnostic;
use archc_compiler::source::SourceMap;
use std::fmt::Write;

/// Diagnostics as text: the lines they point at, underlined, and what is said of them.
pub fn report(diagnostics: &[Diagnostic], sources: &SourceMap) -> String {
    let mut text = String::new();
    for problem in diagnostics {
        let _ = writeln!(text, "{}[{}]: {}", problem.level.name(), problem.id, problem.message);
        for label in &problem.labels {
            let (line, column) = sources.line_column(label.span);
            let source = sources.get(label.span.file).map_or("", |source| &*source.text);
            let shown = source.lines().nth(line - 1).unwrap_or("");
            let length = sources.text(label.span).lines().next().unwrap_or("").chars().count().max(1);
            let _ = writeln!(text, "  {}", sources.place(label.span));
            let _ = writeln!(text, "    {shown}");
            let _ = writeln!(text, "    {}{} {}", " ".repeat(column - 1), "^".repeat(length), label.text);
        }
        for note in &problem.notes {
            let _ = writeln!(text, "  note: {note}");
        }
        if let Some(help) = &problem.help {
            let _ = writeln!(text, "  help: {help}");
        }
        for frame in &problem.chain {
            let _ = writeln!(
                text,
                "  in `{}`, called from `{}` at {}",
                frame.callee,
                frame.inside,
                sources.place(frame.call)
            );
        }
        text.push('\n');
    }
    text
}
