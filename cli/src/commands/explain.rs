//! `archc explain`

use crate::args::Explain;
use crate::{Outcome, output};
use archc_compiler::lint;
use archc_compiler::suggest::did_you_mean;

pub fn run(options: &Explain) -> Result<Outcome, String> {
    let Some(id) = &options.rule else {
        let rows: Vec<Vec<String>> = lint::rules()
            .iter()
            .map(|rule| vec![rule.id.to_owned(), rule.level.name().to_owned(), rule.summary()])
            .collect();
        output::print(&output::table(&["rule", "level", "what it does"], &rows, &[]));
        return Ok(Outcome::Clean);
    };
    let Some(rule) = lint::rule(id) else {
        let hint = did_you_mean(id, lint::rules().iter().map(|rule| rule.id)).unwrap_or_default();
        return Err(format!("there is no rule `{id}`; {hint}").trim_end_matches("; ").to_owned());
    };
    output::print(&rule.page());
    Ok(Outcome::Clean)
}
