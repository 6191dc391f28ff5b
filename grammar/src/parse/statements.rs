//! Statements and bodies.

use super::{Builder, Children, Rule, children, explain, take};
use crate::ast::{
    Argument, Body, Expr, ExprKind, For, InitRule, Name, ParameterPath, Pattern, Section, SectionKind, StageBody,
    Statement, StatementKind,
};
use crate::diagnostic::Diagnostic;
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
        let mut after_slip = false;
        for pair in pairs.filter(|pair| pair.as_rule() == Rule::statement) {
            let span = self.span(&pair);
            if let Some(previous) = statements.last()
                && self.same_line(previous.span, span)
            {
                if reported_line_of.is_none_or(|end| !self.same_line(Span { end, ..span }, span)) {
                    let previous = previous.span;
                    let line = self.run_on(previous.start as usize, span.end as usize);
                    // What was read of it may be something else than what was meant.
                    if let Some(statement) = statements.last_mut() {
                        match bad_let(line, previous) {
                            Some(kind) if matches!(statement.kind, StatementKind::Expr(_)) => statement.kind = kind,
                            _ => poison(statement),
                        }
                    }
                }
                reported_line_of = Some(span.end);
                continue;
            }
            let is_slip = has_slip(&pair);
            let problems = self.problems.len();
            if let Some(statement) = self.statement(pair) {
                // One slip often breaks the following line too; its first report is enough.
                if after_slip && is_slip {
                    self.problems.truncate(problems);
                }
                statements.push(statement);
                if self.is_repaired(Span { end: self.line_end(span.end), ..span }) {
                    statements.last_mut().into_iter().for_each(poison);
                }
            }
            after_slip = is_slip;
        }
        statements
    }

    fn line_end(&self, at: u32) -> u32 {
        let rest = self.source.get(at as usize..).unwrap_or("");
        at + rest.find('\n').unwrap_or(rest.len()) as u32
    }

    fn same_line(&self, before: Span, after: Span) -> bool {
        let between = self.source.get(before.end as usize..after.start as usize).unwrap_or("\n");
        !between.contains('\n') && !between.contains(';')
    }

    /// A second statement on the line of the first: what stopped the first one there? Returns the line.
    fn run_on(&mut self, start: usize, end: usize) -> &str {
        let rest = self.source.get(end..).unwrap_or("");
        let stop = end + rest.find(['\n', ';', '}']).unwrap_or(rest.len());
        let text = self.source.get(start..stop).unwrap_or("");
        let problem = explain::statement(self.source, self.file, start, text);
        self.problems.push(problem);
        text
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
            Rule::process_statement => StatementKind::Process(self.process(pair)),
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

    fn pattern(&mut self, pair: Pair<'_, Rule>) -> Pattern {
        let span = self.span(&pair);
        let is_list = pair.as_str().starts_with(['[', '(']);
        let mut names: Vec<Name> = children(pair).map(|name| self.binding(&name)).collect();
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
        let name = self.binding(&inner.next()?);
        Some((name, self.expr(inner.next()?)))
    }

    /// `for ch, i in channels @down.{i} { .. }`
    fn for_statement(&mut self, pair: Pair<'_, Rule>) -> Option<StatementKind> {
        let mut inner = children(pair);
        let item = self.binding(&inner.next()?);
        let index = take(&mut inner, Rule::ident).map(|pair| self.binding(&pair));
        let header = self.expr(inner.next()?);
        let body = self.body(inner.next()?);
        // The grammar reads the label as that of the list or of the end of the range; it names the iterations.
        let (iterable, label) = detach_label(header);
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
        let name = self.binding(&inner.next()?);
        let arguments = self.optional_arguments(&mut inner);
        Some(StatementKind::Skip { name, arguments })
    }

    /// `process { schedule: cosine }`, entries on lines of their own or with `,` or `;` between them
    fn process(&mut self, pair: Pair<'_, Rule>) -> Vec<Argument> {
        let mut entries: Vec<Argument> = vec![];
        for entry in children(pair).filter(|pair| pair.as_rule() == Rule::process_entry) {
            let span = self.span(&entry);
            let mut inner = children(entry);
            let (Some(name), Some(value)) = (inner.next(), inner.next()) else { continue };
            let name = self.name(&name);
            let before = entries.last().map(|entry| entry.value.span);
            if let Some(before) = before
                && self.runs_on(before, span)
            {
                let problem = Diagnostic::error("syntax/statement", "two entries of a process run into each other")
                    .label(name.span, "a second entry on the line of the first")
                    .help("put it on a line of its own, or a `,` before it");
                self.report(problem);
            }
            entries.push(Argument { name: Some(name), value: self.expr(value) });
        }
        entries
    }

    /// Whether nothing stands between two pieces of a line.
    fn runs_on(&self, before: Span, after: Span) -> bool {
        let between = self.source.get(before.end as usize..after.start as usize).unwrap_or("\n");
        !between.contains(['\n', ';', ','])
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
            take(&mut pairs, Rule::stage_input).and_then(|pair| children(pair).next()).map(|pair| self.binding(&pair));
        StageBody { input, body: Body { statements: self.statements(pairs), span } }
    }
}

