//! Sources to modules: reading, imports, and which name means which item.

mod names;

use crate::elaborate::{FEATURES, Settings};
use crate::library;
use crate::source::{SourceError, SourceMap, Sources};
use crate::suggest::did_you_mean;
use crate::types::Kind;
use archc_grammar::ast::{Definition, DefinitionKind, File, ItemKind, Parameter, Preset, TypeExpr, Use, UseSource};
use archc_grammar::{Diagnostic, FileId, Span, parse};
use indexmap::IndexMap;
use std::sync::Arc;

pub(crate) use names::{is_reserved, unknown_initialiser, wrong_sizes};

/// Files that import each other in a row.
const MAX_IMPORTS: usize = 64;

/// The edition of the language that this version reads.
pub const EDITION: u64 = 1;

/// A module of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleId(u32);

/// A definition with the module in whose names its body is to be read.
#[derive(Clone, Debug)]
pub struct DefinitionRef {
    pub module: ModuleId,
    pub definition: Arc<Definition>,
}

impl PartialEq for DefinitionRef {
    fn eq(&self, other: &Self) -> bool {
        self.module == other.module && Arc::ptr_eq(&self.definition, &other.definition)
    }
}

/// What a name of a module stands for.
#[derive(Clone, Debug)]
pub enum Item {
    Definition(DefinitionRef),
    Preset(ModuleId, Arc<Preset>),
    /// It exists, but its text or its file could not be read; that has been reported.
    Broken,
}

#[derive(Debug)]
struct Module {
    file: FileId,
    ast: File,
    names: IndexMap<Arc<str>, (Item, Span)>,
}

/// A source with everything it imports.
#[derive(Debug)]
pub struct Program {
    pub sources: SourceMap,
    modules: Vec<Module>,
    entry: ModuleId,
    prelude: ModuleId,
}

/// A model or a preset that can be compiled.
#[derive(Clone, Debug)]
pub struct Target {
    pub name: Arc<str>,
    pub model: DefinitionRef,
    pub preset: Option<(ModuleId, Arc<Preset>)>,
    /// Where it stands in the source.
    pub span: Span,
}

impl Target {
    /// The `///` comment above it.
    pub fn docs(&self) -> &str {
        self.preset.as_ref().map_or(&self.model.definition.docs, |(_, preset)| &preset.docs)
    }
}

impl Program {
    /// Reads a source and its imports, and checks every name in them.
    pub fn load(name: &str, sources: &(impl Sources + ?Sized)) -> Result<(Self, Vec<Diagnostic>), SourceError> {
        let text = sources.read(name)?;
        let mut loader = Loader {
            program: Program {
                sources: SourceMap::default(),
                modules: vec![],
                entry: ModuleId(0),
                prelude: ModuleId(0),
            },
            loaded: IndexMap::new(),
            library: IndexMap::new(),
            stack: vec![],
            problems: vec![],
            sources,
        };
        // The entry is the first source, so that spans of single-file programs have file 0.
        let file = loader.program.sources.add(name, &text);
        let entry = loader.module(name, file, &text);
        loader.program.entry = entry;
        loader.program.prelude = loader.library("prelude").unwrap_or(entry);
        let Loader { program, mut problems, .. } = loader;
        for (at, module) in program.modules.iter().enumerate() {
            problems.extend(names::check(&program, ModuleId(at as u32), &module.ast));
        }
        problems.sort_by_key(|problem| problem.span());
        Ok((program, problems))
    }

    fn module(&self, id: ModuleId) -> Option<&Module> {
        self.modules.get(id.0 as usize)
    }

    /// What a name means in a module: its own items and imports, then the prelude.
    pub fn find(&self, module: ModuleId, name: &str) -> Option<&Item> {
        let own = self.module(module).and_then(|module| module.names.get(name));
        let found = own.or_else(|| self.module(self.prelude).and_then(|module| module.names.get(name)));
        found.map(|(item, _)| item)
    }

    /// Whether a name means something in a module, or in the language.
    pub(crate) fn knows(&self, module: ModuleId, name: &str) -> bool {
        self.find(module, name).is_some() || is_reserved(name)
    }

    /// All names that mean something in a module.
    pub fn names(&self, module: ModuleId) -> impl Iterator<Item = &str> {
        let own = self.module(module).into_iter().flat_map(|module| module.names.keys());
        let prelude = self.module(self.prelude).into_iter().flat_map(|module| module.names.keys());
        own.chain(prelude).map(|name| &**name)
    }

