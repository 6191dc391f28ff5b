//! What stands at a place of a source, for fixes: rules find in the graph, fixes change the text.
//!
//! Nothing here looks into the standard library: it is part of the program, and no fix can change it.

mod import;
mod stage;

use super::Context;
use crate::ir::{AllowEntry, Declared, NodeId};
use crate::ops::signatures;
use crate::source::SourceMap;
use crate::types::Kind;
use archc_grammar::ast::{Argument, Body, Definition, Expr, ExprKind, ItemKind, Operator, Statement, StatementKind};
use archc_grammar::{Edit, Fix, Safety, Span, parse, parse_expression};
pub(crate) use stage::Stage;
use std::sync::Arc;

/// A norm that has nothing to learn, so that weights of before still load.
pub(crate) const PLAIN_NORM: &str = "layer_norm(affine: false)";

/// A norm of that kind of value that has nothing to learn.
pub(crate) fn plain_norm(kind: Kind) -> &'static str {
    if matches!(kind, Kind::Tokens | Kind::Vector) { PLAIN_NORM } else { "pixel_norm()" }
}

const RESIDUAL: &str = "residual";

/// A call as it is written: `linear(64, init: zero)`, the bare word `silu`, or `residual(drop: 0.1) { .. }`.
pub(crate) struct Call {
    /// Whether it has parentheses.
    open: bool,
    callee: Span,
    pub name: Arc<str>,
    arguments: Vec<Given>,
}

/// An argument with its text.
struct Given {
    name: Option<Arc<str>>,
    span: Span,
    value: Span,
    text: String,
}

impl Call {
    /// The text of an argument that is given by name.
    pub fn argument(&self, name: &str) -> Option<&str> {
        self.find(name).map(|(_, given)| given.text.as_str())
    }

    fn find(&self, name: &str) -> Option<(usize, &Given)> {
        let is_named = |given: &Given| given.name.as_ref().is_some_and(|own| **own == *name);
        self.arguments.iter().enumerate().find(|(_, given)| is_named(given))
    }

    /// Gives an argument by name, in place of the one it may have.
    pub fn set(&self, name: &str, value: &str) -> Edit {
        if let Some((_, given)) = self.find(name) {
            return Edit::new(given.value, value);
        }
        let argument = format!("{name}: {value}");
        match self.arguments.last() {
            Some(last) => Edit::new(last.span.after(), format!(", {argument}")),
            None if self.open => {
                let inside = self.callee.end + 1;
                Edit::new(Span { start: inside, end: inside, ..self.callee }, argument)
            }
            None => Edit::new(self.callee.after(), format!("({argument})")),
        }
    }

    /// Gives an argument another value; none where it is not given by name.
    pub fn replace(&self, name: &str, value: &str) -> Option<Edit> {
        self.find(name).map(|(_, given)| Edit::new(given.value, value))
    }

    /// Calls something else with the same arguments.
    pub fn rename(&self, name: &str) -> Edit {
        Edit::new(self.callee, name)
    }

    /// The text of an argument that is given by its place.
    pub fn positional(&self, at: usize) -> Option<&str> {
        self.arguments.iter().filter(|given| given.name.is_none()).nth(at).map(|given| given.text.as_str())
    }

    /// Where an argument stands that is given by its place.
    pub fn place(&self, at: usize) -> Option<Span> {
        self.arguments.iter().filter(|given| given.name.is_none()).nth(at).map(|given| given.value)
    }

    /// Whether an operator is called, rather than a block or a stage of the user.
    pub fn is_operator(&self) -> bool {
        signatures().iter().any(|signature| signature.name == &*self.name)
    }

    /// Changes a number that is given by that name, or as the only argument that is this number.
    pub fn change_number(&self, name: &str, from: u64, to: u64) -> Option<Edit> {
        let is_it = |given: &&Given| given.text.parse() == Ok(from);
        let mut alike = self.arguments.iter().filter(|given| given.name.is_none()).filter(is_it);
        let given = match (self.find(name).map(|(_, given)| given), alike.next(), alike.next()) {
            (Some(named), _, _) => Some(named).filter(is_it),
            (None, only, None) => only,
            (None, ..) => None,
        };
        given.map(|given| Edit::new(given.value, to.to_string()))
    }

    /// Leaves an argument out that is given by name.
    pub fn without(&self, name: &str) -> Option<Edit> {
        let (at, given) = self.find(name)?;
        let before = at.checked_sub(1).and_then(|before| self.arguments.get(before));
        let span = match (before, self.arguments.get(at + 1)) {
            (Some(before), _) => Span { start: before.span.end, ..given.span },
            (None, Some(next)) => Span { end: next.span.start, ..given.span },
            (None, None) => given.span,
        };
        Some(Edit::new(span, ""))
    }

    /// Calls something else with nothing but what is not given by name.
    pub fn renamed(&self, name: &str) -> Vec<Edit> {
        let dropped = self.arguments.iter().filter_map(|given| given.name.as_ref()).filter_map(|own| self.without(own));
        std::iter::once(Edit::new(self.callee, name)).chain(dropped).collect()
    }
}

