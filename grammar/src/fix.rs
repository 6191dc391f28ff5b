//! Proposed changes of a source: edits of places, with how far they may be trusted.

use crate::span::{FileId, Span};
use serde::Serialize;

/// How far a fix may be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Safety {
    /// The elaborated graph stays the same.
    Safe,
    /// The edit changes what the network computes, or what it starts as.
    Unsafe,
    /// The user has to complete it; it is shown and never applied.
    DisplayOnly,
}

impl Safety {
    pub fn name(self) -> &'static str {
        match self {
            Safety::Safe => "safe",
            Safety::Unsafe => "unsafe",
            Safety::DisplayOnly => "display-only",
        }
    }
}

/// Replacement of one span by other text. An empty span is an insertion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Edit {
    pub span: Span,
    pub text: String,
}

impl Edit {
    pub fn new(span: Span, text: impl Into<String>) -> Self {
        Self { span, text: text.into() }
    }

    /// Whether two edits cannot both be made: their spans share a byte, or both insert at one place.
    pub fn overlaps(&self, other: &Edit) -> bool {
        let (a, b) = (self.span, other.span);
        a.file == b.file && (a.start < b.end && b.start < a.end || a.start == b.start)
    }
}

/// A proposed change of the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fix {
    /// What it does, in a few words: `start the projection at random`.
    pub title: String,
    pub safety: Safety,
    /// Whether names or shapes of parameters change, so that weights of before no longer load.
    pub breaks_weights: bool,
    pub edits: Vec<Edit>,
}

impl Fix {
    pub fn new(title: impl Into<String>, safety: Safety, edits: Vec<Edit>) -> Self {
        Self { title: title.into(), safety, breaks_weights: false, edits }
    }

    #[must_use]
    pub fn breaking_weights(mut self) -> Self {
        self.breaks_weights = true;
        self
    }

    /// Whether two fixes cannot be made at once.
    pub fn overlaps(&self, other: &Fix) -> bool {
        self.edits.iter().any(|own| other.edits.iter().any(|edit| own.overlaps(edit)))
    }
}

/// The text of a source with those edits made that belong to it; none where they overlap or do not fit the text.
pub fn apply(text: &str, file: FileId, edits: &[Edit]) -> Option<String> {
    let mut own: Vec<&Edit> = edits.iter().filter(|edit| edit.span.file == file).collect();
    own.sort_by_key(|edit| edit.span);
    let mut result = String::with_capacity(text.len());
    let mut at = 0;
    for (index, edit) in own.iter().enumerate() {
        let twin = own.get(index + 1).is_some_and(|next| edit.overlaps(next));
        let (start, end) = (edit.span.start as usize, edit.span.end as usize);
        if twin || start < at || end < start {
            return None;
        }
        result.push_str(text.get(at..start)?);
        text.get(start..end)?;
        result.push_str(&edit.text);
        at = end;
    }
    result.push_str(text.get(at..)?);
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(start: usize, end: usize, text: &str) -> Edit {
        Edit::new(Span::new(FileId(0), start, end), text)
    }

    #[test]
    fn edits_are_made_in_the_order_of_their_places() {
        let edits = [edit(4, 4, "!"), edit(0, 1, "J")];
        assert_eq!(apply("hello", FileId(0), &edits).as_deref(), Some("Jell!o"));
        assert_eq!(apply("hello", FileId(1), &edits).as_deref(), Some("hello"), "another file");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(apply("hello", FileId(0), &[edit(0, 3, ""), edit(2, 4, "")]), None, "overlapping");
        assert_eq!(apply("hello", FileId(0), &[edit(2, 2, "a"), edit(2, 2, "b")]), None, "two at one place");
        assert_eq!(apply("hello", FileId(0), &[edit(3, 9, "")]), None, "behind the end");
        assert_eq!(apply("héllo", FileId(0), &[edit(2, 3, "")]), None, "inside of a character");
    }
}
