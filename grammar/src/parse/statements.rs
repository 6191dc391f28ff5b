//! Statements and bodies.

use super::{Builder, Children, Rule, children, explain, take};
use crate::ast::{
    Body, Expr, ExprKind, For, InitRule, Name, ParameterPath, Pattern, Section, SectionKind, StageBody, Statement,
    StatementKind,
};
use crate::span::Span;
use pest::iterators::Pair;
use std::sync::Arc;

impl Builder<'_> {
    /// `{ statement* }`
    pub(super) fn body(&mut self, pair: Pair<'_, Rule>) -> Body {
        let span = self.span(&pair);
        let pairs = children(pair);
        Body { statements: self.statements(pairs), span }
    }

    /// Statements stand on lines of their own, or have `;` between them.
    fn statements(&mut self, pairs: Children<'_>) -> Vec<Statement> {
        let mut statements: Vec<Statement> = vec![];
        let mut reported_line_of: Option<u32> = None;
        for pair in pairs.filter(|pair| pair.as_rule() == Rule::statement) {
            let span = self.span(&pair);
            if let Some(previous) = statements.last()
                && self.same_line(previous.span, span)
            {
                if reported_line_of.is_none_or(|end| !self.same_line(Span { end, ..span }, span)) {
                    let start = previous.span.start as usize;
                    self.run_on(start, span.end as usize);
                }
                reported_line_of = Some(span.end);
                continue;
            }
            let adjacent_to_bad = statements.last().is_some_and(|last| is_invalid(&last.kind));
            let problems = self.problems.len();
            if let Some(statement) = self.statement(pair) {
                // One slip often breaks the following line too; its first report is enough.
                if adjacent_to_bad && is_invalid(&statement.kind) {
                    self.problems.truncate(problems);
                }
                statements.push(statement);
            }
        }
        statements
    }

    fn same_line(&self, before: Span, after: Span) -> bool {
        let between = self.source.get(before.end as usize..after.start as usize).unwrap_or("\n");
        !between.contains('\n') && !between.contains(';')
    }

    /// A second statement on the line of the first: what stopped the first one there?
    fn run_on(&mut self, start: usize, end: usize) {
        let rest = self.source.get(end..).unwrap_or("");
        let stop = end + rest.find(['\n', ';', '}']).unwrap_or(rest.len());
        let text = self.source.get(start..stop).unwrap_or("");
        let problem = explain::statement(self.source, self.file, start, text);
        self.report(problem);
    }

    fn statement(&mut self, pair: Pair<'_, Rule>) -> Option<Statement> {
        let span = self.span(&pair);
        let mut inner = children(pair);
        let allows = self.allows(&mut inner);
        let pair = inner.next()?;
        let kind = match pair.as_rule() {
            Rule::let_statement => self.let_statement(pair)?,
            Rule::for_statement => self.for_statement(pair)?,
            Rule::init_statement => StatementKind::Init(self.init_statement(pair)),
            Rule::skip_statement => self.skip_statement(pair)?,
            Rule::order_statement => StatementKind::Order(children(pair).map(|name| self.name(&name)).collect()),
            Rule::section => self.section(pair)?,
            Rule::save_statement => {
                let (skip, value) = self.name_and_value(pair)?;
                StatementKind::Save { skip, value }
            }
            Rule::assign_statement => {
                let (name, value) = self.name_and_value(pair)?;
                StatementKind::Assign { name, value }
            }
            Rule::expr_statement => StatementKind::Expr(self.expr(children(pair).next()?)),
            _ => {
                let problem = explain::statement(self.source, self.file, pair.as_span().start(), pair.as_str());
                self.report(problem);
                bad_let(pair.as_str(), span).unwrap_or(StatementKind::Expr(Expr { kind: ExprKind::Invalid, span }))
            }
        };
        Some(Statement { allows, kind, span })
    }

    /// `let h = x -> f()`, `let [shift, scale] = c -> chunk(2)`
    fn let_statement(&mut self, pair: Pair<'_, Rule>) -> Option<StatementKind> {
        let mut inner = children(pair);
        let pattern = self.pattern(inner.next()?);
        Some(StatementKind::Let { pattern, value: self.expr(inner.next()?) })
    }

    fn pattern(&self, pair: Pair<'_, Rule>) -> Pattern {
        let span = self.span(&pair);
        let is_list = pair.as_str().starts_with(['[', '(']);
        let mut names: Vec<Name> = children(pair).map(|name| self.name(&name)).collect();
        match names.pop() {
            Some(name) if !is_list => Pattern::Name(name),
            last => {
                names.extend(last);
                Pattern::List(names, span)
            }
        }
    }

    /// `h = ..`, `long <- ..`
    fn name_and_value(&mut self, pair: Pair<'_, Rule>) -> Option<(Name, Expr)> {
        let mut inner = children(pair);
        let name = self.name(&inner.next()?);
        Some((name, self.expr(inner.next()?)))
    }

    /// `for ch, i in channels @down.{i} { .. }`
    fn for_statement(&mut self, pair: Pair<'_, Rule>) -> Option<StatementKind> {
        let mut inner = children(pair);
        let item = self.name(&inner.next()?);
        let index = take(&mut inner, Rule::ident).map(|pair| self.name(&pair));
        let header = self.expr(inner.next()?);
        let body = self.body(inner.next()?);
        // The grammar reads the label as that of the list; it names the iterations.
        let (iterable, label) = match header.kind {
            ExprKind::Labelled { inner, label } => (*inner, Some(label)),
            kind => (Expr { kind, ..header }, None),
        };
        Some(StatementKind::For(Box::new(For { item, index, iterable, label, body })))
    }

    /// `init linear = xavier_uniform, bias = zero`
    fn init_statement(&mut self, pair: Pair<'_, Rule>) -> Vec<InitRule> {
        let mut rules = vec![];
        for rule in children(pair) {
            let mut inner = children(rule);
            if let (Some(target), Some(value)) = (inner.next(), inner.next()) {
                rules.push(InitRule { target: self.name(&target), value: self.expr(value) });
            }
        }
        rules
    }

    /// `skip long(fuse: concat)`
    fn skip_statement(&mut self, pair: Pair<'_, Rule>) -> Option<StatementKind> {
        let mut inner = children(pair);
        let name = self.name(&inner.next()?);
        let arguments = inner.next().map(|pair| self.arguments(pair)).unwrap_or_default();
        Some(StatementKind::Skip { name, arguments })
    }

    /// `bottleneck @mid_block { .. }`
    fn section(&mut self, pair: Pair<'_, Rule>) -> Option<StatementKind> {
        let mut inner = children(pair);
        let kind = match inner.next()?.as_str() {
            "encoder" => SectionKind::Encoder,
            "decoder" => SectionKind::Decoder,
            _ => SectionKind::Bottleneck,
        };
        let label: Option<ParameterPath> = take(&mut inner, Rule::label).map(|pair| self.label(pair));
        let body = self.body(inner.next()?);
        Some(StatementKind::Section(Section { kind, label, body }))
    }

    /// `{ h => statement* }`, or the braces behind `residual`
    pub(super) fn stage_body(&mut self, mut pairs: Children<'_>, span: Span) -> StageBody {
        let input =
            take(&mut pairs, Rule::stage_input).and_then(|pair| children(pair).next()).map(|pair| self.name(&pair));
        StageBody { input, body: Body { statements: self.statements(pairs), span } }
    }
}

