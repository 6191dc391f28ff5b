//! Edits of published specs that somebody made without knowing what archc says: `tests/corpus/edits.yaml`.

use crate::corpus;
use crate::evidence::Verdict;
use crate::parallel;
use archc_compiler::lint::{self, Levels};
use archc_compiler::settings::Settings;
use archc_compiler::{Level, Options, compile};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// A published network that is edited.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edited {
    /// What is wrong with it now, or why it is right.
    pub why: String,
    /// A file of `specs`, and a model or preset of it.
    pub spec: String,
    pub model: String,
    pub edits: Vec<Edit>,
    /// What ought to be found that is not found in the published network.
    #[serde(default)]
    pub expected: BTreeSet<String>,
    /// What it resembles.
    #[serde(default)]
    pub silent: BTreeSet<String>,
}

/// A text, which stands once in a file, and what is written instead.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    pub file: String,
    pub old: String,
    pub new: String,
}

/// All edits; the error says what cannot be read.
pub fn all() -> Result<Vec<Edited>, String> {
    let file = "tests/corpus/edits.yaml";
    serde_yaml::from_str(&corpus::read(file)).map_err(|error| format!("{file}: {error}"))
}

/// What archc says of them; the error says which edit does not fit its spec any more.
pub fn verdicts() -> Result<Vec<Verdict>, String> {
    parallel::map(&all()?, verdict).into_iter().collect()
}

fn verdict(own: &Edited) -> Result<Verdict, String> {
    let read = |file: &str| corpus::read(&format!("specs/{file}"));
    let mut files = BTreeMap::from([(own.spec.clone(), read(&own.spec))]);
    let published = found(own, &files)?;
    for edit in &own.edits {
        let text = files.entry(edit.file.clone()).or_insert_with(|| read(&edit.file));
        if text.matches(&edit.old).count() != 1 {
            return Err(format!("{}: `{}` stands not once in {}", own.why, edit.old, edit.file));
        }
        *text = text.replace(&edit.old, &edit.new);
    }
    let mut found = found(own, &files)?;
    // What is said of the published network is no news, and remarks count where they are expected.
    let is_warning = |rule: &String| lint::rule(rule).is_none_or(|rule| rule.level != Level::Info);
    found.retain(|rule| !published.contains(rule) && (is_warning(rule) || own.expected.contains(rule)));
    let title = format!("{}#{}: {}", own.spec, own.model, own.why);
    Ok(Verdict { title, expected: own.expected.clone(), silent: own.silent.clone(), found })
}

fn found(own: &Edited, files: &BTreeMap<String, String>) -> Result<BTreeSet<String>, String> {
    let sources: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let given = Settings { levels: Levels::default().with_remarks(), ..Settings::default() };
    let options = Options { given, ..Options::default() };
    let compiled = compile(&own.spec, Some(&own.model), &[], sources.as_slice(), &options)
        .map_err(|error| format!("{}: {error}", own.why))?;
    if compiled.graph.is_none() {
        let problems = compiled.diagnostics.iter().map(|problem| problem.message.as_str());
        return Err(format!("{}: {}", own.why, problems.collect::<Vec<_>>().join("; ")));
    }
    let rules = compiled.diagnostics.iter().filter(|problem| lint::is_rule(&problem.id));
    Ok(rules.map(|problem| problem.id.to_string()).collect())
}
