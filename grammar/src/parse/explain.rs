//! Why a piece of text is not an item or a statement.
//!
//! The piece is parsed once more with the rule that its first word asks for. The place where that attempt got stuck and
//! what stands there make the message, which rules were tried there make what was expected (`expected`), and a table
//! of common slips gives the help (`slips`).

use super::expected::expected;
use super::slips::{Context, Place, is_word, item_word, slip, word_at};
use super::{ArchParser, Rule};
use crate::diagnostic::Diagnostic;
use crate::span::{FileId, Span};
use pest::Parser;
use pest::error::{Error, ErrorVariant, InputLocation};

type ParseError = Error<Rule>;

/// A piece of text at the top level that is no item.
pub(super) fn item(source: &str, file: FileId, start: usize, text: &str) -> Diagnostic {
    let first = word_at(text);
    if matches!(first, "use" | "block" | "model" | "pipeline" | "preset") {
        return strict(source, file, start, text, Rule::lone_item);
    }
    if text.starts_with("#[") {
        return attribute(source, file, start, text, item);
    }
    let found = token_at(source, start);
    let span = Span::new(file, start, start + found.len());
    let message = format!("expected `use`, `block`, `model`, `pipeline` or `preset`, found {}", quoted(found));
    let problem = Diagnostic::error("syntax/item", message).label(span, "nothing else stands at the top level");
    let behind = text.get(found.len()..).unwrap_or("");
    let place = Place { found, rest: text, behind, head: "", context: Context::Item };
    match (item_word(found), slip(&place)) {
        (Some(word), _) => problem.help(format!("did you mean `{word}`?")),
        (None, Some(help)) => problem.help(help),
        (None, None) if text.contains("->") || text.contains('=') => {
            problem.help("values belong into a block or a model, or become its hyperparameters")
        }
        (None, None) => problem,
    }
}

/// A piece of text in a body that is no statement.
pub(super) fn statement(source: &str, file: FileId, start: usize, text: &str) -> Diagnostic {
    let rule = match word_at(text) {
        "let" => Rule::lone_let,
        "for" => Rule::lone_for,
        "init" if is_followed_by_name(text) => Rule::lone_init,
        "skip" if is_followed_by_name(text) => Rule::lone_skip,
        "order" if is_followed_by_name(text) => Rule::lone_order,
        "process" if text.trim_start_matches(is_word).trim_start_matches([' ', '\t']).starts_with('{') => {
            Rule::lone_process
        }
        "encoder" | "bottleneck" | "decoder" => Rule::lone_section,
        _ => match text.find(['=', '<', '-', '\n', '(', '{']).and_then(|at| text.get(..at).zip(text.get(at..))) {
            Some((_, rest)) if rest.starts_with("<-") => Rule::lone_save,
            Some((target, rest)) if is_assignment(target, rest) => Rule::lone_assign,
            _ if text.starts_with("#[") => return attribute(source, file, start, text, statement),
            _ => Rule::lone_statement,
        },
    };
    strict(source, file, start, text, rule)
}

/// Whether text before a `=` looks like what is assigned to.
fn is_assignment(target: &str, rest: &str) -> bool {
    let sign = rest.starts_with('=') && !rest.starts_with("==") && !rest.starts_with("=>");
    sign && !target.trim().contains(' ')
}

fn is_followed_by_name(text: &str) -> bool {
    let rest = text.get(word_at(text).len()..).unwrap_or("");
    rest.trim_start_matches([' ', '\t']).starts_with(is_word)
}