    /// Models and presets of the entry, in the order of the source.
    pub fn targets(&self) -> Vec<Target> {
        let Some(module) = self.module(self.entry) else { return vec![] };
        let own = module.ast.items.iter().filter_map(|item| match &item.kind {
            ItemKind::Definition(definition) if definition.kind == DefinitionKind::Model => {
                Some((definition.name.text.clone(), definition.name.span))
            }
            ItemKind::Preset(preset) => Some((preset.name.text.clone(), preset.name.span)),
            ItemKind::Definition(_) | ItemKind::Use(_) => None,
        });
        own.filter_map(|(name, span)| self.target_named(&name, span)).collect()
    }

    /// Whether a target is a model that only its presets complete: some hyperparameter has no value by itself.
    pub(crate) fn is_template(&self, target: &Target, settings: &Settings) -> bool {
        let mut targets = self.targets().into_iter();
        let has_preset = targets.any(|other| other.preset.is_some() && other.model == target.model);
        let mut parameters = target.model.definition.parameters.iter();
        target.preset.is_none() && has_preset && parameters.any(|parameter| lacks_value(parameter, settings))
    }

    /// Pipelines of the entry, in the order of the source.
    pub fn pipelines(&self) -> Vec<DefinitionRef> {
        let Some(module) = self.module(self.entry) else { return vec![] };
        let own = module.ast.items.iter().filter_map(|item| match &item.kind {
            ItemKind::Definition(found) if found.kind == DefinitionKind::Pipeline => {
                Some(DefinitionRef { module: self.entry, definition: found.clone() })
            }
            ItemKind::Definition(_) | ItemKind::Preset(_) | ItemKind::Use(_) => None,
        });
        own.collect()
    }

    /// The model or preset of that name among the names of the entry, imported ones included.
    pub(crate) fn target_named(&self, name: &Arc<str>, span: Span) -> Option<Target> {
        match self.find(self.entry, name)? {
            Item::Definition(model) if model.definition.kind == DefinitionKind::Model => {
                Some(Target { name: name.clone(), model: model.clone(), preset: None, span })
            }
            Item::Preset(module, preset) => match self.find(*module, &preset.model.text)? {
                Item::Definition(model) if model.definition.kind == DefinitionKind::Model => Some(Target {
                    name: name.clone(),
                    model: model.clone(),
                    preset: Some((*module, preset.clone())),
                    span,
                }),
                Item::Definition(_) | Item::Preset(..) | Item::Broken => None,
            },
            Item::Definition(_) | Item::Broken => None,
        }
    }

    /// The target of that name, or the first one. The error is a sentence for the user.
    pub fn target(&self, name: Option<&str>) -> Result<Target, String> {
        let targets = self.targets();
        match name {
            None => targets.into_iter().next().ok_or_else(|| {
                let none = "this file holds no model".to_owned();
                if self.pipelines().is_empty() { none } else { format!("{none}, only pipelines for `archc sample`") }
            }),
            Some(name) => {
                let known: Vec<&str> = targets.iter().map(|target| &*target.name).collect();
                let message = || {
                    if self.pipelines().iter().any(|own| *own.definition.name.text == *name) {
                        return format!(
                            "`{name}` is a pipeline, which `archc sample` runs; this needs a model or a preset"
                        );
                    }
                    let list = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                    match did_you_mean(name, known.iter().copied()) {
                        Some(hint) => format!("there is no model or preset `{name}` here; {hint} (known: {list})"),
                        None => format!("there is no model or preset `{name}` here (known: {list})"),
                    }
                };
                targets.iter().find(|target| &*target.name == name).cloned().ok_or_else(message)
            }
        }
    }

    /// Definitions of the entry that no target can reach are still checked for names, but not elaborated.
    pub fn entry(&self) -> ModuleId {
        self.entry
    }

    /// All definitions of the source and of what it imports.
    pub fn definitions(&self) -> impl Iterator<Item = &Arc<Definition>> {
        self.modules.iter().flat_map(|module| module.ast.items.iter()).filter_map(|item| match &item.kind {
            ItemKind::Definition(definition) => Some(definition),
            ItemKind::Preset(_) | ItemKind::Use(_) => None,
        })
    }

    pub fn file(&self, module: ModuleId) -> FileId {
        self.module(module).map_or(FileId(0), |module| module.file)
    }
}

