//! The one layout of a source: indentation, spaces, blank lines, aligned comments.
//!
//! The formatter works on tokens and keeps the line breaks of the author, as gofmt does: where a pipeline is broken
//! is part of how an architecture reads. Since it only chooses the blanks between tokens, it keeps comments and
//! meaning by construction, and since the choice depends on tokens and line breaks alone, it is idempotent.

use crate::diagnostic::{Diagnostic, Level};
use crate::parse::{ArchParser, Rule, parse};
use crate::span::{FileId, Span};
use pest::Parser;

const INDENT: usize = 4;

/// The formatted source, or the syntax errors that keep it from being formatted.
pub fn format(source: &str, file: FileId) -> Result<String, Vec<Diagnostic>> {
    let problems = parse(source, file).problems;
    if problems.iter().any(|problem| problem.level == Level::Error) {
        return Err(problems);
    }
    let tokens = tokens(source);
    let formatted = layout(&tokens);
    let same = self::tokens(&formatted).iter().map(|token| token.text).eq(tokens.iter().map(|token| token.text));
    if same {
        return Ok(formatted);
    }
    let problem = Diagnostic::error("format/unsafe", "this source cannot be formatted without changing it")
        .label(Span::new(file, 0, 0), "left as it is");
    Err(vec![problem])
}

#[derive(Clone, Copy)]
struct Token<'a> {
    text: &'a str,
    rule: Kind,
    /// Line breaks between the token before and this one.
    breaks: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Comment,
    Label,
    Attribute,
    Word,
    Literal,
    Sign,
}

fn tokens(source: &str) -> Vec<Token<'_>> {
    let Ok(mut pairs) = ArchParser::parse(Rule::tokens, source) else { return vec![] };
    let mut tokens = vec![];
    let mut end = 0;
    for pair in pairs.next().into_iter().flat_map(|root| root.into_inner()) {
        let span = pair.as_span();
        let rule = match pair.as_rule() {
            Rule::token_comment => Kind::Comment,
            Rule::token => match pair.into_inner().next().map(|inner| inner.as_rule()) {
                Some(Rule::token_label) => Kind::Label,
                Some(Rule::token_attribute) => Kind::Attribute,
                Some(Rule::ident) => Kind::Word,
                Some(_) => Kind::Literal,
                None => Kind::Sign,
            },
            _ => continue,
        };
        let between = source.get(end..span.start()).unwrap_or("");
        tokens.push(Token { text: span.as_str().trim_end(), rule, breaks: between.matches('\n').count() });
        end = span.end();
    }
    tokens
}

/// One line of output before comments are aligned.
struct Line {
    text: String,
    comment: Option<String>,
    blank_before: bool,
}

/// An open bracket: what its lines are indented by, and what the line that opened it is indented by.
struct Open {
    content: usize,
    opener: usize,
    /// `{` of an import list, which stands tight.
    tight: bool,
    /// `{` of a process, which holds a list.
    list: bool,
}