impl Context<'_> {
    /// The text of a place that a fix may change.
    pub fn written(&self, span: Span) -> Option<&str> {
        let source = self.sources.get(span.file)?;
        if self.sources.is_library(span.file) {
            return None;
        }
        source.text.get(span.start as usize..span.end as usize)
    }

    /// The edit that puts other text at a place.
    pub fn replace(&self, span: Span, text: impl Into<String>) -> Option<Edit> {
        self.written(span).map(|_| Edit::new(span, text))
    }

    /// Whether exactly that text stands at a place that a fix may change.
    pub fn reads(&self, span: Span, text: &str) -> bool {
        self.written(span).is_some_and(|own| own.trim() == text)
    }

    /// The call at a place.
    pub fn call(&self, span: Span) -> Option<Call> {
        let text = self.written(span)?;
        let expr = self.expression(span)?;
        let shift =
            |inner: Span| Span { start: inner.start + span.start, end: inner.end + span.start, file: span.file };
        if let ExprKind::Name(name) = expr.kind {
            return Some(Call { open: false, callee: span, name, arguments: vec![] });
        }
        let (name, callee, arguments) = if let ExprKind::Residual { arguments, .. } = expr.kind {
            (RESIDUAL.into(), Span { end: span.start + RESIDUAL.len() as u32, ..span }, arguments)
        } else {
            let ExprKind::Call { callee, arguments } = expr.kind else { return None };
            let ExprKind::Name(name) = callee.kind else { return None };
            (name, shift(callee.span), arguments)
        };
        let open = text.get((callee.end - span.start) as usize..).is_some_and(|rest| rest.starts_with('('));
        let given = |argument: Argument| {
            let value = argument.value.span;
            Given {
                span: shift(argument.name.as_ref().map_or(value, |name| name.span.to(value))),
                text: value.text(text).to_owned(),
                value: shift(value),
                name: argument.name.map(|name| name.text),
            }
        };
        let arguments = arguments.into_iter().map(given).collect();
        Some(Call { open, callee, name, arguments })
    }

    /// The two factors of the product at a place, where they are written as such.
    pub fn factors(&self, span: Span) -> Option<(Span, Span)> {
        let (first, operator, second) = self.two(span)?;
        (operator == Operator::Multiply).then_some((first, second))
    }

    /// What stands on both sides of the only operator at a place.
    pub fn two(&self, span: Span) -> Option<(Span, Operator, Span)> {
        let shift =
            |inner: Span| Span { start: inner.start + span.start, end: inner.end + span.start, file: span.file };
        let ExprKind::Chain { first, rest } = self.expression(span)?.kind else { return None };
        match rest.as_slice() {
            [(operator, second)] => Some((shift(first.span), *operator, shift(second.span))),
            _ => None,
        }
    }

    /// Normalises the queries and keys that `attention(q, k, v)` is called with.
    pub fn normalized_scores(&self, attention: Span) -> Option<Fix> {
        let call = self.call(attention).filter(|call| *call.name == *"attention")?;
        let heads = call.argument("heads").unwrap_or("1");
        let normalized = |at: usize| {
            let text = format!("({}) -> rms_norm(heads: {heads}, affine: false)", call.positional(at)?);
            Some(Edit::new(call.place(at)?, text))
        };
        Some(Fix::new("normalise queries and keys", Safety::Unsafe, vec![normalized(0)?, normalized(1)?]))
    }

    /// Whether nothing but a name stands at a place.
    pub fn is_name(&self, span: Span) -> bool {
        self.expression(span).is_some_and(|expr| matches!(expr.kind, ExprKind::Name(_)))
    }

    /// Whether the value at a place is made of numbers: `0.7`, `sqrt(2)`.
    pub fn number(&self, span: Span) -> Option<()> {
        fn is_number(expr: &Expr) -> bool {
            if let ExprKind::Call { arguments, .. } = &expr.kind {
                return !arguments.is_empty() && arguments.iter().all(|argument| is_number(&argument.value));
            }
            let parts = expr.children();
            match matches!(expr.kind, ExprKind::Chain { .. } | ExprKind::Unary { .. }) {
                true => parts.into_iter().all(is_number),
                false => matches!(expr.kind, ExprKind::Int(_) | ExprKind::Float(_)),
            }
        }
        is_number(&self.expression(span)?).then_some(())
    }

    /// Where nodes are written, each place once.
    pub fn places(&self, nodes: &[NodeId]) -> Vec<Span> {
        let mut places: Vec<Span> = nodes.iter().map(|node| self.place(*node)).collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    /// Whether a sum stands at a place.
    pub fn sum(&self, span: Span) -> Option<()> {
        let ExprKind::Chain { rest, .. } = self.expression(span)?.kind else { return None };
        rest.iter().all(|(operator, _)| *operator == Operator::Add).then_some(())
    }

    /// Gives an entry of a process, in place of the one it may have.
    pub fn entry(&self, declared: &Declared, name: &str, value: &str) -> Option<Edit> {
        match declared.entry(name) {
            Some(place) => self.replace(place, value),
            None => {
                let schedule = declared.entry("schedule")?;
                self.replace(schedule.after(), format!("; {name}: {value}"))
            }
        }
    }

    fn expression(&self, span: Span) -> Option<Expr> {
        parse_expression(self.written(span)?, span.file).ok()
    }

    /// The block or model that is written around a place.
    pub fn definition(&self, span: Span) -> Option<Arc<Definition>> {
        self.written(span)?;
        let source = self.sources.get(span.file)?;
        let definitions = parse(&source.text, span.file).file.items.into_iter().filter_map(|item| match item.kind {
            ItemKind::Definition(definition) => Some(definition),
            ItemKind::Use(_) | ItemKind::Preset(_) => None,
        });
        let holds = |definition: &Arc<Definition>| {
            let whole = definition.header.to(definition.body.span);
            whole.start <= span.start && span.end <= whole.end
        };
        definitions.into_iter().find(holds)
    }

    /// The declaration `skip NAME(..)` in the definition around a place, as a call.
    pub fn skip(&self, name: &str, span: Span) -> Option<Call> {
        self.declared(span, |own, declared| own == name && declared.start < span.start)
    }

    /// The declaration of the skip that is fused at a place: at its `join(..)`, or where `fuse:` says how.
    pub fn fused(&self, place: Span) -> Option<Call> {
        match self.call(place).filter(|call| *call.name == *"join") {
            Some(join) => self.skip(join.positional(0)?, place),
            None => self.declared(place, |_, declared| declared.start < place.start && place.end <= declared.end),
        }
    }

    /// The last declaration of a skip in the definition around a place that is meant.
    fn declared(&self, place: Span, is_meant: impl Fn(&str, Span) -> bool) -> Option<Call> {
        let definition = self.definition(place)?;
        let mut found = None;
        statements(&definition.body, &mut |statement| {
            if let StatementKind::Skip { name, .. } = &statement.kind
                && is_meant(&name.text, statement.span)
            {
                found = Some(Span { start: name.span.start, ..statement.span });
            }
        });
        self.call(found?)
    }

    /// The edit that adds a statement to the beginning of a body.
    pub fn first_statement(&self, body: &Body, statement: &str) -> Option<Edit> {
        let text = self.written(body.span)?;
        let open = text.find('{')?;
        let after = text.get(open + 1..)?;
        let at = body.span.start as usize + open + 1;
        let span = Span::new(body.span.file, at, at);
        // On a line of its own, indented as the next statement is.
        let blank: &str = after.split(|c: char| !c.is_whitespace()).next().unwrap_or("");
        let edit = match blank.rsplit_once('\n') {
            Some((_, indent)) => Edit::new(span, format!("\n{indent}{statement}")),
            None => Edit::new(span, format!(" {statement};")),
        };
        Some(edit)
    }
}

