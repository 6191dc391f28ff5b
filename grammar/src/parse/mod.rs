//! Text to syntax tree: one conversion function per grammar rule.

mod explain;
mod expressions;
mod items;
mod scan;
mod statements;

use crate::ast::{Expr, File, Name};
use crate::diagnostic::Diagnostic;
use crate::span::{FileId, Span};
use pest::Parser;
use pest::iterators::Pair;
use std::sync::Arc;

pub use scan::{MAX_DEPTH, MAX_SOURCE_BYTES};

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
    let mut builder = Builder { source, file, problems: vec![], broken: vec![] };
    let tree = match ArchParser::parse(Rule::file, source) {
        Ok(mut pairs) => match pairs.next() {
            Some(root) => builder.file(root),
            None => File::default(),
        },
        Err(error) => {
            builder.problems.push(explain::unreadable(&error, file));
            File::default()
        }
    };
    // Behind an unbalanced bracket every further error is an echo of it.
    let horizon = scan.problems.iter().filter_map(Diagnostic::span).map(|span| span.start).min();
    let mut problems = builder.problems;
    if let Some(horizon) = horizon {
        problems.retain(|problem| problem.span().is_some_and(|span| span.end < horizon));
    }
    problems.extend(scan.problems);
    problems.sort_by_key(Diagnostic::span);
    Parsed { file: tree, problems, broken: builder.broken }
}

/// Parses a single expression, as given to `--set name=expression`.
pub fn parse_expression(source: &str, file: FileId) -> Result<Expr, Box<Diagnostic>> {
    let scan = scan::scan(source, file);
    if let Some(problem) = scan.problems.into_iter().next() {
        return Err(Box::new(problem));
    }
    let mut builder = Builder { source, file, problems: vec![], broken: vec![] };
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
    problems: Vec<Diagnostic>,
    broken: Vec<Arc<str>>,
}

impl Builder<'_> {
    fn span(&self, pair: &Pair<'_, Rule>) -> Span {
        let span = pair.as_span();
        // A rule may end in skipped blanks; the place ends where its text ends.
        let end = span.start() + span.as_str().trim_end().len();
        Span::new(self.file, span.start(), end)
    }

    fn name(&self, pair: &Pair<'_, Rule>) -> Name {
        Name { text: Arc::from(pair.as_str().trim()), span: self.span(pair) }
    }

    fn report(&mut self, problem: Diagnostic) {
        self.problems.push(problem);
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
