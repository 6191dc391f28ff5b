//! Which rules of the grammar a source exercises: by this the tests know that the language reference shows all of them.

use super::{ArchParser, Rule};
use pest::Parser;
use std::collections::BTreeSet;

/// Names of all rules of the grammar.
pub fn grammar_rules() -> BTreeSet<String> {
    Rule::all_rules().iter().map(|rule| format!("{rule:?}")).collect()
}

/// Names of the rules by which a source is read; none if it cannot be read at all.
pub fn rules_of(source: &str) -> BTreeSet<String> {
    let pairs = ArchParser::parse(Rule::file, source);
    pairs
        .into_iter()
        .flatten()
        .flat_map(|root| root.into_inner().flatten())
        .map(|pair| format!("{:?}", pair.as_rule()))
        .collect()
}
