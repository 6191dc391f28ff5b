//! Names that a file uses from the standard library.

use super::Context;
use archc_grammar::ast::{ItemKind, Use, UseSource};
use archc_grammar::{Edit, Span, parse};

impl Context<'_> {
    /// The edits after which a file can use `to` of a module of the standard library, where `calls` calls of `from` of the same
    /// module become calls of `to`. Whoever else uses `from` still can.
    pub fn import_instead(&self, place: Span, module: &str, from: &str, to: &str, calls: usize) -> Option<Vec<Edit>> {
        let source = self.sources.get(place.file)?;
        let import = self.import(place, module)?;
        let names = || import.names.iter();
        if names().any(|own| *own.name.text == *to && own.alias.is_none()) {
            return Some(vec![]);
        }
        let own = names().find(|own| *own.name.text == *from && own.alias.is_none())?;
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let uses = source.text.split(|c: char| !is_word(c)).filter(|word| *word == from).count();
        Some(vec![match uses == calls + 1 {
            true => Edit::new(own.name.span, to),
            false => Edit::new(own.name.span.after(), format!(", {to}")),
        }])
    }

    /// How a file uses a module of the standard library.
    fn import(&self, place: Span, module: &str) -> Option<Use> {
        let source = self.sources.get(place.file)?;
        let mut items = parse(&source.text, place.file).file.items.into_iter();
        items.find_map(|item| match item.kind {
            ItemKind::Use(import) => {
                let path = ["std", module];
                let is_it = matches!(&import.source, UseSource::Path(own) if own.iter().map(|part| &**part).eq(path));
                is_it.then_some(import)
            }
            ItemKind::Definition(_) | ItemKind::Preset(_) => None,
        })
    }
}
