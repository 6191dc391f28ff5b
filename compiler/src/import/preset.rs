//! The spec that an import writes: one preset of a published family.

use crate::library;
use archc_grammar::ast::{Definition, ItemKind};
use archc_grammar::{FileId, format, parse};
use std::sync::Arc;

/// Columns of a line.
const WIDTH: usize = 118;

/// A preset on its way into a spec.
pub(super) struct Preset {
    pub name: String,
    /// The file in `std.models`.
    pub file: &'static str,
    pub model: &'static str,
    /// Hyperparameters in the words of the language.
    settings: Vec<(&'static str, String)>,
    /// What the reader has to know, and the configuration does not say.
    notes: Vec<String>,
    /// What stands above it.
    pub docs: String,
}

impl Preset {
    pub fn new(name: &str, (file, model): (&'static str, &'static str)) -> Self {
        Self { name: name.to_owned(), file, model, settings: vec![], notes: vec![], docs: String::new() }
    }

    /// Gives a hyperparameter; the default of the family is not repeated when the spec is written.
    pub fn set(&mut self, name: &'static str, value: impl ToString) {
        self.settings.push((name, value.to_string()));
    }

    /// Gives a hyperparameter whose default in the family follows from others, which is `default` here.
    pub fn set_unless<T: ToString + PartialEq>(&mut self, name: &'static str, value: T, default: T) {
        if value != default {
            self.set(name, value);
        }
    }

    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// The spec, formatted.
    pub fn spec(&self) -> String {
        let definition = self.definition();
        // In the order of the family, whatever order the configuration has.
        let place = |name: &str| {
            let mut parameters = definition.iter().flat_map(|found| &found.parameters);
            parameters.position(|own| *own.name.text == *name)
        };
        let mut settings = self.settings.clone();
        settings.sort_by_key(|(name, _)| place(name));
        let settings: Vec<String> = settings
            .iter()
            .filter(|(name, value)| !is_default(definition.as_deref(), self.file, name, value))
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        let mut text = format!("arch 1\n\nuse std.models.{}.{{{}}}\n\n", self.file, self.model);
        if !self.notes.is_empty() {
            text.push_str("// What the configuration does not say:\n");
            for note in &self.notes {
                text.push_str(&wrapped(note, "// * ", "//   "));
            }
            text.push('\n');
        }
        text.push_str(&wrapped(&self.docs, "/// ", "/// "));
        text.push_str(&self.call(&settings));
        format(&text, FileId(0)).unwrap_or(text)
    }

    /// `preset name = Model(..)`, in one line where it fits.
    fn call(&self, settings: &[String]) -> String {
        let head = format!("preset {} = {}(", self.name, self.model);
        let line = format!("{head}{})\n", settings.join(", "));
        if line.len() <= WIDTH {
            return line;
        }
        let mut text = format!("{head}\n");
        let mut open = String::new();
        for setting in settings {
            if !open.is_empty() && open.len() + setting.len() + 3 > WIDTH {
                text.push_str(&format!("{}\n", open.trim_end()));
                open.clear();
            }
            open.push_str(if open.is_empty() { "    " } else { "" });
            open.push_str(&format!("{setting}, "));
        }
        text.push_str(&format!("{}\n)\n", open.trim_end()));
        text
    }

    fn definition(&self) -> Option<Arc<Definition>> {
        let source = library::source(&format!("{}/{}", library::MODELS_FOLDER, self.file))?;
        parse(source, FileId(0)).file.items.into_iter().find_map(|item| match item.kind {
            ItemKind::Definition(found) if *found.name.text == *self.model => Some(found),
            ItemKind::Definition(_) | ItemKind::Use(_) | ItemKind::Preset(_) => None,
        })
    }
}

/// Whether a hyperparameter has that value anyway.
fn is_default(definition: Option<&Definition>, file: &str, name: &str, value: &str) -> bool {
    let own = definition.and_then(|found| found.parameters.iter().find(|own| *own.name.text == *name));
    let source = library::source(&format!("{}/{file}", library::MODELS_FOLDER)).unwrap_or_default();
    let Some(default) = own.and_then(|own| own.default.as_ref()) else { return false };
    let default = default.span.text(source);
    match (default.parse::<f64>(), value.parse::<f64>()) {
        (Ok(default), Ok(value)) => default == value,
        _ => default == value,
    }
}

/// A text in lines of a comment.
fn wrapped(text: &str, first: &str, rest: &str) -> String {
    let (mut lines, mut line) = (String::new(), first.to_owned());
    for word in text.split_whitespace() {
        if line.len() + word.len() > WIDTH && !line.trim_end().ends_with(first.trim_end()) {
            lines.push_str(&format!("{}\n", line.trim_end()));
            line = rest.to_owned();
        }
        line.push_str(&format!("{word} "));
    }
    lines + line.trim_end() + "\n"
}
