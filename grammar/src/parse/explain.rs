//! Why a piece of text is not an item or a statement.
//!
//! The piece is parsed once more with the rule that its first word asks for. The place where that attempt got stuck,
//! what stands there, and which rules were tried make the message. A table of common slips (words and signs of other
//! languages) gives the help.

use super::{ArchParser, Rule};
use crate::diagnostic::Diagnostic;
use crate::span::{FileId, Span};
use pest::Parser;
use pest::error::{Error, ErrorVariant, InputLocation};

type ParseError = Error<Rule>;

/// A piece of text at the top level that is no item.
pub(super) fn item(source: &str, file: FileId, start: usize, text: &str) -> Diagnostic {
    let first = first_word(text);
    if !matches!(first, "use" | "block" | "model" | "preset") && !text.starts_with("#[") {
        let found = token_at(source, start);
        let span = Span::new(file, start, start + found.len());
        let problem = Diagnostic::error("syntax/item", format!("expected an item, found {}", quoted(found)))
            .label(span, "not an item");
        return match slip(found, source, start, Context::Item) {
            Some(help) => problem.help(help),
            None => problem.help("a file holds `use`, `block`, `model` and `preset` items"),
        };
    }
    strict(source, file, start, text, Rule::lone_item)
}

/// A piece of text in a body that is no statement.
pub(super) fn statement(source: &str, file: FileId, start: usize, text: &str) -> Diagnostic {
    let rule = match first_word(text) {
        "let" => Rule::lone_let,
        "for" => Rule::lone_for,
        "init" => Rule::lone_init,
        "skip" => Rule::lone_skip,
        "order" => Rule::lone_order,
        "encoder" | "bottleneck" | "decoder" => Rule::lone_section,
        _ => match text.find(['=', '<', '-', '\n', '(']) {
            Some(at) if text.get(at..).is_some_and(|rest| rest.starts_with("<-")) => Rule::lone_save,
            Some(at) if text.get(at..).is_some_and(|rest| rest.starts_with('=') && !rest.starts_with("==")) => {
                Rule::lone_assign
            }
            _ => Rule::lone_statement,
        },
    };
    strict(source, file, start, text, rule)
}

fn strict(source: &str, file: FileId, start: usize, text: &str, rule: Rule) -> Diagnostic {
    match ArchParser::parse(rule, text) {
        Err(error) => explain(source, file, start, text, &error),
        // The recovery rule took it although it can be read: a bracket or a missing line break around it.
        Ok(_) => Diagnostic::error("syntax/statement", "this cannot stand here")
            .label(Span::new(file, start, start + first_word(text).len().max(1)), "unexpected"),
    }
}

/// The message for a failed attempt at `region`, which stands at `offset` in `source`.
pub(super) fn explain(source: &str, file: FileId, offset: usize, region: &str, error: &ParseError) -> Diagnostic {
    let stuck = match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at.min(region.len()),
    };
    let mut at = offset + stuck;
    // Point at what stands there, not at the blanks before it; at the end of a line, point right behind its text.
    let rest = source.get(at..).unwrap_or("");
    let on_line = rest.trim_start_matches([' ', '\t']);
    let text_end = before(source, at).len();
    let line_ends = on_line.is_empty()
        || on_line.starts_with(['\n', '\r'])
        || on_line.starts_with("//")
        || stuck > 0 && source.get(text_end..at).is_some_and(|blank| blank.contains('\n'));
    if line_ends {
        at = text_end;
    } else {
        at += rest.len() - on_line.len();
    }
    let found = if line_ends { "" } else { token_at(source, at) };
    let expected = expected(source, offset, at, error);
    let message = if found.is_empty() {
        format!("expected {expected}")
    } else {
        format!("expected {expected}, found {}", quoted(found))
    };
    let span = Span::new(file, at, at + found.len());
    let problem = Diagnostic::error("syntax/unexpected", message).label(span, format!("expected {expected}"));
    let context = Context::of(source, offset, at);
    let named_with_equals =
        context == Context::Arguments && rest.trim_start_matches(found).trim_start().starts_with('=');
    let slipped = if named_with_equals { "=" } else { found };
    match slip(slipped, source, at, context).or_else(|| slip(last_word(source, at), source, at, context)) {
        Some(help) => problem.help(help),
        None => problem,
    }
}

/// The grammar gave up altogether.
pub(super) fn unreadable(error: &ParseError, file: FileId) -> Diagnostic {
    let at = match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
    };
    Diagnostic::error("syntax/unreadable", "this source cannot be read")
        .label(Span::new(file, at, at), "reading stopped here")
}

/// The levels of an expression; a failed attempt names the outermost one that starts where it got stuck.
const EXPRESSION: &[Rule] = &[
    Rule::expr,
    Rule::or_expr,
    Rule::and_expr,
    Rule::comparison,
    Rule::range,
    Rule::sum,
    Rule::product,
    Rule::unary,
    Rule::pipe,
    Rule::postfix,
    Rule::primary,
    Rule::number,
    Rule::name,
];

