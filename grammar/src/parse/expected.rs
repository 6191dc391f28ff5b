//! What the grammar was ready to accept at the place where it got stuck, in the words of the language.

use super::Rule;
use super::slips::word_at;

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

/// From the rules that were tried and the text before the place.
pub(super) fn expected(tried: &[Rule], before: &str, region_head: &str) -> &'static str {
    let has = |rule: Rule| tried.contains(&rule);
    let expression = EXPRESSION.iter().any(|rule| has(*rule));
    named(tried, before, region_head)
        .or_else(|| {
            if has(Rule::argument) {
                return Some("an argument");
            }
            if !expression {
                return None;
            }
            Some(match before {
                _ if before.ends_with("->") => "a stage after `->`",
                _ if before.ends_with(" if") => "a condition",
                _ if region_head.trim().is_empty() => "a statement",
                _ => "an expression",
            })
        })
        .or_else(|| sign(tried))
        .unwrap_or(match word_at(region_head) {
            "use" => "the names to import, `.{..}`",
            _ if region_head.is_empty() => "a statement",
            _ => "the end of the statement",
        })
}

/// What has a name of its own.
fn named(tried: &[Rule], before: &str, region_head: &str) -> Option<&'static str> {
    let has = |rule: Rule| tried.contains(&rule);
    let is_stage = has(Rule::stage_input) || has(Rule::ident);
    Some(if has(Rule::kw_in) {
        "`in`"
    } else if word_at(region_head) == "process"
        && (has(Rule::process_entry) || has(Rule::colon) || before.ends_with('{'))
    {
        if has(Rule::colon) { "`:` and a value" } else { "an entry, `name: value`" }
    } else if has(Rule::colon) {
        "`:` and a type"
    } else if has(Rule::eq) && has(Rule::save_sign) && region_head.contains("<-") {
        "`<-`"
    } else if has(Rule::eq) && !has(Rule::sum_op) && !has(Rule::comma) {
        "`=`"
    } else if has(Rule::rule_id) {
        "the name of a rule, `group/name`"
    } else if has(Rule::type_expr) || has(Rule::result_type) || has(Rule::named_result) || has(Rule::type_name) {
        "a type"
    } else if has(Rule::parameter) {
        "a parameter"
    } else if has(Rule::use_path) || region_head == "use" {
        "the name of a file, `std.embed` or `\"blocks/stem.arch\"`"
    } else if has(Rule::use_name) {
        "a name to import"
    } else if has(Rule::text) && !has(Rule::number) {
        "a reason in quotes"
    } else if has(Rule::label_part)
        || has(Rule::label_text)
        || has(Rule::label_here)
        || before.ends_with(['@'])
        || before.ends_with("@.")
    {
        "a parameter path after `@`"
    } else if let Some(outside) = before.strip_suffix('{').filter(|_| is_stage && !has(Rule::statement)) {
        in_braces(outside.trim_end())
    } else if has(Rule::init_target) || has(Rule::init_rule) {
        "the name of an operator, or `bias`"
    } else if has(Rule::ident) || has(Rule::pattern) || has(Rule::order_name) {
        "a name"
    } else {
        return None;
    })
}

/// Braces where a value is expected hold a stage; something else was meant where they follow an `if` or a sign.
fn in_braces(outside: &str) -> &'static str {
    if outside.ends_with("if") {
        "a condition before the `{`"
    } else if outside.ends_with(['&', '|', '<', '+', '-', '*', '/', '!']) {
        "an expression before the `{`"
    } else {
        "the name of the input and `=>`"
    }
}

/// Signs, where nothing else could follow.
fn sign(tried: &[Rule]) -> Option<&'static str> {
    let has = |rule: Rule| tried.contains(&rule);
    let closing = [
        (Rule::close_paren, "`)`", "`,` or `)`"),
        (Rule::close_bracket, "`]`", "`,` or `]`"),
        (Rule::close_brace, "`}`", "`,` or `}`"),
    ];
    let closes = closing.iter().find(|(rule, ..)| has(*rule));
    Some(match closes {
        Some((_, _, listed)) if has(Rule::comma) => listed,
        Some((_, alone, _)) => alone,
        None if has(Rule::EOI) && !has(Rule::arguments) => return None,
        None if has(Rule::open_brace) || has(Rule::body) => "`{`",
        None if has(Rule::parameters) || has(Rule::open_paren) => "`(`",
        None => return None,
    })
}