/// Calls `visit` for every statement of a body that is not inside of an expression.
fn statements(body: &Body, visit: &mut impl FnMut(&Statement)) {
    for statement in &body.statements {
        visit(statement);
        match &statement.kind {
            StatementKind::For(each) => statements(&each.body, visit),
            StatementKind::Section(section) => statements(&section.body, visit),
            StatementKind::Let { .. }
            | StatementKind::Assign { .. }
            | StatementKind::Save { .. }
            | StatementKind::Skip { .. }
            | StatementKind::Init(_)
            | StatementKind::Order(_)
            | StatementKind::Process(_)
            | StatementKind::Expr(_) => {}
        }
    }
}

/// Leaves an `#[allow]` out, with its line where it has one to itself.
pub(super) fn without_allow(sources: &SourceMap, entry: &AllowEntry) -> Option<Fix> {
    let source = sources.get(entry.span.file).filter(|_| !sources.is_library(entry.span.file))?;
    let (start, end) = (entry.span.start as usize, entry.span.end as usize);
    let before = source.text.get(..start)?;
    let indent = before.len() - before.trim_end_matches([' ', '\t']).len();
    let after = source.text.get(end..)?;
    let blanks = after.len() - after.trim_start_matches([' ', '\t']).len();
    let ends_line = after.get(blanks..).is_some_and(|rest| rest.starts_with('\n'));
    let starts_line = before.is_empty() || before.trim_end_matches([' ', '\t']).ends_with('\n');
    let span = match starts_line && ends_line {
        true => Span::new(entry.span.file, start - indent, end + blanks + 1),
        false => Span::new(entry.span.file, start, end + blanks),
    };
    Some(Fix::new("remove it", Safety::Safe, vec![Edit::new(span, "")]))
}

/// Names the rule that was meant by an `#[allow]`.
pub(super) fn renamed_allow(sources: &SourceMap, entry: &AllowEntry, rule: &str) -> Option<Fix> {
    if sources.is_library(entry.span.file) {
        return None;
    }
    let at = sources.text(entry.span).find(&*entry.rule)? + entry.span.start as usize;
    let span = Span::new(entry.span.file, at, at + entry.rule.len());
    Some(Fix::new(format!("name the rule `{rule}`"), Safety::Safe, vec![Edit::new(span, rule)]))
}
