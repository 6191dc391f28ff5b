//! Where sources come from. The compiler reads no files by itself: whoever calls it says where they are.

use archc_grammar::{FileId, Span};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

/// Why a source could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceError {
    NotFound,
    NotUtf8,
    /// In the words of the operating system.
    Unreadable(String),
}

/// Reads sources by name. Names are paths with forward slashes; those of the standard library never get here.
pub trait Sources {
    fn read(&self, name: &str) -> Result<String, SourceError>;
}

/// Sources in memory, for tests and editors.
impl Sources for [(&str, &str)] {
    fn read(&self, name: &str) -> Result<String, SourceError> {
        self.iter().find(|(own, _)| *own == name).map(|(_, text)| (*text).to_owned()).ok_or(SourceError::NotFound)
    }
}

impl<const N: usize> Sources for [(&str, &str); N] {
    fn read(&self, name: &str) -> Result<String, SourceError> {
        self.as_slice().read(name)
    }
}

/// Sources on disk, by paths from a folder.
#[derive(Clone, Debug, Default)]
pub struct Files {
    folder: PathBuf,
}

impl Files {
    /// Paths are those of the process by default, and those from a folder here.
    pub fn under(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }
}

impl Sources for Files {
    fn read(&self, name: &str) -> Result<String, SourceError> {
        let bytes = std::fs::read(self.folder.join(name)).map_err(|error| match error.kind() {
            ErrorKind::NotFound => SourceError::NotFound,
            _ => SourceError::Unreadable(error.to_string()),
        })?;
        String::from_utf8(bytes).map_err(|_| SourceError::NotUtf8)
    }
}

/// A source that has been read.
#[derive(Clone, Debug)]
pub struct Source {
    pub name: Arc<str>,
    pub text: Arc<str>,
    /// A part of the program; a file of somebody may have the same name.
    is_library: bool,
}

/// All sources of a compilation, by the ids that spans carry.
#[derive(Clone, Debug, Default)]
pub struct SourceMap {
    sources: Vec<Source>,
}

impl SourceMap {
    pub fn add(&mut self, name: &str, text: &str) -> FileId {
        self.push(name, text, false)
    }

    /// Adds a file of the standard library.
    pub fn add_library(&mut self, name: &str, text: &str) -> FileId {
        self.push(name, text, true)
    }

    fn push(&mut self, name: &str, text: &str, is_library: bool) -> FileId {
        self.sources.push(Source { name: Arc::from(name), text: Arc::from(text), is_library });
        FileId(self.sources.len() as u32 - 1)
    }

    pub fn get(&self, file: FileId) -> Option<&Source> {
        self.sources.get(file.0 as usize)
    }

    pub fn iter(&self) -> impl Iterator<Item = (FileId, &Source)> {
        self.sources.iter().enumerate().map(|(at, source)| (FileId(at as u32), source))
    }

    /// Whether a source belongs to the standard library.
    pub fn is_library(&self, file: FileId) -> bool {
        self.get(file).is_some_and(|source| source.is_library)
    }

    /// The text of a span.
    pub fn text(&self, span: Span) -> &str {
        self.get(span.file).map_or("", |source| span.text(&source.text))
    }

    /// Line and column of the start of a span, counted from one.
    pub fn line_column(&self, span: Span) -> (usize, usize) {
        let text = self.get(span.file).map_or("", |source| &*source.text);
        let before = text.get(..span.start as usize).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        (line, column)
    }

    /// `file:line:column`
    pub fn place(&self, span: Span) -> String {
        let (line, column) = self.line_column(span);
        let name = self.get(span.file).map_or("?", |source| &*source.name);
        format!("{name}:{line}:{column}")
    }
}
