//! A first look at the text, before the grammar: size, nesting, brackets and quotes.
//!
//! An unbalanced bracket makes a grammar report the end of the file; only a look at all brackets can tell which one
//! is missing its partner. The depth is limited here because the grammar recurses with it.

use crate::diagnostic::Diagnostic;
use crate::span::{FileId, Span};

/// Brackets may nest this deep; published specs stay under 12.
pub const MAX_DEPTH: usize = 64;

/// Sources may be this long; the largest published spec has 20 kB.
pub const MAX_SOURCE_BYTES: usize = 8 << 20;

pub(super) struct Scan {
    pub problems: Vec<Diagnostic>,
    /// The text cannot be given to the grammar at all.
    pub fatal: bool,
}

pub(super) fn scan(source: &str, file: FileId) -> Scan {
    if source.len() > MAX_SOURCE_BYTES {
        let message = format!("this source has {} bytes; the limit is {} bytes", source.len(), MAX_SOURCE_BYTES);
        let problem = Diagnostic::error("syntax/too-large", message).label(Span::new(file, 0, 0), "");
        return Scan { problems: vec![problem], fatal: true };
    }
    let mut scanner = Scanner { file, open: vec![], problems: vec![], fatal: false };
    scanner.run(source);
    Scan { problems: scanner.problems, fatal: scanner.fatal }
}

struct Scanner {
    file: FileId,
    open: Vec<(char, usize, usize)>,
    problems: Vec<Diagnostic>,
    fatal: bool,
}

impl Scanner {
    fn run(&mut self, source: &str) {
        let mut chars = source.char_indices().peekable();
        let mut indent = 0;
        let mut at_line_start = true;
        while let Some((at, c)) = chars.next() {
            if c == '\n' {
                (indent, at_line_start) = (0, true);
                continue;
            }
            if at_line_start {
                if c.is_whitespace() {
                    indent += 1;
                    continue;
                }
                at_line_start = false;
            }
            match c {
                '/' if chars.peek().is_some_and(|(_, next)| *next == '/') => {
                    while chars.next_if(|(_, next)| *next != '\n').is_some() {}
                }
                '"' => self.text(at, &mut chars),
                '(' | '[' | '{' => self.push(c, at, indent),
                ')' | ']' | '}' => self.pop(c, at, indent),
                _ => {}
            }
            if self.fatal || self.problems.len() >= 8 {
                return;
            }
        }
        // The innermost ones are the likely culprits; the outer ones are echoes.
        if let Some((bracket, at, _)) = self.open.last().copied() {
            self.unclosed(bracket, at, None);
        }
    }

    fn text(&mut self, start: usize, chars: &mut std::iter::Peekable<std::str::CharIndices<'_>>) {
        while let Some((at, c)) = chars.next_if(|(_, next)| *next != '\n') {
            match c {
                '\\' => {
                    chars.next_if(|(_, next)| *next != '\n');
                }
                '"' if at > start => return,
                _ => {}
            }
        }
        let span = Span::new(self.file, start, start + 1);
        self.problems.push(
            Diagnostic::error("syntax/unclosed-text", "this text is never closed")
                .label(span, "starts here")
                .help("close it with `\"` on the same line"),
        );
    }

    fn push(&mut self, bracket: char, at: usize, indent: usize) {
        if self.open.len() == MAX_DEPTH {
            let span = Span::new(self.file, at, at + 1);
            self.problems.push(
                Diagnostic::error("syntax/too-deep", format!("brackets nest deeper than {MAX_DEPTH} levels"))
                    .label(span, "one too many"),
            );
            self.fatal = true;
            return;
        }
        self.open.push((bracket, at, indent));
    }

    fn pop(&mut self, bracket: char, at: usize, indent: usize) {
        let span = Span::new(self.file, at, at + 1);
        let Some((opener, opened, opened_indent)) = self.open.pop() else {
            self.problems.push(
                Diagnostic::error("syntax/unopened-bracket", format!("this `{bracket}` closes nothing"))
                    .label(span, "no bracket is open here"),
            );
            return;
        };
        if closer(opener) == bracket {
            return;
        }
        // Which of the two is wrong? A `}` that stands further left than the line of the open bracket closes an
        // outer one, so the open bracket lacks its partner.
        let outer_fits = self.open.last().is_some_and(|(outer, _, _)| closer(*outer) == bracket);
        if outer_fits && (indent <= opened_indent || opener != '{') {
            self.unclosed(opener, opened, Some(span));
            self.open.pop();
        } else {
            let opener_span = Span::new(self.file, opened, opened + 1);
            self.problems.push(
                Diagnostic::error(
                    "syntax/mismatched-bracket",
                    format!("expected `{}`, found `{bracket}`", closer(opener)),
                )
                .label(span, format!("expected `{}`", closer(opener)))
                .label(opener_span, "opened here"),
            );
        }
    }

    fn unclosed(&mut self, bracket: char, at: usize, found: Option<Span>) {
        let span = Span::new(self.file, at, at + 1);
        let mut problem = Diagnostic::error("syntax/unclosed-bracket", format!("this `{bracket}` is never closed"))
            .label(span, "opened here");
        if let Some(found) = found {
            problem = problem.label(found, format!("expected `{}` before this", closer(bracket)));
        }
        self.problems.push(problem);
    }
}

fn closer(bracket: char) -> char {
    match bracket {
        '(' => ')',
        '[' => ']',
        _ => '}',
    }
}
