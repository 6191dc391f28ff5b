//! `archc explain`

use crate::args::Explain;
use crate::{Outcome, output};
use archc_compiler::lint;
use archc_compiler::suggest::did_you_mean;

pub fn run(options: &Explain) -> Result<Outcome, String> {
    let Some(id) = &options.rule else {
        let summary = |doc: &str| {
            let after = doc.split("What it does").nth(1).unwrap_or(doc);
            let paragraph = after.trim().split("\n\n").next().unwrap_or("");
            paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let rows: Vec<Vec<String>> = lint::rules()
            .iter()
            .map(|rule| vec![rule.id.to_owned(), rule.level.name().to_owned(), summary(rule.doc)])
            .collect();
        output::print(&output::table(&["rule", "level", "what it does"], &rows, &[]));
        return Ok(Outcome::Clean);
    };
    let Some(rule) = lint::rule(id) else {
        let hint = did_you_mean(id, lint::rules().iter().map(|rule| rule.id)).unwrap_or_default();
        return Err(format!("there is no rule `{id}`; {hint}").trim_end_matches("; ").to_owned());
    };
    output::line(format!("# {} ({})\n", rule.id, rule.level.name()));
    let page: Vec<&str> = rule.doc.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    output::line(page.join("\n").trim());
    Ok(Outcome::Clean)
}
