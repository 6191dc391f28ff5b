//! A case to its failures: what was expected and not reported, and what was reported and not expected.

use crate::case::{Case, MAIN};
use crate::expectation::{Expectation, Line, expectations};
use archc_compiler::lint::{Levels, rules};
use archc_compiler::settings::Settings;
use archc_compiler::source::{SourceError, SourceMap, Sources};
use archc_compiler::{Diagnostic, Options, check, compile};

/// The sources of a case, in memory.
impl Sources for Case {
    fn read(&self, name: &str) -> Result<String, SourceError> {
        let found = self.files.iter().find(|file| file.name == name);
        found.map(|file| file.text.clone()).ok_or(SourceError::NotFound)
    }
}

/// Diagnostics of a case with the sources they point into; the error is a sentence.
pub fn diagnostics(case: &Case) -> Result<(Vec<Diagnostic>, SourceMap), String> {
    // Remarks are shown where they are what is tested.
    let rule = rules().iter().find(|rule| case.suite.contains(rule.id));
    diagnostics_with(case, Levels(rule.map(|rule| (rule.id.to_owned(), Some(rule.level))).into_iter().collect()))
}

/// The same with other levels.
pub fn diagnostics_with(case: &Case, levels: Levels) -> Result<(Vec<Diagnostic>, SourceMap), String> {
    let given = Settings { levels, dtype: case.dtype, ..Settings::default() };
    let options = Options { budget: case.budget, given };
    match &case.target {
        None => check(MAIN, &case.settings, case, &options)
            .map(|checked| (checked.diagnostics, checked.program.sources))
            .map_err(|error| format!("it cannot be checked: {error:?}")),
        Some(target) => compile(MAIN, Some(target), &case.settings, case, &options)
            .map(|compiled| (compiled.diagnostics, compiled.program.sources))
            .map_err(|error| error.to_string()),
    }
}

/// What is wrong with a case; empty if nothing is.
pub fn failures(case: &Case) -> Vec<String> {
    let mut failures = case.mistakes.clone();
    let (diagnostics, sources) = match diagnostics(case) {
        Ok(found) => found,
        Err(message) => {
            failures.push(message);
            return failures;
        }
    };
    let reported: Vec<Reported<'_>> = diagnostics.iter().map(|problem| Reported::new(problem, &sources)).collect();
    for file in &case.files {
        let lines = expectations(&file.text);
        for (at, line) in lines.iter().enumerate() {
            let place = Place { file: &file.name, line: at + 1 };
            let shown = (file.line + at).saturating_sub(file.offset);
            let text = file.text.lines().nth(at).unwrap_or("").trim();
            let found = compare(line, place, &reported);
            failures.extend(found.into_iter().map(|failure| format!("line {shown}: {failure}\n        {text}")));
        }
    }
    let known = |place: Place<'_>| {
        let file = case.files.iter().find(|file| file.name == place.file);
        file.is_some_and(|file| place.line <= file.text.lines().count())
    };
    let elsewhere = reported.iter().filter(|own| !own.place.is_some_and(known));
    failures.extend(elsewhere.map(|own| format!("not in a file of this case: {}", own.describe())));
    failures
}

/// All failures of a suite as one text, for the message of a test.
pub fn report(case: &Case, failures: &[String]) -> String {
    let mut text = format!("{}:{} ({})\n", case.suite, case.line(), case.heading);
    for failure in failures {
        text.push_str("    ");
        text.push_str(failure);
        text.push('\n');
    }
    text
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place<'a> {
    file: &'a str,
    /// Counted from one.
    line: usize,
}

struct Reported<'a> {
    problem: &'a Diagnostic,
    place: Option<Place<'a>>,
    labels: Vec<(Place<'a>, &'a str)>,
}

impl<'a> Reported<'a> {
    fn new(problem: &'a Diagnostic, sources: &'a SourceMap) -> Self {
        let place = |span| {
            let (line, _) = sources.line_column(span);
            Place { file: sources.get(span.file).map_or("?", |source| &source.name), line }
        };
        let labels = problem.labels.iter().map(|label| (place(label.span), label.text.as_str())).collect();
        Reported { problem, place: problem.span().map(place), labels }
    }

    fn fits(&self, expected: &Expectation) -> bool {
        let notes = |part: &String| self.problem.notes.iter().any(|note| note.contains(part.as_str()));
        self.problem.id == expected.id
            && self.problem.level == expected.level
            && self.problem.message.contains(&expected.message)
            && expected.help.iter().all(|part| self.problem.help.as_ref().is_some_and(|help| help.contains(part)))
            && expected.notes.iter().all(notes)
    }

    fn describe(&self) -> String {
        let problem = self.problem;
        let mut text = format!("{}: [{}] {}", problem.level.name(), problem.id, problem.message);
        for label in &problem.labels {
            text.push_str(&format!(" // label: {}", label.text));
        }
        for note in &problem.notes {
            text.push_str(&format!(" // note: {note}"));
        }
        if let Some(help) = &problem.help {
            text.push_str(&format!(" // help: {help}"));
        }
        text
    }
}

fn describe(expected: &Expectation) -> String {
    let mut text = format!("{}: [{}] {}", expected.level.name(), expected.id, expected.message);
    for note in &expected.notes {
        text.push_str(&format!(" // note: {note}"));
    }
    for help in &expected.help {
        text.push_str(&format!(" // help: {help}"));
    }
    text
}

/// Failures of one line.
fn compare(line: &Line, place: Place<'_>, reported: &[Reported<'_>]) -> Vec<String> {
    let mut failures = line.mistakes.clone();
    let mut open: Vec<&Reported<'_>> = reported.iter().filter(|own| own.place == Some(place)).collect();
    for expected in &line.diagnostics {
        match open.iter().position(|own| own.fits(expected)) {
            Some(at) => {
                open.remove(at);
            }
            None => failures.push(format!("expected {}", describe(expected))),
        }
    }
    failures.extend(open.iter().map(|own| format!("got      {}", own.describe())));
    let labels: Vec<&str> =
        reported.iter().flat_map(|own| &own.labels).filter(|(own, _)| *own == place).map(|(_, text)| *text).collect();
    for expected in &line.labels {
        if !labels.iter().any(|own| own.contains(expected.as_str())) {
            failures.push(format!("expected a label `{expected}`, got {labels:?}"));
        }
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::failures;
    use crate::case::{Case, cases};
    use crate::markdown::arch_blocks;

    fn first(block: &str) -> Option<Case> {
        cases("suite", arch_blocks(block)).into_iter().next()
    }

    #[test]
    fn every_diagnostic_has_to_be_expected_and_every_expectation_met() {
        let silent = first("```arch model=\"x: vector[4]\"\nx -> linear(2)\n```\n").expect("a case");
        assert_eq!(failures(&silent), Vec::<String>::new());
        let unexpected = first("```arch model=\"x: vector[4]\"\nx -> linaer(2)\n```\n").expect("a case");
        assert_eq!(failures(&unexpected).len(), 1, "the unknown name is not expected");
        let unmet = "```arch model=\"x: vector[4]\"\nx -> linear(2) // error: [a/b] // label: c\n```\n";
        assert_eq!(failures(&first(unmet).expect("a case")).len(), 2, "neither is reported");
        let met =
            "```arch model=\"x: vector[4]\"\nx -> linaer(2) // error: [name/unknown] `linaer` // help: `linear`\n```\n";
        assert_eq!(failures(&first(met).expect("a case")), Vec::<String>::new());
    }
}