/// Whether a parameter is a hyperparameter that nothing gives a value.
fn lacks_value(parameter: &Parameter, settings: &Settings) -> bool {
    let is_tensor = match &parameter.kind {
        TypeExpr::Plain { name, .. } => *name.text == *FEATURES || Kind::from_name(&name.text).is_some(),
        TypeExpr::List { .. } => false,
    };
    let is_open_size = matches!(&parameter.kind, TypeExpr::Plain { name, .. } if &*name.text == "dim");
    let is_set = settings.iter().any(|(name, _)| *name == parameter.name.text);
    !(is_tensor || is_open_size || is_set) && parameter.default.is_none()
}

struct Loader<'s, S: ?Sized> {
    program: Program,
    /// Sources that have been read, by name; `None` where that failed.
    loaded: IndexMap<Arc<str>, Option<ModuleId>>,
    /// Files of the standard library that have been read. Those of a folder `std` of the user have the same names.
    library: IndexMap<Arc<str>, ModuleId>,
    /// Sources on the way from the entry to here.
    stack: Vec<Arc<str>>,
    problems: Vec<Diagnostic>,
    sources: &'s S,
}

impl<S: Sources + ?Sized> Loader<'_, S> {
    fn module(&mut self, name: &str, file: FileId, text: &str) -> ModuleId {
        let parsed = parse(text, file);
        self.problems.extend(parsed.problems);
        let id = ModuleId(self.program.modules.len() as u32);
        self.program.modules.push(Module { file, ast: parsed.file, names: IndexMap::new() });
        if self.program.sources.is_library(file) {
            self.library.insert(Arc::from(name), id);
        } else {
            self.loaded.insert(Arc::from(name), Some(id));
        }
        self.stack.push(Arc::from(name));
        let mut names: IndexMap<Arc<str>, (Item, Span)> = IndexMap::new();
        for broken in parsed.broken {
            names.insert(broken, (Item::Broken, Span::new(file, 0, 0)));
        }
        let ast = self.program.module(id).map(|module| module.ast.clone()).unwrap_or_default();
        self.edition(&ast);
        for item in &ast.items {
            match &item.kind {
                ItemKind::Use(import) => self.import(name, import, &mut names),
                ItemKind::Definition(definition) => {
                    let found = DefinitionRef { module: id, definition: definition.clone() };
                    self.bind(&mut names, &definition.name.text, Item::Definition(found), definition.name.span);
                }
                ItemKind::Preset(preset) => {
                    let found = Item::Preset(id, Arc::new(preset.clone()));
                    self.bind(&mut names, &preset.name.text, found, preset.name.span);
                }
            }
        }
        if let Some(module) = self.program.modules.get_mut(id.0 as usize) {
            module.names = names;
        }
        self.stack.pop();
        id
    }

    fn edition(&mut self, ast: &File) {
        if let Some((number, span)) = ast.edition
            && number != EDITION
        {
            self.problems.push(
                Diagnostic::error(
                    "syntax/edition",
                    format!("this file is written in edition {number} of the language"),
                )
                .label(span, format!("this archc reads edition {EDITION}")),
            );
        }
    }

    fn bind(&mut self, names: &mut IndexMap<Arc<str>, (Item, Span)>, name: &Arc<str>, item: Item, span: Span) {
        if is_reserved(name) {
            let problem = Diagnostic::error("name/reserved", format!("`{name}` is a name of the language"))
                .label(span, "cannot be defined again")
                .help("blocks and models usually start with a capital letter");
            self.problems.push(problem);
            return;
        }
        match names.get(name) {
            Some((Item::Broken, _)) | None => {
                names.insert(name.clone(), (item, span));
            }
            Some((_, first)) => {
                let problem = Diagnostic::error("name/duplicate", format!("`{name}` is defined twice"))
                    .label(span, "again here")
                    .label(*first, "first here");
                self.problems.push(problem);
            }
        }
    }

    fn import(&mut self, from: &str, import: &Use, names: &mut IndexMap<Arc<str>, (Item, Span)>) {
        // An import that names nothing has been reported by the parser.
        if import.names.is_empty() {
            return;
        }
        let module = self.imported_module(from, import);
        for used in &import.names {
            let name = &used.name;
            let local = used.alias.as_ref().unwrap_or(name);
            let item = match module {
                None => Item::Broken,
                Some(module) => {
                    let own = self.program.module(module).and_then(|m| m.names.get(&name.text));
                    match own {
                        Some((item, _)) => item.clone(),
                        None => {
                            self.unknown_import(module, import, name.span, &name.text);
                            Item::Broken
                        }
                    }
                }
            };
            self.bind(names, &local.text, item, local.span);
        }
    }

    fn unknown_import(&mut self, module: ModuleId, import: &Use, span: Span, name: &str) {
        let known: Vec<&str> =
            self.program.module(module).map(|m| m.names.keys().map(|name| &**name).collect()).unwrap_or_default();
        let source = self.program.sources.text(import.source_span).to_owned();
        let problem = Diagnostic::error("name/unknown", format!("there is no `{name}` in `{source}`"))
            .label(span, "not defined there");
        let help = did_you_mean(name, known.iter().copied())
            .unwrap_or_else(|| format!("it defines {}", list(known.iter().copied())));
        self.problems.push(problem.help(help));
    }

    fn imported_module(&mut self, from: &str, import: &Use) -> Option<ModuleId> {
        match &import.source {
            UseSource::Path(path) if path.first().is_some_and(|first| &**first == "std") => {
                let name = path.iter().skip(1).map(|part| &**part).collect::<Vec<_>>().join("/");
                if library::source(&name).is_none() {
                    self.problems.push(not_in_library(&name, import.source_span));
                }
                self.library(&name)
            }
            UseSource::Path(path) => {
                let name = path.iter().map(|part| &**part).collect::<Vec<_>>().join("/");
                self.file(&beside(from, &format!("{name}.arch")), import.source_span)
            }
            UseSource::File(name) => self.file(&beside(from, name), import.source_span),
        }
    }

    fn library(&mut self, name: &str) -> Option<ModuleId> {
        let text = library::source(name)?;
        let full = format!("std/{name}.arch");
        if let Some(module) = self.library.get(full.as_str()) {
            return Some(*module);
        }
        let file = self.program.sources.add_library(&full, text);
        Some(self.module(&full, file, text))
    }

    fn file(&mut self, name: &str, span: Span) -> Option<ModuleId> {
        if let Some(start) = self.stack.iter().position(|open| **open == *name) {
            let mut cycle: Vec<&str> = self.stack.iter().skip(start).map(|name| &**name).collect();
            cycle.push(name);
            let problem = Diagnostic::error("import/cycle", "these files import each other")
                .label(span, "closes the circle")
                .note(cycle.join(" -> "))
                .help("move what both need into a third file");
            self.problems.push(problem);
            return None;
        }
        if let Some(module) = self.loaded.get(name) {
            return *module;
        }
        if self.stack.len() >= MAX_IMPORTS {
            let problem = Diagnostic::error("import/too-deep", format!("imports nest deeper than {MAX_IMPORTS} files"))
                .label(span, "one too many");
            self.problems.push(problem);
            return None;
        }
        match self.sources.read(name) {
            Ok(text) => {
                let file = self.program.sources.add(name, &text);
                Some(self.module(name, file, &text))
            }
            Err(error) => {
                let (id, message) = match error {
                    SourceError::NotFound => ("import/not-found", format!("there is no file `{name}`")),
                    SourceError::NotUtf8 => ("import/not-utf8", format!("`{name}` is not UTF-8 text")),
                    SourceError::Unreadable(why) => ("import/unreadable", format!("`{name}` cannot be read: {why}")),
                };
                self.problems.push(Diagnostic::error(id, message).label(span, "imported here"));
                self.loaded.insert(Arc::from(name), None);
                None
            }
        }
    }
}

