//! What a line expects: comments to data.

use archc_compiler::Level;

/// A diagnostic that has to be reported on a line.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    pub level: Level,
    pub id: String,
    /// A part of the message; empty where any message will do.
    pub message: String,
    /// Parts of the help.
    pub help: Vec<String>,
    /// Parts of the notes.
    pub notes: Vec<String>,
}

/// All that the comments about one line expect.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    pub diagnostics: Vec<Expectation>,
    /// Parts of labels on this line, of whatever diagnostic.
    pub labels: Vec<String>,
    /// Comments that look like expectations and cannot be read.
    pub mistakes: Vec<String>,
}

/// Words that start an expectation.
const WORDS: [&str; 6] = ["error", "warning", "info", "help", "note", "label"];

/// What the lines of a source expect, one entry for each line.
pub fn expectations(source: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = vec![];
    let mut about = 0;
    for (at, text) in source.lines().enumerate() {
        lines.push(Line::default());
        let parts = match text.trim_start().strip_prefix("//^") {
            Some(rest) => parts(&format!("//{rest}")),
            None => {
                about = at;
                parts(text)
            }
        };
        if let Some(line) = lines.get_mut(about) {
            parts.into_iter().for_each(|part| line.read(&part));
        }
    }
    lines
}

/// The comment of a line, cut before every word that starts an expectation.
fn parts(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = vec![];
    for piece in text.split("//").skip(1) {
        let starts =
            WORDS.iter().any(|word| piece.trim_start().strip_prefix(word).is_some_and(|rest| rest.starts_with(':')));
        match parts.last_mut() {
            _ if starts => parts.push(piece.to_owned()),
            // The text of an expectation may hold `//` itself.
            Some(last) => *last = format!("{last}//{piece}"),
            None => {}
        }
    }
    parts
}

impl Line {
    fn read(&mut self, part: &str) {
        let Some((word, text)) = part.trim().split_once(':') else { return };
        let text = text.trim();
        let level = match word {
            "error" => Level::Error,
            "warning" => Level::Warning,
            "info" => Level::Info,
            "label" => return self.labels.push(text.to_owned()),
            _ => return self.detail(word, text),
        };
        match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((id, message)) => self.diagnostics.push(Expectation {
                level,
                id: id.to_owned(),
                message: message.trim().to_owned(),
                help: vec![],
                notes: vec![],
            }),
            None => self.mistakes.push(format!("`{part}` names no id: write `{word}: [group/name] message`")),
        }
    }

    /// Help and notes belong to the diagnostic before them.
    fn detail(&mut self, word: &str, text: &str) {
        match self.diagnostics.last_mut() {
            Some(last) if word == "help" => last.help.push(text.to_owned()),
            Some(last) => last.notes.push(text.to_owned()),
            None => self.mistakes.push(format!("`{word}: {text}` belongs to no diagnostic on this line")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(source: &str) -> Line {
        expectations(source).into_iter().next().unwrap_or_default()
    }

    #[test]
    fn several_expectations_stand_on_one_line() {
        let line = one("x + y // error: [a/b] both // help: do this // note: since // warning: [c/d]");
        let ids: Vec<&str> = line.diagnostics.iter().map(|own| own.id.as_str()).collect();
        assert_eq!(ids, ["a/b", "c/d"]);
        let first = line.diagnostics.first().cloned();
        assert_eq!(
            first.map(|own| (own.message, own.help, own.notes)),
            Some(("both".to_owned(), vec!["do this".to_owned()], vec!["since".to_owned()],))
        );
    }

    #[test]
    fn a_caret_line_speaks_about_the_line_above() {
        let lines = expectations("x\ny\n//^ error: [a/b] one\n//^ error: [c/d] two\nz");
        let counts: Vec<usize> = lines.iter().map(|line| line.diagnostics.len()).collect();
        assert_eq!(counts, [0, 2, 0, 0, 0]);
    }

    #[test]
    fn other_comments_expect_nothing() {
        assert_eq!(one("x // an error: none"), Line::default());
        assert_eq!(one("x # y // error: [a/b] comments start with `//` // help: z").diagnostics.len(), 1);
    }
}
