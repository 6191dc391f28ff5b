//! A first look at the text, before the grammar: size, nesting, brackets and quotes.
//!
//! An unbalanced bracket makes a grammar report the end of the file; only a look at all brackets can tell which one
//! is missing its partner. The depth is limited here because the grammar recurses with it.
//!
//! Brackets and quotes without a partner are reported and then taken out of the text, so that the grammar only ever
//! sees balanced ones: it can go on behind the mistake, and it need not look for a partner at every level.

use crate::diagnostic::Diagnostic;
use crate::span::{FileId, Span};

/// Brackets may nest this deep; published specs stay under 12.
pub const MAX_DEPTH: usize = 64;

/// Sources may be this long; the largest published spec has 20 kB.
pub const MAX_SOURCE_BYTES: usize = 8 << 20;

/// More unbalanced brackets than this are not reported one by one.
const MAX_PROBLEMS: usize = 8;

pub(super) struct Scan {
    pub problems: Vec<Diagnostic>,
    /// The text cannot be given to the grammar at all.
    pub fatal: bool,
    /// The text with balanced brackets, where those of the source are not; places stay the same.
    pub balanced: Option<String>,
    /// Where the text was changed, in order. Behind the first of these places every further error may be an echo.
    pub repairs: Vec<u32>,
    /// Comments that may be meant as a division: the sign, and the one word behind it.
    pub divisions: Vec<(Span, String)>,
}

pub(super) fn scan(source: &str, file: FileId) -> Scan {
    if source.len() > MAX_SOURCE_BYTES {
        let message = format!("this source has {} bytes; the limit is {} bytes", source.len(), MAX_SOURCE_BYTES);
        let problem = Diagnostic::error("syntax/too-large", message).label(Span::new(file, 0, 0), "");
        return Scan { problems: vec![problem], fatal: true, balanced: None, repairs: vec![], divisions: vec![] };
    }
    let mut scanner =
        Scanner { file, open: vec![], problems: vec![], repairs: vec![], divisions: vec![], fatal: false };
    scanner.run(source);
    scanner.repairs.sort_by_key(|repair| repair.start);
    let repairs: Vec<u32> = scanner.repairs.iter().map(|repair| repair.start as u32).collect();
    let balanced = if repairs.is_empty() { None } else { balanced(source, &scanner.repairs) };
    // What cannot be balanced is not read.
    let fatal = scanner.fatal || !repairs.is_empty() && balanced.is_none();
    Scan { problems: scanner.problems, fatal, balanced, repairs, divisions: scanner.divisions }
}

/// A piece of text, brackets or a text in quotes, that is replaced for the grammar.
struct Repair {
    start: usize,
    end: usize,
    /// What stands at both ends of it, with blanks between.
    ends: char,
}

fn balanced(source: &str, repairs: &[Repair]) -> Option<String> {
    let mut bytes = source.as_bytes().to_vec();
    for repair in repairs {
        let piece = bytes.get_mut(repair.start..repair.end)?;
        piece.fill(b' ');
        let ends = u8::try_from(repair.ends).ok()?;
        if piece.len() > 1 || repair.ends != '"' {
            piece.first_mut().into_iter().for_each(|first| *first = ends);
            piece.last_mut().into_iter().for_each(|last| *last = ends);
        }
    }
    String::from_utf8(bytes).ok()
}

type Chars<'a> = std::iter::Peekable<std::str::CharIndices<'a>>;

struct Scanner {
    file: FileId,
    open: Vec<(char, usize, usize)>,
    problems: Vec<Diagnostic>,
    repairs: Vec<Repair>,
    divisions: Vec<(Span, String)>,
    fatal: bool,
}