fn layout(tokens: &[Token<'_>]) -> String {
    let mut lines: Vec<Line> = vec![];
    let mut open: Vec<Open> = vec![];
    let mut indent = 0;
    let mut previous: Option<Token<'_>> = None;
    let mut before_previous: Option<Token<'_>> = None;
    for (at, token) in tokens.iter().enumerate() {
        let starts_line = at == 0 || token.breaks > 0;
        if starts_line {
            // A chain that goes on behind a closing brace stays in the column of that brace.
            let behind_closer = lines.last().is_some_and(|line| line.text.trim_start().starts_with(['}', ')', ']']));
            indent = match line_indent(token, previous, &open) {
                _ if behind_closer && is_infix(token) => indent,
                indent => indent,
            };
            let after_opener = previous.is_some_and(|p| matches!(p.text, "{" | "(" | "["));
            let blank_before = token.breaks > 1 && at > 0 && !after_opener && !matches!(token.text, "}" | ")" | "]");
            lines.push(Line { text: " ".repeat(indent), comment: None, blank_before });
        }
        let Some(line) = lines.last_mut() else { continue };
        if token.rule == Kind::Comment && !starts_line {
            line.comment = Some(token.text.to_owned());
        } else {
            let tight = open.last().is_some_and(|open| open.tight);
            if !starts_line
                && let Some(previous) = previous
                && spaced(before_previous, previous, *token, tight)
            {
                line.text.push(' ');
            }
            line.text.push_str(token.text);
        }
        if token.rule == Kind::Sign {
            match token.text.as_bytes() {
                [sign @ (b'(' | b'[' | b'{')] => {
                    let tight = *sign == b'{' && previous.is_some_and(|p| p.text == ".");
                    let list = *sign != b'{' || previous.is_some_and(|p| p.text == "process");
                    open.push(Open { content: indent + INDENT, opener: indent, tight, list });
                }
                [b')' | b']' | b'}'] => {
                    open.pop();
                }
                _ => {}
            }
        }
        if token.rule != Kind::Comment {
            before_previous = previous;
            previous = Some(*token);
        }
    }
    join(lines)
}

fn line_indent(token: &Token<'_>, previous: Option<Token<'_>>, open: &[Open]) -> usize {
    let Some(innermost) = open.last() else {
        return if continues(token, previous) { INDENT } else { 0 };
    };
    if matches!(token.text, "}" | ")" | "]") && token.rule == Kind::Sign {
        return innermost.opener;
    }
    let new_item =
        previous.is_none_or(|p| matches!(p.text, "{" | "(" | "[" | ",") && p.rule == Kind::Sign) && innermost.list;
    let extra = if !new_item && continues(token, previous) { INDENT } else { 0 };
    innermost.content + extra
}

/// Whether a line goes on with the statement of the line before.
fn continues(token: &Token<'_>, previous: Option<Token<'_>>) -> bool {
    let Some(previous) = previous else { return false };
    if token.rule == Kind::Comment {
        return false;
    }
    token.rule == Kind::Label
        || is_infix(token)
        || previous.rule == Kind::Sign
            && matches!(
                previous.text,
                "=" | "->"
                    | "<-"
                    | "+"
                    | "-"
                    | "*"
                    | "/"
                    | "%"
                    | "&&"
                    | "||"
                    | "=="
                    | "!="
                    | "<"
                    | ">"
                    | "<="
                    | ">="
                    | ".."
            )
        || previous.text == "," && previous.rule == Kind::Sign
}

fn is_infix(token: &Token<'_>) -> bool {
    token.rule == Kind::Sign
        && matches!(
            token.text,
            "->" | "<-"
                | "="
                | "=>"
                | "+"
                | "-"
                | "*"
                | "/"
                | "%"
                | "&&"
                | "||"
                | "=="
                | "!="
                | "<"
                | ">"
                | "<="
                | ">="
        )
}

/// Whether a blank stands between two tokens of a line.
fn spaced(before: Option<Token<'_>>, left: Token<'_>, right: Token<'_>, tight: bool) -> bool {
    if left.rule == Kind::Attribute || right.rule == Kind::Label || left.rule == Kind::Comment {
        return true;
    }
    let is_left = |sign: &str| left.rule == Kind::Sign && left.text == sign;
    let is_right = |sign: &str| right.rule == Kind::Sign && right.text == sign;
    if ["(", "[", "."].into_iter().any(is_left) || [")", "]", ",", ";", ":", "."].into_iter().any(is_right) {
        return false;
    }
    if is_left("..") || is_right("..") || is_left("!") || is_left("#") {
        return false;
    }
    if is_right("(") || is_right("[") {
        let applies_to = left.rule == Kind::Word && !is_keyword(left.text) || is_left(")") || is_left("]");
        return !applies_to;
    }
    if is_left("{") || is_right("}") {
        let empty = is_left("{") && is_right("}");
        return !(tight || empty);
    }
    if is_left("-") {
        return !is_prefix(before);
    }
    true
}

/// Whether a `-` behind this token is a sign rather than a difference.
fn is_prefix(before: Option<Token<'_>>) -> bool {
    match before {
        None => true,
        Some(token) => match token.rule {
            Kind::Sign => !matches!(token.text, ")" | "]" | "}"),
            Kind::Word => is_keyword(token.text),
            Kind::Label | Kind::Literal => false,
            Kind::Comment | Kind::Attribute => true,
        },
    }
}

fn is_keyword(word: &str) -> bool {
    matches!(word, "let" | "for" | "in" | "if" | "else" | "use" | "block" | "model" | "pipeline" | "preset")
}

/// Puts lines together; comments behind neighbouring lines start in one column.
fn join(lines: Vec<Line>) -> String {
    let mut text = String::new();
    let mut lines = lines.into_iter().peekable();
    while let Some(first) = lines.next() {
        let mut run = vec![first];
        while let Some(next) = lines.next_if(|next| {
            !next.blank_before && next.comment.is_some() && run.last().is_some_and(|l| l.comment.is_some())
        }) {
            run.push(next);
        }
        let column = run.iter().map(|line| line.text.chars().count()).max().unwrap_or(0) + 2;
        for line in run {
            if line.blank_before {
                text.push('\n');
            }
            text.push_str(&line.text);
            if let Some(comment) = line.comment {
                text.extend(std::iter::repeat_n(' ', column - line.text.chars().count()));
                text.push_str(&comment);
            }
            text.push('\n');
        }
    }
    text
}
