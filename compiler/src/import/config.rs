//! A configuration, checked against the table of its class.

use super::json::Entry;
use super::key::{Class, INERT, Key, Role};
use super::levels::Depth;
use super::preset::Preset;
use crate::suggest::did_you_mean;
use archc_grammar::{Diagnostic, Span};
use serde_json::Value;
use std::collections::BTreeMap;

/// The values of a configuration, given or by default, and what is wrong with them.
pub(super) struct Config<'e> {
    pub class: &'static Class,
    entries: &'e [Entry],
    /// Where the class is named.
    place: Span,
    /// Of all keys of the class but those with a value of the wrong kind.
    values: BTreeMap<&'static str, Value>,
    pub problems: Vec<Diagnostic>,
}

impl<'e> Config<'e> {
    /// Checks keys and kinds of values, and fills in defaults.
    pub fn read(class: &'static Class, entries: &'e [Entry], place: Span) -> Self {
        let mut config = Self { class, entries, place, values: BTreeMap::new(), problems: vec![] };
        config.names();
        for key in class.keys {
            config.value(key);
        }
        config
    }

    /// Keys that nobody knows, and keys that stand there twice.
    fn names(&mut self) {
        let known = || self.class.keys.iter().map(|key| key.name);
        let mut problems = vec![];
        for (at, entry) in self.entries.iter().enumerate() {
            let name = entry.key.as_str();
            if let Some(first) = self.entries.iter().take(at).find(|other| other.key == name) {
                let problem = Diagnostic::error("config/duplicate-key", format!("`{name}` is given twice"))
                    .label(entry.key_span, "again here")
                    .label(first.key_span, "first here");
                problems.push(problem);
                continue;
            }
            if known().any(|own| own == name) || INERT.contains(&name) || self.class.inert.contains(&name) {
                continue;
            }
            let message = format!("`{}` has no key `{name}`", self.class.name);
            let mut problem = Diagnostic::error("config/unknown-key", message).label(entry.key_span, "not known");
            problem.help = did_you_mean(name, known());
            problems.push(problem);
        }
        self.problems.append(&mut problems);
    }

    fn value(&mut self, key: &Key) {
        let given = self.entry(key.name).map(|entry| (entry.value.clone(), entry.value_span));
        let value = given.as_ref().map_or_else(|| key.default_value(), |(value, _)| value.clone());
        let fits = if value.is_null() { key.may_be_null } else { key.kind.fits(&value) };
        let Some(span) = given.map(|(_, span)| span).filter(|_| !fits) else {
            self.only(key, &value);
            self.values.insert(key.name, value);
            return;
        };
        let message = format!("`{}` is {}, found {}", key.name, key.kind.expected(), shown(&value));
        self.problems.push(Diagnostic::error("config/value", message).label(span, "not that"));
    }

    /// Values that the family does not have.
    fn only(&mut self, key: &Key, value: &Value) {
        let Role::Only(values) = key.role else { return };
        let known: Vec<Value> = values.iter().filter_map(|value| serde_json::from_str(value).ok()).collect();
        if known.iter().any(|known| is_same(known, value)) {
            return;
        }
        let list: Vec<String> = known.iter().map(shown).collect();
        let family = self.class.family.0;
        let message = format!("`{}` is {}, which `std.models.{family}` does not have", key.name, shown(value));
        let help = format!("it has {}", list.join(" and "));
        self.unsupported(message, &[key.name], help);
    }

