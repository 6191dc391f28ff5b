//! `archc check`

use super::fix;
use crate::args::{Check, CheckFormat};
use crate::files;
use crate::render::{self, JsonDiagnostic};
use crate::{Outcome, github, output, sarif, target};
use archc_compiler::elaborate::Settings;
use archc_compiler::program::Program;
use archc_compiler::settings::{Setting, patterns};
use archc_compiler::source::Files;
use archc_compiler::suggest::did_you_mean;
use archc_compiler::{CompileError, Diagnostic, Level, Options, check, compile, compile_pipeline};
use serde::Serialize;
use std::path::Path;

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

/// What the command line and archc.yaml declare for the specs of a check.
pub struct Declarations<'a> {
    options: &'a Check,
    denies_warnings: bool,
}

impl<'a> Declarations<'a> {
    fn of(options: &'a Check) -> Result<Self, String> {
        let mut denies_warnings = false;
        for (setting, pattern) in &options.levels.0 {
            if (*setting, pattern.as_str()) == (Setting::Deny, "warnings") {
                denies_warnings = true;
            } else if !patterns().iter().any(|(known, _)| known == pattern) {
                let help = did_you_mean(pattern, patterns().iter().map(|(known, _)| known.as_str()));
                let help = help.map_or(String::new(), |help| format!("; {help}"));
                return Err(format!("there is no rule `{pattern}`{help}"));
            }
        }
        Ok(Self { options, denies_warnings })
    }

    /// Options of the compiler for a spec.
    pub fn of_spec(&self, spec: &Path) -> Result<Options, String> {
        let mut own = target::options(&self.options.settings, spec)?;
        for (setting, pattern) in &self.options.levels.0 {
            own.given.levels.set(pattern, *setting);
        }
        if let Some(format) = self.options.dtype {
            own.given.dtype = Some(format.into());
        }
        if self.options.remarks {
            own.given.levels = own.given.levels.with_remarks();
        }
        Ok(own)
    }
}

pub fn run(options: &Check) -> Result<Outcome, String> {
    let settings = target::settings(&options.settings)?;
    let (specs, problems) = files::specs(&options.paths);
    let mut report = Report { version: 1, unreadable: problems, ..Report::default() };
    let mut log = sarif::Log::default();
    let declared = Declarations::of(options)?;
    if options.unsafe_fixes && !options.fix && !options.diff {
        return Err("`--unsafe-fixes` goes with `--fix` or `--diff`".to_owned());
    }
    if options.fix || options.diff {
        if let Some(path) = specs.iter().find(|path| one_model(path).is_some()) {
            return Err(format!("{}: fixes are made in whole files, name the file alone", path.display()));
        }
        report.unreadable.extend(fix::run(options, &specs, &declared)?);
    }
    for path in specs {
        let checked = match one_model(&path) {
            Some((file, name)) => {
                let options = declared.of_spec(Path::new(&file))?;
                one(&files::name(Path::new(&file)), &name, &settings, &options)
            }
            None => check(&files::name(&path), &settings, &Files::default(), &declared.of_spec(&path)?)
                .map(|checked| (checked.program, checked.diagnostics))
                .map_err(CompileError::Source),
        };
        let (program, diagnostics) = match checked {
            Ok(checked) => checked,
            Err(error) => {
                report.unreadable.push(format!("{}: {error}", path.display()));
                continue;
            }
        };
        report.files += 1;
        let sources = &program.sources;
        let of = |level| diagnostics.iter().filter(|problem| problem.level == level).count();
        report.errors += of(Level::Error);
        report.warnings += of(Level::Warning);
        match options.format {
            CheckFormat::Pretty => render::pretty_to_stdout(&diagnostics, sources),
            CheckFormat::Json => {
                report.diagnostics.extend(diagnostics.iter().map(|problem| render::json(problem, sources)));
            }
            CheckFormat::Sarif => log.add(&diagnostics, sources),
            CheckFormat::Github => {
                diagnostics.iter().for_each(|problem| output::line(github::annotation(problem, sources)));
            }
        }
    }
    match options.format {
        CheckFormat::Json => {
            output::line(serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?);
        }
        CheckFormat::Sarif => {
            let document = log.document(&report.unreadable);
            output::line(serde_json::to_string_pretty(&document).map_err(|error| error.to_string())?);
        }
        CheckFormat::Github => report.unreadable.iter().for_each(|message| output::line(github::failure(message))),
        CheckFormat::Pretty => {
            report.unreadable.iter().for_each(|message| output::error(message));
            output::line(summary(&report));
        }
    }
    let fails = report.errors > 0 || declared.denies_warnings && report.warnings > 0;
    Ok(match (report.unreadable.is_empty(), fails) {
        (false, _) => Outcome::Failure,
        (true, true) => Outcome::Findings,
        (true, false) => Outcome::Clean,
    })
}

/// Checks one model, preset or pipeline of a file.
fn one(
    file: &str,
    name: &str,
    settings: &Settings,
    options: &Options,
) -> Result<(Program, Vec<Diagnostic>), CompileError> {
    let sources = Files::default();
    if let Some(found) = compile_pipeline(file, Some(name), settings, &sources, options)? {
        return Ok((found.program, found.diagnostics));
    }
    let compiled = compile(file, Some(name), settings, &sources, options)?;
    Ok((compiled.program, compiled.diagnostics))
}

/// File and name of `FILE#name`, which checks one model, preset or pipeline of a file.
fn one_model(path: &Path) -> Option<(String, String)> {
    let text = path.to_string_lossy();
    match target::split(&text) {
        (file, Some(name)) if !path.exists() => Some((file.to_owned(), name.to_owned())),
        _ => None,
    }
}

fn summary(report: &Report) -> String {
    let many = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let files = many(report.files, "file");
    match (report.errors, report.warnings) {
        (0, 0) => format!("{files} checked, nothing to report"),
        (errors, warnings) => format!("{files} checked: {}, {}", many(errors, "error"), many(warnings, "warning")),
    }
}