/// What the grammar was ready to accept, in the words of the language.
fn expected(source: &str, start: usize, at: usize, error: &ParseError) -> &'static str {
    let ErrorVariant::ParsingError { positives, .. } = &error.variant else { return "something else" };
    let has = |rule: Rule| positives.contains(&rule);
    let wants_expression = EXPRESSION.iter().any(|rule| has(*rule));
    if has(Rule::kw_in) {
        "`in`"
    } else if has(Rule::colon) && (has(Rule::eq) || positives.len() == 1) {
        "`:` and a type"
    } else if has(Rule::eq) && !has(Rule::sum_op) {
        "`=`"
    } else if wants_expression && before(source, at).ends_with("->") {
        "a stage after `->`"
    } else if has(Rule::rule_id) {
        "the name of a rule, `group/name`"
    } else if has(Rule::text) && !has(Rule::number) && !has(Rule::use_path) {
        "a reason in quotes"
    } else if has(Rule::type_expr) {
        "a type"
    } else if has(Rule::label_part) || has(Rule::label_text) {
        "a parameter path after `@`"
    } else if wants_expression {
        "an expression"
    } else if has(Rule::pattern) {
        "a name, or names in brackets"
    } else if has(Rule::use_path) {
        "the name of a file, `std.embed` or `\"blocks/stem.arch\"`"
    } else if has(Rule::init_target) {
        "the name of an operator, or `bias`"
    } else if has(Rule::ident) && !has(Rule::sum_op) {
        "a name"
    } else {
        expected_sign(source, start, at, positives)
    }
}

/// Only signs could follow: which one depends on what is open.
fn expected_sign(source: &str, start: usize, at: usize, positives: &[Rule]) -> &'static str {
    let head = source.get(start..at).unwrap_or("");
    match Context::of(source, start, at) {
        Context::Arguments => "`,` or `)`",
        Context::Brackets => "`,` or `]`",
        _ if positives.contains(&Rule::body) => "`{`",
        _ if first_word(head) == "let" && !head.contains('=') => "`=`",
        _ if matches!(first_word(head), "block" | "model") && !head.contains('(') => "`(`",
        _ if first_word(head) == "preset" && !head.contains('=') => "`=`",
        _ if matches!(first_word(head), "for" | "if" | "encoder" | "bottleneck" | "decoder") && !head.contains('{') => {
            "`{`"
        }
        _ if first_word(head) == "init" && !head.trim_end().ends_with('=') => "`=` and an initialiser",
        _ => "the end of the statement",
    }
}

fn before(source: &str, at: usize) -> &str {
    source.get(..at).unwrap_or("").trim_end()
}

/// What surrounds a place in a statement.
#[derive(Clone, Copy, PartialEq)]
enum Context {
    Item,
    Arguments,
    Brackets,
    Statement,
}

impl Context {
    fn of(source: &str, start: usize, at: usize) -> Self {
        let mut open = vec![];
        for c in source.get(start..at).unwrap_or("").chars() {
            match c {
                '(' | '[' | '{' => open.push(c),
                ')' | ']' | '}' => {
                    open.pop();
                }
                _ => {}
            }
        }
        match open.last() {
            Some('(') => Context::Arguments,
            Some('[') => Context::Brackets,
            _ => Context::Statement,
        }
    }
}

/// What people write who come from other languages, and what to write here.
fn slip(found: &str, source: &str, at: usize, context: Context) -> Option<&'static str> {
    let rest = source.get(at..).unwrap_or("");
    Some(match found {
        "=" if context == Context::Arguments => "arguments are named with a colon: `name: value`",
        ":" if context == Context::Statement => "types are inferred: `let h = x -> linear(64)`",
        "and" => "write `&&`",
        "or" => "write `||`",
        "not" => "write `!`",
        "return" => "the last expression of a block is its result; leave `return` out",
        "while" => "loops run over a range or a list: `for i in 0..depth { .. }`",
        "True" | "False" => "write `true` or `false`",
        "None" | "null" => "there is no null; give the parameter a default instead",
        "lambda" | "\\" => "a stage written in place is `{ h => .. }`",
        "'" => "text stands in double quotes",
        "*" if rest.starts_with("**") || before(source, at).ends_with('*') => "write `pow(base, exponent)`",
        "." => "there are no methods: write `x -> f()`",
        "|" | "|>" => "the arrow is `->`",
        "→" => "the arrow is `->`, in two characters",
        "←" => "the arrow is `<-`, in two characters",
        "#" => "comments start with `//`",
        "/" if rest.starts_with("/*") => "comments start with `//`",
        "def" | "fn" | "func" | "function" | "class" | "struct" | "module" | "layer" => {
            "a reusable part is a `block`: `block Name(x: image[C, H, W]) { .. }`"
        }
        "import" | "from" | "include" => "write `use std.embed.{PatchEmbed}`",
        "const" | "var" | "let" if context == Context::Item => {
            "values belong into a block or a model, or become its hyperparameters"
        }
        "=" => "`=` gives a new value to a name that `let` has bound",
        _ => return None,
    })
}

/// The word right before a place.
fn last_word(source: &str, at: usize) -> &str {
    let head = before(source, at);
    let start = head.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map_or(0, |found| found + 1);
    head.get(start..).unwrap_or("")
}

fn first_word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    text.get(..end).unwrap_or("")
}

/// The word, number or sign that starts at `at`.
fn token_at(source: &str, at: usize) -> &str {
    let rest = source.get(at..).unwrap_or("");
    let word = first_word(rest);
    if !word.is_empty() {
        return word;
    }
    if ["->", "<-", "=>", "==", "!=", "<=", ">=", "&&", "||", "|>", ".."].iter().any(|sign| rest.starts_with(sign)) {
        return rest.get(..2).unwrap_or("");
    }
    let end = rest.chars().next().map_or(0, char::len_utf8);
    rest.get(..end).unwrap_or("")
}

fn quoted(found: &str) -> String {
    match found {
        "" => "the end of the file".to_owned(),
        "\n" | "\r" => "the end of the line".to_owned(),
        _ => format!("`{found}`"),
    }
}