/// Attributes of which one cannot be read, or that stand before nothing, or before something that `explains` says what
/// is wrong with.
fn attribute(
    source: &str,
    file: FileId,
    start: usize,
    text: &str,
    explains: fn(&str, FileId, usize, &str) -> Diagnostic,
) -> Diagnostic {
    let mut last = Span::new(file, start, start);
    let mut rest = text;
    loop {
        let at = start + text.len() - rest.len();
        if rest.is_empty() {
            return Diagnostic::error("syntax/attribute", "this attribute stands before nothing")
                .label(last, "what is it about?");
        }
        if !rest.starts_with("#[") {
            return explains(source, file, at, rest);
        }
        let read = ArchParser::parse(Rule::attribute, rest).ok();
        let Some(pair) = read.and_then(|mut pairs| pairs.next()) else {
            let mut problem = strict(source, file, at, rest, Rule::lone_attribute);
            problem.help.get_or_insert_with(|| "the one attribute is `#[allow(group/rule, \"reason\")]`".to_owned());
            return problem;
        };
        let length = pair.as_str().trim_end().len();
        last = Span::new(file, at, at + length);
        rest = behind_blanks(rest.get(length..).unwrap_or(""));
    }
}

/// A text without the blanks and comments at its start.
fn behind_blanks(text: &str) -> &str {
    let mut rest = text.trim_start();
    while rest.starts_with("//") {
        rest = rest.split_once('\n').map_or("", |(_, rest)| rest).trim_start();
    }
    rest
}

/// A piece of text that is not what the rule asks for.
pub(super) fn strict(source: &str, file: FileId, start: usize, text: &str, rule: Rule) -> Diagnostic {
    match ArchParser::parse(rule, text) {
        Err(error) => explain(source, file, start, text, &error),
        // The recovery rule took it although it can be read: a bracket or a missing line break around it.
        Ok(_) => Diagnostic::error("syntax/statement", "this cannot stand here")
            .label(Span::new(file, start, start + word_at(text).len().max(1)), "unexpected"),
    }
}

/// The message for a failed attempt at `region`, which stands at `offset` in `source`.
pub(super) fn explain(source: &str, file: FileId, offset: usize, region: &str, error: &ParseError) -> Diagnostic {
    let stuck = match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at.min(region.len()),
    };
    let (mut at, mut found) = place(source, offset, stuck);
    let tried: &[Rule] = match &error.variant {
        ErrorVariant::ParsingError { positives, .. } => positives,
        ErrorVariant::CustomError { .. } => &[],
    };
    let head = |at: usize| before(source, at).get(offset..).unwrap_or("");
    let mut expected = expected(tried, before(source, at), head(at));
    if !matches!(expected, "a name" | "a parameter")
        && let Some(problem) = bad_number(source, file, at)
    {
        return problem;
    }
    let context = Context::of(head(at));
    // A name that is given a value cannot be read as an expression; the sign is what does not belong there.
    let behind = source.get(at + found.len()..).unwrap_or("").trim_start_matches([' ', '\t']);
    let is_given = behind.starts_with('=') && !behind.starts_with("==") && !behind.starts_with("=>");
    if found.starts_with(is_word) && is_given && matches!(expected, "an expression" | "an argument") {
        expected = if context == Context::Arguments { "`:`" } else { "the end of the statement" };
        (at, found) = (source.len() - behind.len(), "=");
    }
    let message = match found {
        "" => format!("expected {expected}"),
        _ => format!("expected {expected}, found {}", quoted(found)),
    };
    let span = Span::new(file, at, at + found.len());
    let problem = Diagnostic::error("syntax/unexpected", message).label(span, format!("expected {expected}"));
    let rest = source.get(at..).unwrap_or("");
    let behind = rest.get(found.len()..).unwrap_or("");
    match slip(&Place { found, rest, behind, head: head(at), context }) {
        Some(help) => problem.help(help),
        None => problem,
    }
}

/// Where to point and what stands there: not at the blanks before it, and at the end of a line right behind its text.
fn place(source: &str, offset: usize, stuck: usize) -> (usize, &str) {
    let at = offset + stuck;
    let rest = source.get(at..).unwrap_or("");
    let on_line = rest.trim_start_matches([' ', '\t']);
    let text_end = before(source, at).len();
    let line_ends = on_line.is_empty()
        || on_line.starts_with(['\n', '\r'])
        || on_line.starts_with("//")
        || stuck > 0 && source.get(text_end..at).is_some_and(|blank| blank.contains('\n'));
    if line_ends {
        return (text_end, "");
    }
    let at = at + rest.len() - on_line.len();
    (at, token_at(source, at))
}