fn not_in_library(path: &str, span: Span) -> Diagnostic {
    let (files, name) = library::folder(path);
    let names = files.iter().map(|(name, _)| *name);
    let help = did_you_mean(name, names.clone()).unwrap_or_else(|| format!("it has {}", list(names)));
    Diagnostic::error("import/not-found", "the standard library has no such file").label(span, "not found").help(help)
}

/// A path relative to the folder of `from`, with `.` and `..` resolved.
fn beside(from: &str, name: &str) -> String {
    let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
    let absolute = name.starts_with('/');
    let mut parts: Vec<&str> = vec![];
    let all = if absolute { name.to_owned() } else { format!("{folder}/{name}") };
    for part in all.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    if absolute || from.starts_with('/') { format!("/{joined}") } else { joined }
}

/// `` `a`, `b` and `c` ``
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => "nothing".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::beside;

    #[test]
    fn imports_are_found_beside_their_file() {
        assert_eq!(beside("specs/dit.arch", "blocks/a.arch"), "specs/blocks/a.arch");
        assert_eq!(beside("dit.arch", "a.arch"), "a.arch");
        assert_eq!(beside("specs/x/dit.arch", "../a.arch"), "specs/a.arch");
        assert_eq!(beside("/tmp/dit.arch", "a.arch"), "/tmp/a.arch");
        assert_eq!(beside("../dit.arch", "a.arch"), "../a.arch");
    }
}
