//! The one type for what archc has to say about a source, from the parser to the command line.

use crate::fix::Fix;
use crate::span::Span;
use serde::Serialize;
use std::borrow::Cow;

/// How much a finding weighs. Errors always fail a check; warnings fail it where the user asks for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Info,
    Warning,
    Error,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }
}

/// A place and what is to be said of it. The first label of a diagnostic is the primary one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Label {
    pub span: Span,
    pub text: String,
}

/// A call on the way from the model to the place of a finding: `` in `Attention`, called from `DiTBlock` at … ``.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Frame {
    /// Name of the block or model that holds the call.
    pub inside: String,
    /// Name of what is called.
    pub callee: String,
    pub call: Span,
}

/// One thing to say about a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// `group/name`, the word that `#[allow(..)]` and reports use.
    pub id: Cow<'static, str>,
    pub level: Level,
    /// Short, lower case, understandable without the labels.
    pub message: String,
    pub labels: Vec<Label>,
    pub notes: Vec<String>,
    pub help: Option<String>,
    pub fixes: Vec<Fix>,
    /// From the innermost call outwards.
    pub chain: Vec<Frame>,
}

impl Diagnostic {
    pub fn new(level: Level, id: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            level,
            message: message.into(),
            labels: vec![],
            notes: vec![],
            help: None,
            fixes: vec![],
            chain: vec![],
        }
    }

    pub fn error(id: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Level::Error, id, message)
    }

    #[must_use]
    pub fn label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    #[must_use]
    pub fn fix(mut self, fix: Fix) -> Self {
        self.fixes.push(fix);
        self
    }

    /// Where the finding stands, if anywhere.
    pub fn span(&self) -> Option<Span> {
        self.labels.first().map(|label| label.span)
    }
}
