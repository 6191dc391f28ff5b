//! Text to syntax tree: one conversion function per grammar rule.

mod coverage;
mod expected;
mod explain;
mod expressions;
mod items;
mod scan;
mod slips;
mod statements;

use crate::ast::{Expr, File, Name};
use crate::diagnostic::{Diagnostic, Level};
use crate::span::{FileId, Span};
use pest::Parser;
use pest::iterators::Pair;
use std::collections::BTreeSet;
use std::sync::Arc;

pub use coverage::{grammar_rules, rules_of};
pub use scan::{MAX_DEPTH, MAX_SOURCE_BYTES};
pub use slips::foreign_word;

// pest derives a public `Rule`; the private module keeps it from leaving the crate.
mod rules {
    #[derive(pest_derive::Parser)]
    #[grammar = "arch.pest"]
    pub(crate) struct ArchParser;
}
pub(crate) use rules::{ArchParser, Rule};

/// What a source holds and what is wrong with its text.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    pub file: File,
    pub problems: Vec<Diagnostic>,
    /// Names of definitions that could not be parsed: they exist, but nothing more is known of them.
    pub broken: Vec<Arc<str>>,
}

/// Parses a whole source. Reports every syntax error that can be told apart from the others.
pub fn parse(source: &str, file: FileId) -> Parsed {
    let scan = scan::scan(source, file);
    if scan.fatal {
        return Parsed { problems: scan.problems, ..Parsed::default() };
    }
    let text = scan.balanced.as_deref().unwrap_or(source);
    let mut builder = Builder::new(text, file, scan.repairs);
    let tree = match ArchParser::parse(Rule::file, text) {
        Ok(mut pairs) => match pairs.next() {
            Some(root) => builder.file(root),
            None => File::default(),
        },
        Err(error) => {
            builder.problems.push(explain::unreadable(&error, file));
            File::default()
        }
    };
    let mut problems = std::mem::take(&mut builder.problems);
    problems.retain(|problem| problem.span().is_some_and(|span| !builder.is_echo(span)));
    problems.extend(scan.problems);
    problems.extend(scan.divisions.into_iter().filter_map(|(sign, word)| builder.division(sign, &word)));
    problems.sort_by_key(Diagnostic::span);
    Parsed { file: tree, problems, broken: builder.broken }
}

/// Parses a single expression, as given to `--set name=expression`.
pub fn parse_expression(source: &str, file: FileId) -> Result<Expr, Box<Diagnostic>> {
    let scan = scan::scan(source, file);
    if let Some(problem) = scan.problems.into_iter().next() {
        return Err(Box::new(problem));
    }
    let mut builder = Builder::new(source, file, vec![]);
    let mut pairs = ArchParser::parse(Rule::lone_expr, source)
        .map_err(|error| Box::new(explain::explain(source, file, 0, source, &error)))?;
    let expr = pairs
        .next()
        .and_then(|root| root.into_inner().find(|pair| pair.as_rule() == Rule::expr))
        .map(|pair| builder.expr(pair));
    match (expr, builder.problems.into_iter().next()) {
        (_, Some(problem)) => Err(Box::new(problem)),
        (Some(expr), None) => Ok(expr),
        (None, None) => Err(Box::new(Diagnostic::error("syntax/expression", "expected an expression"))),
    }
}

/// Turns pairs into tree nodes and collects what is wrong with them.
struct Builder<'a> {
    source: &'a str,
    file: FileId,
    /// Where brackets and quotes were taken out, in order.
    repairs: Vec<u32>,
    problems: Vec<Diagnostic>,
    broken: Vec<Arc<str>>,
    /// All names that the source gives to something.
    bound: BTreeSet<Arc<str>>,
    /// Where items start.
    items: Vec<u32>,
}

impl<'a> Builder<'a> {
    fn new(source: &'a str, file: FileId, repairs: Vec<u32>) -> Self {
        Self { source, file, repairs, problems: vec![], broken: vec![], bound: BTreeSet::new(), items: vec![] }
    }

    fn span(&self, pair: &Pair<'_, Rule>) -> Span {
        let span = pair.as_span();
        // A rule may end in skipped blanks; the place ends where its text ends.
        let end = span.start() + span.as_str().trim_end().len();
        Span::new(self.file, span.start(), end)
    }