/// Digits with something attached that makes them no number: `10k`, `0x10`, `5.`, `.5`.
fn bad_number(source: &str, file: FileId, at: usize) -> Option<Diagnostic> {
    let head = source.get(..at)?;
    let part = |c: char| is_word(c) || c == '.';
    let start = head.rfind(|c: char| !part(c)).map_or(0, |found| found + head.get(found..).map_or(1, first_len));
    let rest = source.get(start..)?;
    let mut end = rest.find(|c: char| !part(c)).unwrap_or(rest.len());
    let text = rest.get(..end)?;
    let digits = text.trim_start_matches('.');
    if text.contains("..") || !digits.starts_with(|c: char| c.is_ascii_digit()) || start + end < at {
        return None;
    }
    // The sign of an exponent belongs to it.
    if text.ends_with(['e', 'E']) && rest.get(end..).is_some_and(|tail| tail.starts_with(['+', '-'])) {
        end += 1;
    }
    let text = rest.get(..end)?;
    if ArchParser::parse(Rule::lone_number, text).is_ok() {
        return None;
    }
    let problem = Diagnostic::error("syntax/number", format!("`{text}` is not a number"))
        .label(Span::new(file, start, start + end), "cannot be read")
        .help("numbers are written `42`, `1_000`, `0.5` or `1e-6`");
    Some(problem)
}

fn first_len(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

/// The grammar gave up altogether.
pub(super) fn unreadable(error: &ParseError, file: FileId) -> Diagnostic {
    let at = match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
    };
    Diagnostic::error("syntax/unreadable", "this source cannot be read")
        .label(Span::new(file, at, at), "reading stopped here")
}

/// The text before a place, without blanks and comments at its end.
fn before(source: &str, at: usize) -> &str {
    let mut text = source.get(..at).unwrap_or("").trim_end();
    loop {
        let start = text.rfind('\n').map_or(0, |found| found + 1);
        match text.get(start..).and_then(comment_start).and_then(|found| text.get(..start + found)) {
            Some(code) => text = code.trim_end(),
            None => return text,
        }
    }
}

/// Where the comment of a line starts, if it has one.
fn comment_start(line: &str) -> Option<usize> {
    let mut in_text = false;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_text => escaped = true,
            '"' => in_text = !in_text,
            '/' if !in_text && line.get(at..).is_some_and(|rest| rest.starts_with("//")) => return Some(at),
            _ => {}
        }
    }
    None
}

impl Context {
    /// What the text of a piece has left open.
    fn of(head: &str) -> Self {
        let mut open = vec![];
        for (at, c) in head.char_indices() {
            match c {
                '(' | '[' | '{' => open.push((c, at)),
                ')' | ']' | '}' => {
                    open.pop();
                }
                _ => {}
            }
        }
        let is_definition = matches!(word_at(head), "block" | "model" | "pipeline");
        match open.last() {
            Some(('(', at)) if is_definition && head.find('(') == Some(*at) => Context::Parameters,
            Some(('(', _)) => Context::Arguments,
            Some(('[', _)) => Context::Brackets,
            _ => Context::Statement,
        }
    }
}

/// The word, number or sign that starts at `at`.
fn token_at(source: &str, at: usize) -> &str {
    let rest = source.get(at..).unwrap_or("");
    let word = word_at(rest);
    if !word.is_empty() {
        return word;
    }
    if ["->", "<-", "=>", "==", "!=", "<=", ">=", "&&", "||", "|>", ".."].iter().any(|sign| rest.starts_with(sign)) {
        return rest.get(..2).unwrap_or("");
    }
    rest.get(..first_len(rest)).unwrap_or("")
}

fn quoted(found: &str) -> String {
    match found {
        "" => "the end of the file".to_owned(),
        "\n" | "\r" => "the end of the line".to_owned(),
        _ => format!("`{found}`"),
    }
}