impl Scanner {
    fn run(&mut self, source: &str) {
        let mut chars = source.char_indices().peekable();
        let mut indent = 0;
        let (mut at_line_start, mut line_start) = (true, 0);
        while let Some((at, c)) = chars.next() {
            if c == '\n' {
                (indent, at_line_start, line_start) = (0, true, at + 1);
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
                    self.division(source, line_start, at);
                    while chars.next_if(|(_, next)| *next != '\n').is_some() {}
                }
                '"' => self.text(source, line_start, at, &mut chars),
                '(' | '[' | '{' => self.push(c, at, indent),
                ')' | ']' | '}' => self.pop(source, c, at, indent),
                _ => {}
            }
            if self.fatal {
                return;
            }
        }
        // The innermost ones are the likely culprits; the outer ones are echoes.
        if let Some((bracket, at, _)) = self.open.pop() {
            self.unclosed(source, bracket, at, None);
        }
        for (_, at, _) in std::mem::take(&mut self.open) {
            self.repair(at, at + 1, ' ');
        }
    }

    fn report(&mut self, problem: Diagnostic) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }

    fn repair(&mut self, start: usize, end: usize, ends: char) {
        self.repairs.push(Repair { start, end, ends });
    }

    fn text(&mut self, source: &str, line: usize, start: usize, chars: &mut Chars<'_>) {
        let mut end = start + 1;
        while let Some((at, c)) = chars.next_if(|(_, next)| *next != '\n') {
            end = at + c.len_utf8();
            match c {
                '\\' => {
                    if let Some((at, c)) = chars.next_if(|(_, next)| *next != '\n') {
                        end = at + c.len_utf8();
                    }
                }
                '"' if at > start => return,
                _ => {}
            }
        }
        self.repair(start, end, '"');
        self.close_within(source.get(start..end).unwrap_or(""), line);
        let span = Span::new(self.file, start, start + 1);
        self.report(
            Diagnostic::error("syntax/unclosed-text", "this text is never closed")
                .label(span, "starts here")
                .help("close it with `\"` on the same line"),
        );
    }

    /// Brackets of the line that a text which is never closed has swallowed the partners of: their absence is an echo.
    fn close_within(&mut self, swallowed: &str, line: usize) {
        for bracket in swallowed.chars() {
            if let Some((_, at, _)) = self.open.pop_if(|(open, at, _)| *at >= line && closer(*open) == bracket) {
                self.repair(at, at + 1, ' ');
            }
        }
    }

    fn push(&mut self, bracket: char, at: usize, indent: usize) {
        if self.open.len() == MAX_DEPTH {
            let span = Span::new(self.file, at, at + 1);
            self.report(
                Diagnostic::error("syntax/too-deep", format!("brackets nest deeper than {MAX_DEPTH} levels"))
                    .label(span, "one too many"),
            );
            self.fatal = true;
            return;
        }
        self.open.push((bracket, at, indent));
    }

    /// `dim // 2`, which divides in Python and is `dim` with a comment here.
    fn division(&mut self, source: &str, line: usize, at: usize) {
        let code = source.get(line..at).unwrap_or("").trim_end();
        let comment = source.get(at + 2..).and_then(|rest| rest.lines().next()).unwrap_or("").trim();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if code.ends_with(|c: char| is_word(c) || c == ')' || c == ']')
            && !comment.is_empty()
            && comment.chars().all(is_word)
        {
            self.divisions.push((Span::new(self.file, at, at + 2), comment.to_owned()));
        }
    }

    fn pop(&mut self, source: &str, bracket: char, at: usize, indent: usize) {
        let span = Span::new(self.file, at, at + 1);
        // A body is closed by what stands on a line of its own; another bracket in it is one too many.
        let body_goes_on = |open: &mut (char, usize, usize)| open.0 != '{' || bracket == '}';
        let Some((opener, opened, opened_indent)) = self.open.pop_if(body_goes_on) else {
            self.repair(at, at + 1, ' ');
            self.report(
                Diagnostic::error("syntax/unopened-bracket", format!("this `{bracket}` closes nothing"))
                    .label(span, "no such bracket is open here"),
            );
            return;
        };
        if closer(opener) == bracket {
            return;
        }
        // Which of the two is wrong? A `}` that stands further left than the line of the open bracket closes an
        // outer one, so the open bracket lacks its partner.
        let outer_fits = self.open.last().is_some_and(|(outer, _, _)| closer(*outer) == bracket);
        if outer_fits && !closed_later(source, at + 1, bracket) && (indent <= opened_indent || opener != '{') {
            self.unclosed(source, opener, opened, Some(span));
            self.open.pop();
        } else {
            self.repair(at, at + 1, closer(opener));
            let opener_span = Span::new(self.file, opened, opened + 1);
            self.report(
                Diagnostic::error(
                    "syntax/mismatched-bracket",
                    format!("expected `{}`, found `{bracket}`", closer(opener)),
                )
                .label(span, format!("expected `{}`", closer(opener)))
                .label(opener_span, "opened here"),
            );
        }
    }

    fn unclosed(&mut self, source: &str, bracket: char, at: usize, found: Option<Span>) {
        let span = Span::new(self.file, at, at + 1);
        let mut problem = Diagnostic::error("syntax/unclosed-bracket", format!("this `{bracket}` is never closed"))
            .label(span, "opened here");
        if let Some(found) = found {
            problem = problem.label(found, format!("expected `{}` before this", closer(bracket)));
        }
        let line = source.get(at..).and_then(|rest| rest.lines().next()).unwrap_or("");
        if line.split_once("//").is_some_and(|(_, comment)| comment.contains(closer(bracket))) {
            let partner = closer(bracket);
            problem =
                problem.help(format!("`//` starts a comment, and the `{partner}` stands in it; a division is `/`"));
        }
        self.repair(at, at + 1, ' ');
        self.report(problem);
    }
}

/// Whether the rest of a line closes one more bracket of that kind than it opens.
fn closed_later(source: &str, at: usize, bracket: char) -> bool {
    let rest = source.get(at..).and_then(|rest| rest.lines().next()).unwrap_or("");
    let count = |wanted: &dyn Fn(char) -> bool| rest.chars().filter(|c| wanted(*c)).count();
    count(&|c| c == bracket) > count(&|c| matches!(c, '(' | '[' | '{') && closer(c) == bracket)
}

fn closer(bracket: char) -> char {
    match bracket {
        '(' => ')',
        '[' => ']',
        _ => '}',
    }
}
