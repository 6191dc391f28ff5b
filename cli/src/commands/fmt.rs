//! `archc fmt`

use crate::args::Fmt;
use crate::files;
use crate::{Outcome, output, render};
use archc_compiler::CompileError;
use archc_compiler::source::{Files, SourceMap, Sources};
use archc_grammar::format;

pub fn run(options: &Fmt) -> Result<Outcome, String> {
    let (specs, problems) = files::specs(&options.paths);
    let mut outcome = Outcome::Clean;
    for message in &problems {
        output::error(message);
        outcome = Outcome::Failure;
    }
    for path in specs {
        let name = files::name(&path);
        let text = match Files::default().read(&name) {
            Ok(text) => text,
            Err(error) => {
                output::error(&format!("{name}: {}", CompileError::Source(error)));
                outcome = Outcome::Failure;
                continue;
            }
        };
        let mut sources = SourceMap::default();
        let file = sources.add(&name, &text);
        match format(&text, file) {
            Ok(formatted) if formatted == text => {}
            Ok(_) if options.check => {
                output::line(format!("{name} is not formatted"));
                outcome = worse(outcome, Outcome::Findings);
            }
            Ok(formatted) => {
                if let Err(message) = files::replace(&path, &formatted) {
                    output::error(&message);
                    outcome = Outcome::Failure;
                } else {
                    output::line(format!("formatted {name}"));
                }
            }
            Err(problems) => {
                render::pretty_to_stderr(&problems, &sources);
                outcome = worse(outcome, Outcome::Findings);
            }
        }
    }
    Ok(outcome)
}

fn worse(a: Outcome, b: Outcome) -> Outcome {
    if a == Outcome::Failure { a } else { b }
}
