//! `archc check`

use super::fix;
use crate::args::{Check, Deny, ReportFormat};
use crate::files;
use crate::render::{self, JsonDiagnostic};
use crate::{Outcome, output, target};
use archc_compiler::source::Files;
use archc_compiler::{CompileError, Level, check};
use serde::Serialize;

#[derive(Debug, Default, Serialize)]
struct Report {
    version: u32,
    files: usize,
    errors: usize,
    warnings: usize,
    diagnostics: Vec<JsonDiagnostic>,
    /// Files that could not be read.
    unreadable: Vec<String>,
}

pub fn run(options: &Check) -> Result<Outcome, String> {
    let settings = target::settings(&options.settings)?;
    let (specs, problems) = files::specs(&options.paths);
    let mut report = Report { version: 1, unreadable: problems, ..Report::default() };
    let mut compiled = target::options(&options.settings);
    if options.remarks {
        compiled.levels = compiled.levels.with_remarks();
    }
    if options.unsafe_fixes && !options.fix && !options.diff {
        return Err("`--unsafe-fixes` goes with `--fix` or `--diff`".to_owned());
    }
    if options.fix || options.diff {
        report.unreadable.extend(fix::run(options, &specs)?);
    }
    for path in specs {
        let checked = match check(&files::name(&path), &settings, &Files::default(), &compiled) {
            Ok(checked) => checked,
            Err(error) => {
                report.unreadable.push(format!("{}: {}", path.display(), CompileError::Source(error)));
                continue;
            }
        };
        report.files += 1;
        let sources = &checked.program.sources;
        let of = |level| checked.diagnostics.iter().filter(|problem| problem.level == level).count();
        report.errors += of(Level::Error);
        report.warnings += of(Level::Warning);
        match options.format {
            ReportFormat::Pretty => render::pretty_to_stdout(&checked.diagnostics, sources),
            ReportFormat::Json => {
                report.diagnostics.extend(checked.diagnostics.iter().map(|problem| render::json(problem, sources)));
            }
        }
    }
    match options.format {
        ReportFormat::Json => {
            output::line(serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?);
        }
        ReportFormat::Pretty => {
            report.unreadable.iter().for_each(|message| output::error(message));
            output::line(summary(&report));
        }
    }
    let fails = report.errors > 0 || options.deny == Some(Deny::Warnings) && report.warnings > 0;
    Ok(match (report.unreadable.is_empty(), fails) {
        (false, _) => Outcome::Failure,
        (true, true) => Outcome::Findings,
        (true, false) => Outcome::Clean,
    })
}

fn summary(report: &Report) -> String {
    let many = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let files = many(report.files, "file");
    match (report.errors, report.warnings) {
        (0, 0) => format!("{files} checked, nothing to report"),
        (errors, warnings) => format!("{files} checked: {}, {}", many(errors, "error"), many(warnings, "warning")),
    }
}