/// The label at the right end of what a loop runs over, and the rest.
fn detach_label(header: Expr) -> (Expr, Option<ParameterPath>) {
    let span = header.span;
    let (kind, label) = match header.kind {
        ExprKind::Labelled { inner, label } => return (*inner, Some(label)),
        ExprKind::Range { start, end } => {
            let (end, label) = detach_label(*end);
            (ExprKind::Range { start, end: Box::new(end) }, label)
        }
        ExprKind::Chain { first, mut rest } => {
            let last = rest.pop().map(|(operator, operand)| (operator, detach_label(operand)));
            let label = last.and_then(|(operator, (operand, label))| {
                rest.push((operator, operand));
                label
            });
            (ExprKind::Chain { first, rest }, label)
        }
        kind => (kind, None),
    };
    let end = label.as_ref().map_or(span.end, |label| label.span.start);
    (Expr { kind, span: Span { end, ..span } }, label)
}

/// Whether the grammar could make nothing of a statement.
fn has_slip(statement: &Pair<'_, Rule>) -> bool {
    statement.clone().into_inner().any(|pair| pair.as_rule() == Rule::bad_statement)
}

/// Takes the meaning of a statement away and keeps the names that it binds. What stands in the body of a loop or a
/// section has a meaning of its own.
fn poison(statement: &mut Statement) {
    let invalid = Expr { kind: ExprKind::Invalid, span: statement.span };
    match &mut statement.kind {
        StatementKind::Let { value, .. }
        | StatementKind::Assign { value, .. }
        | StatementKind::Save { value, .. }
        | StatementKind::Expr(value) => *value = invalid,
        StatementKind::Skip { .. }
        | StatementKind::Init(_)
        | StatementKind::Order(_)
        | StatementKind::Process(_)
        | StatementKind::For(_)
        | StatementKind::Section(_) => {}
    }
}

/// The names that a broken `let` or assignment would have bound stay bound, so that their uses are not reported too.
fn bad_let(text: &str, span: Span) -> Option<StatementKind> {
    let value = Expr { kind: ExprKind::Invalid, span };
    let (target, rest) = text.split_once(['=', ':', '\n']).unwrap_or((text, ""));
    let mut words = target
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty() && *word != "mut")
        .peekable();
    let binds = words.next_if(|word| matches!(*word, "let" | "var" | "val" | "const" | "auto")).is_some();
    if !binds && (!text.contains('=') || rest.starts_with(['=', '>'])) {
        return None;
    }
    let mut names: Vec<Name> = words.map(|word| Name { text: Arc::from(word), span }).collect();
    if binds && !target.contains(',') {
        names.truncate(1);
    }
    match <[Name; 1]>::try_from(names) {
        Ok([name]) if !binds => Some(StatementKind::Assign { name, value }),
        Ok([name]) => Some(StatementKind::Let { pattern: Pattern::Name(name), value }),
        Err(mut names) if binds => {
            names.retain(|name| !name.text.starts_with(|c: char| c.is_ascii_digit()));
            Some(StatementKind::Let { pattern: Pattern::List(names, span), value })
        }
        Err(_) => None,
    }
}
