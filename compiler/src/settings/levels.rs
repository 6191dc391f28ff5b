//! Levels by pattern: `group/name`, `group/*`, `*`.

use crate::lint::{Levels, RuleInfo, rules};
use archc_grammar::Level;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// What becomes of the findings of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Setting {
    Allow,
    Warn,
    Deny,
}

impl Setting {
    /// The level of findings; none where there are to be none.
    pub fn level(self) -> Option<Level> {
        match self {
            Setting::Allow => None,
            Setting::Warn => Some(Level::Warning),
            Setting::Deny => Some(Level::Error),
        }
    }
}

/// Everything that names rules, with what it names.
pub fn patterns() -> Vec<(String, String)> {
    let groups: BTreeSet<&str> = rules().iter().filter_map(|rule| rule.id.split('/').next()).collect();
    let all = std::iter::once(("*".to_owned(), "All rules that nothing else names.".to_owned()));
    let groups = groups.into_iter().map(|group| (format!("{group}/*"), format!("All other rules of `{group}`.")));
    all.chain(groups).chain(rules().iter().map(|rule| (rule.id.to_owned(), rule.summary()))).collect()
}

/// The rules that a pattern names; none if it names nothing. Whoever names many does not mean their remarks, which only
/// run where they are asked for.
fn rules_of(pattern: &str, setting: Setting) -> Vec<&'static RuleInfo> {
    let is_named = |rule: &&RuleInfo| match pattern.strip_suffix('*') {
        Some(group) if group.is_empty() || group.ends_with('/') => {
            rule.id.starts_with(group) && (setting == Setting::Allow || rule.level != Level::Info)
        }
        _ => rule.id == pattern,
    };
    rules().iter().filter(is_named).collect()
}

impl Levels {
    /// Sets the level of all rules of a pattern, over what was set before.
    pub fn set(&mut self, pattern: &str, setting: Setting) {
        for rule in rules_of(pattern, setting) {
            self.0.insert(rule.id.to_owned(), setting.level());
        }
    }
}

/// Levels in which the nearest pattern counts: that of the rule before that of its group before that of all.
pub(super) fn resolve(given: &BTreeMap<String, Setting>) -> Levels {
    let mut levels = Levels::default();
    let mut given: Vec<(&String, &Setting)> = given.iter().collect();
    given.sort_by_key(|(pattern, _)| match pattern.strip_suffix('*') {
        Some(group) => usize::from(!group.is_empty()),
        None => 2,
    });
    for (pattern, setting) in given {
        levels.set(pattern, *setting);
    }
    levels
}