    /// Hyperparameters that are a key.
    pub fn hyperparameters(&self, preset: &mut Preset) {
        for key in self.class.keys {
            let Role::Is(name) = key.role else { continue };
            match self.values.get(key.name) {
                None | Some(Value::Null) => {}
                Some(value) => preset.set(name, text(value)),
            }
        }
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// A text of the file that is no key of the class.
    pub fn remark(&self, key: &str) -> Option<&str> {
        self.entry(key).and_then(|entry| entry.value.as_str())
    }

    pub fn is_given(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// Whether the value is `null`, and may be.
    pub fn is_null(&self, key: &str) -> bool {
        self.get(key).is_some_and(Value::is_null)
    }

    /// A whole number; none where it is `null` or wrong, which has been reported.
    pub fn size(&self, key: &str) -> Option<u64> {
        self.get(key)?.as_u64()
    }

    pub fn number(&self, key: &str) -> Option<f64> {
        self.get(key)?.as_f64()
    }

    pub fn flag(&self, key: &str) -> Option<bool> {
        self.get(key)?.as_bool()
    }

    /// Whether a flag, or any of a list of them, is set.
    pub fn any_flag(&self, key: &str) -> bool {
        let is_true = |value: &Value| value.as_bool() == Some(true);
        self.get(key).is_some_and(|value| is_true(value) || value.as_array().is_some_and(|own| own.iter().any(is_true)))
    }

    pub fn flags(&self, key: &str) -> Option<Vec<bool>> {
        let items = self.get(key)?.as_array()?;
        Some(items.iter().filter_map(Value::as_bool).collect())
    }

    pub fn word(&self, key: &str) -> Option<String> {
        self.get(key)?.as_str().map(str::to_owned)
    }

    pub fn words(&self, key: &str) -> Option<Vec<String>> {
        let items = self.get(key)?.as_array()?;
        Some(items.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    pub fn sizes(&self, key: &str) -> Option<Vec<u64>> {
        let items = self.get(key)?.as_array()?;
        Some(items.iter().filter_map(Value::as_u64).collect())
    }

    /// One value for each level: a list as long as there are levels, or the same for all.
    pub fn per_level(&mut self, key: &'static str, levels: usize) -> Option<Vec<u64>> {
        match self.sizes(key) {
            Some(list) => {
                self.has_length(key, list.len(), levels);
                (list.len() == levels).then_some(list)
            }
            None => self.size(key).map(|size| vec![size; levels]),
        }
    }

    /// Numbers of transformers, one or several for each level.
    pub fn depths(&mut self, key: &'static str, levels: usize) -> Option<Vec<Depth>> {
        if self.sizes(key).is_none() || self.get(key)?.as_array()?.iter().all(Value::is_u64) {
            return Some(self.per_level(key, levels)?.into_iter().map(Depth::All).collect());
        }
        let depth = |value: &Value| match value.as_array() {
            Some(items) => Depth::Each(items.iter().filter_map(Value::as_u64).collect()),
            None => Depth::All(value.as_u64().unwrap_or(1)),
        };
        let depths: Vec<Depth> = self.get(key)?.as_array()?.iter().map(depth).collect();
        self.has_length(key, depths.len(), levels);
        (depths.len() == levels).then_some(depths)
    }

    /// A value that upstream may differ from level to level, and here only where it is not used.
    pub fn same_where(&mut self, key: &'static str, levels: usize, used: Option<&[bool]>) -> Option<u64> {
        let list = self.per_level(key, levels)?;
        let is_used = |at: usize| used.and_then(|used| used.get(at).copied()).unwrap_or(true);
        let own: Vec<u64> = list.iter().enumerate().filter(|(at, _)| is_used(*at)).map(|(_, own)| *own).collect();
        let first = own.first().or(list.first()).copied();
        if own.iter().any(|own| Some(*own) != first) {
            let help = format!("`std.models.{}` has one for all levels", self.class.family.0);
            self.unsupported(format!("`{key}` differs from level to level"), &[key], help);
        }
        first
    }

    /// Reports a list that is not as long as there are levels.
    pub fn has_length(&mut self, key: &'static str, length: usize, levels: usize) {
        if length == levels {
            return;
        }
        let many = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let message =
            format!("`{key}` has {} for {}", many(length, "entry").replace("entrys", "entries"), many(levels, "level"));
        self.report("config/length", message, &[key, "block_out_channels"], None);
    }

    /// Reports keys that cannot both be.
    pub fn contradiction(&mut self, message: String, keys: &[&'static str], help: impl Into<Option<String>>) {
        self.report("config/contradiction", message, keys, help.into());
    }

    /// Reports what the family cannot do.
    pub fn unsupported(&mut self, message: String, keys: &[&'static str], help: impl Into<Option<String>>) {
        self.report("config/unsupported", message, keys, help.into());
    }

    fn report(&mut self, id: &'static str, message: String, keys: &[&'static str], help: Option<String>) {
        let mut problem = Diagnostic::error(id, message);
        problem.help = help;
        for name in keys {
            match self.entry(name) {
                Some(entry) => {
                    let span = entry.key_span.to(entry.value_span);
                    let label = if problem.labels.is_empty() { "here" } else { "and this" };
                    problem = problem.label(span, label);
                }
                None => {
                    let default =
                        self.class.keys.iter().find(|key| key.name == *name).map_or("null", |key| key.default);
                    problem = problem.note(format!("`{name}` is not given, which means {default}"));
                }
            }
        }
        if problem.labels.is_empty() {
            problem = problem.label(self.place, "of this class");
        }
        self.problems.push(problem);
    }
}

/// Numbers are the same whether they are written with a point or not.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// A value as it stands in a message.
pub(super) fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}..", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

/// A value in the language.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Number(number) => {
            number.as_u64().map_or_else(|| number_text(number.as_f64().unwrap_or(0.0)), |n| n.to_string())
        }
        Value::Array(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(", ")),
        value => value.to_string(),
    }
}

/// The shortest text of a number that is that number.
pub(super) fn number_text(number: f64) -> String {
    if number != 0.0 && number.abs() < 1e-3 { format!("{number:e}") } else { number.to_string() }
}

/// A list in the language.
pub(super) fn list<T: ToString>(items: &[T]) -> String {
    format!("[{}]", items.iter().map(T::to_string).collect::<Vec<_>>().join(", "))
}