    fn name(&self, pair: &Pair<'_, Rule>) -> Name {
        Name { text: Arc::from(pair.as_str().trim()), span: self.span(pair) }
    }

    /// A name that is given to something, which a word of the language cannot be.
    fn binding(&mut self, pair: &Pair<'_, Rule>) -> Name {
        let name = self.name(pair);
        if ArchParser::parse(Rule::keyword, &name.text).is_ok() {
            let problem = Diagnostic::error("syntax/keyword", format!("`{}` is a word of the language", name.text))
                .label(name.span, "cannot be a name");
            self.report(problem);
        }
        self.bound.insert(name.text.clone());
        name
    }

    /// A comment that consists of a number or of a name of the source, right behind an expression.
    fn division(&self, sign: Span, word: &str) -> Option<Diagnostic> {
        let is_operand = word.chars().all(|c| c.is_ascii_digit()) || self.bound.contains(word);
        is_operand.then(|| {
            Diagnostic::new(Level::Warning, "syntax/division-comment", "`//` starts a comment; this is no division")
                .label(sign, format!("`{word}` is not read"))
                .help("divide with `/`, which leaves no remainder, or round with `floor(a / b)`")
        })
    }

    fn report(&mut self, problem: Diagnostic) {
        self.problems.push(problem);
    }

    /// Whether an error stands at an unbalanced bracket or quote, or behind one in the same item.
    fn is_echo(&self, span: Span) -> bool {
        let rest = self.source.get(span.end as usize..).unwrap_or("");
        let end = span.end + (rest.len() - rest.trim_start().len()) as u32 + 1;
        let before = self.items.partition_point(|start| *start <= span.start);
        let start = before.checked_sub(1).and_then(|at| self.items.get(at)).copied().unwrap_or(0);
        self.is_repaired(Span { start, end, ..span })
    }

    /// Whether a bracket or a quote was taken out of a piece of text, so that its meaning is lost.
    fn is_repaired(&self, span: Span) -> bool {
        let after_start = self.repairs.partition_point(|at| *at < span.start);
        self.repairs.get(after_start).is_some_and(|at| *at < span.end)
    }

    /// The lines of the `///` comment that ends right above `start`.
    fn docs_above(&self, start: usize) -> String {
        let Some(before) = self.source.get(..start) else { return String::new() };
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        if !before.get(line_start..).unwrap_or("").trim().is_empty() {
            return String::new();
        }
        let mut lines: Vec<&str> = vec![];
        for line in before.get(..line_start).unwrap_or("").lines().rev() {
            match line.trim_start().strip_prefix("///") {
                Some(text) => lines.push(text.strip_prefix(' ').unwrap_or(text).trim_end()),
                None => break,
            }
        }
        lines.reverse();
        lines.join("\n")
    }
}

/// The inner pairs of a rule that carry meaning.
type Children<'i> = std::iter::Peekable<std::vec::IntoIter<Pair<'i, Rule>>>;

fn children(pair: Pair<'_, Rule>) -> Children<'_> {
    let meaningful = |pair: &Pair<'_, Rule>| {
        !matches!(
            pair.as_rule(),
            Rule::eq
                | Rule::colon
                | Rule::save_sign
                | Rule::arrow
                | Rule::range_op
                | Rule::comma
                | Rule::open_brace
                | Rule::close_brace
                | Rule::open_paren
                | Rule::close_paren
                | Rule::open_bracket
                | Rule::close_bracket
                | Rule::kw_as
                | Rule::kw_use
                | Rule::kw_preset
                | Rule::kw_let
                | Rule::kw_for
                | Rule::kw_in
                | Rule::kw_if
                | Rule::kw_else
                | Rule::kw_residual
        )
    };
    pair.into_inner().filter(meaningful).collect::<Vec<_>>().into_iter().peekable()
}

/// The next of `pairs`, if it is of that kind.
fn take<'i>(pairs: &mut Children<'i>, rule: Rule) -> Option<Pair<'i, Rule>> {
    pairs.next_if(|pair| pair.as_rule() == rule)
}