fn is_invalid(kind: &StatementKind) -> bool {
    matches!(
        kind,
        StatementKind::Expr(Expr { kind: ExprKind::Invalid, .. })
            | StatementKind::Let { value: Expr { kind: ExprKind::Invalid, .. }, .. }
            | StatementKind::Assign { value: Expr { kind: ExprKind::Invalid, .. }, .. }
    )
}

/// The names that a broken `let` or assignment would have bound stay bound, so that their uses are not reported too.
fn bad_let(text: &str, span: Span) -> Option<StatementKind> {
    let value = Expr { kind: ExprKind::Invalid, span };
    let name = |word: &str| Name { text: Arc::from(word.trim()), span };
    let is_name = |word: &str| {
        let word = word.trim();
        word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if let Some(rest) = text.strip_prefix("let ") {
        let end = rest.find('=').unwrap_or(rest.len());
        let target = rest.get(..end).unwrap_or("").trim().trim_start_matches(['[', '(']).trim_end_matches([']', ')']);
        let names: Vec<Name> = target.split(',').filter(|word| is_name(word)).map(name).collect();
        let pattern = match <[Name; 1]>::try_from(names) {
            Ok([name]) => Pattern::Name(name),
            Err(names) => Pattern::List(names, span),
        };
        return Some(StatementKind::Let { pattern, value });
    }
    let (target, _) = text.split_once('=')?;
    is_name(target).then(|| StatementKind::Assign { name: name(target), value })
}
