//! Statements and bodies.

use super::Elaborator;
use super::value::Value;
use crate::ir::ScopeKind;
use archc_grammar::ast::{Body, Expr, ExprKind, For, Name, Pattern, Section, Statement, StatementKind};
use archc_grammar::{Diagnostic, Span};
use std::sync::Arc;

impl Elaborator<'_> {
    /// Runs a body in a scope of variables; its value is that of its last expression.
    pub(super) fn body(&mut self, body: &Body) -> Value {
        self.body_with(body, |elaborator, statement| elaborator.value_of(statement))
    }

    /// A body whose last expression is a stage: what stands in the braces of a `residual`.
    pub(super) fn stage_of_body(&mut self, body: &Body) -> Value {
        self.body_with(body, |elaborator, statement| match &statement.kind {
            StatementKind::Expr(expr) => {
                elaborator.allowing(&statement.allows, |elaborator| elaborator.eval_stage(expr))
            }
            _ => elaborator.value_of(statement),
        })
    }

    fn body_with(&mut self, body: &Body, last: impl FnOnce(&mut Self, &Statement) -> Value) -> Value {
        let variables = self.bound();
        let outer = self.init_rules.begin();
        let mut value = Value::Unit;
        if let Some((result, statements)) = body.statements.split_last() {
            // What stands before nothing but syntax errors may have been the result.
            let unread = body.statements.iter().rev().take_while(|statement| is_unread(statement)).count();
            let result_at = body.statements.len().checked_sub(unread + 1).filter(|_| unread > 0);
            for (at, statement) in statements.iter().enumerate() {
                if result_at == Some(at) {
                    self.value_of(statement);
                } else {
                    self.statement(statement);
                }
                if self.halted {
                    break;
                }
            }
            value = if self.halted { Value::Poison } else { last(self, result) };
        }
        self.check_skips(variables);
        self.init_rules.end(outer);
        self.unbind(variables);
        value
    }

    fn value_of(&mut self, statement: &Statement) -> Value {
        match &statement.kind {
            StatementKind::Expr(expr) => self.allowing(&statement.allows, |elaborator| elaborator.eval(expr)),
            _ => {
                self.statement(statement);
                Value::Unit
            }
        }
    }

    fn statement(&mut self, statement: &Statement) {
        self.allowing(&statement.allows, |elaborator| elaborator.run(statement));
    }

    fn run(&mut self, statement: &Statement) {
        match &statement.kind {
            StatementKind::Let { pattern, value } => {
                let result = self.eval(value);
                self.bind_pattern(pattern, result, value);
            }
            StatementKind::Assign { name, value } => {
                let result = self.eval(value);
                self.assign(name, result);
            }
            StatementKind::Save { skip, value } => self.save(skip, value, statement.span),
            StatementKind::Skip { name, arguments } => self.skip_statement(name, arguments, statement.span),
            StatementKind::Init(rules) => self.init_statement(rules, statement.span),
            StatementKind::Order(names) => {
                self.naming.set_order(names.iter().map(|name| name.text.clone()).collect());
            }
            StatementKind::Process(entries) => self.process(entries, statement.span),
            StatementKind::For(repeat) => self.repeat(repeat, statement.span),
            StatementKind::Section(section) => self.section(section, statement.span),
            StatementKind::Expr(expr) => {
                let value = self.eval(expr);
                if !matches!(value, Value::Unit | Value::Poison) {
                    let problem = Diagnostic::error("statement/unused-value", "this value is not used")
                        .label(expr.span, format!("it is {}", value.describe()))
                        .help("bind it with `let`, or make it the last expression of the body");
                    self.report(problem);
                }
            }
        }
    }

    fn bind_pattern(&mut self, pattern: &Pattern, value: Value, expr: &Expr) {
        match pattern {
            Pattern::Name(name) => {
                self.name_value(name, &value);
                self.bind(&name.text, value);
            }
            Pattern::List(names, span) => {
                let items = match &value {
                    Value::List(list) if list.items.len() == names.len() => list.items.clone(),
                    Value::Poison => vec![Value::Poison; names.len()],
                    other => {
                        let found = match other {
                            Value::List(list) => format!("this gives {}", list.items.len()),
                            other => format!("this is {}", other.describe()),
                        };
                        let message = format!("{} names need a list of {}", names.len(), names.len());
                        let problem = Diagnostic::error("type/pattern", message)
                            .label(expr.span, found)
                            .label(*span, "bound here");
                        self.report(match other {
                            Value::Tensor(_) => problem.help(format!("cut it first: `-> chunk({})`", names.len())),
                            _ => problem,
                        });
                        vec![Value::Poison; names.len()]
                    }
                };
                for (name, value) in names.iter().zip(items) {
                    self.name_value(name, &value);
                    self.bind(&name.text, value);
                }
            }
        }
    }

    /// A value goes by the first name that it is given.
    fn name_value(&mut self, name: &Name, value: &Value) {
        if let Value::Tensor(node) = value {
            let node = self.graph.node_mut(*node);
            if node.name.is_none() {
                node.name = Some(name.text.clone());
            }
        }
    }

    fn assign(&mut self, name: &Name, value: Value) {
        self.name_value(name, &value);
        let Some(frame) = self.frames.last_mut() else { return };
        let found = frame.variables.iter().rposition(|(own, _)| *own == name.text);
        match found {
            Some(at) if at >= frame.assignable_from => {
                if let Some((_, slot)) = frame.variables.get_mut(at) {
                    *slot = value;
                }
            }
            Some(_) => {
                let message = format!("`{}` belongs to the code around this branch", name.text);
                let problem = Diagnostic::error("statement/outer-assignment", message)
                    .label(name.span, "cannot be assigned here")
                    .help("the result of a branch is its last expression");
                self.report(problem);
            }
            // Reported by the check of names.
            None => {}
        }
    }

    fn repeat(&mut self, repeat: &For, span: Span) {
        let iterable = self.eval(&repeat.iterable);
        match iterable {
            Value::Range(start, end) => {
                for (index, item) in (start..end).enumerate() {
                    if !self.iteration(repeat, Value::Int(item), index as i64, span) {
                        return;
                    }
                }
            }
            Value::List(list) => {
                let count = list.items.len() as i64;
                for (place, item) in list.items.iter().enumerate() {
                    let place = place as i64;
                    let index = if list.reversed { count - 1 - place } else { place };
                    if !self.iteration(repeat, item.clone(), index, span) {
                        return;
                    }
                }
            }
            Value::Poison => {}
            other => {
                let problem = Diagnostic::error("type/iterable", "a loop runs over a range or a list")
                    .label(repeat.iterable.span, format!("this is {}", other.describe()));
                let problem = match other {
                    Value::Int(count) => problem.help(format!("write `0..{count}`")),
                    Value::Dim(dim) => problem.help(format!("{dim} is known only when the model runs")),
                    _ => problem,
                };
                self.report(problem);
            }
        }
    }

    /// One round of a loop; false when the budget is spent.
    fn iteration(&mut self, repeat: &For, item: Value, index: i64, span: Span) -> bool {
        if !self.spend_iteration(span) {
            return false;
        }
        let variables = self.bound();
        let round = vec![
            (repeat.item.text.clone(), item.shown()),
            (repeat.index.as_ref().map_or(Arc::from(""), |name| name.text.clone()), Value::Int(index).shown()),
        ];
        self.bind(&repeat.item.text, item);
        if let Some(name) = &repeat.index {
            self.bind(&name.text, Value::Int(index));
        }
        match &repeat.label {
            None => self.section_body(&repeat.body),
            Some(label) => match self.label(label) {
                Some(label) => {
                    let path = self.naming.path_for(Some(&label), "");
                    self.in_scope(ScopeKind::Section, Arc::from("for"), path, span, |elaborator| {
                        let scope = elaborator.scope;
                        elaborator.graph.scope_mut(scope).hyperparameters = round;
                        elaborator.section_body(&repeat.body)
                    })
                }
                None => Value::Poison,
            },
        };
        self.unbind(variables);
        !self.halted
    }

    /// `bottleneck @mid_block { .. }`
    fn section(&mut self, section: &Section, span: Span) {
        let word: Arc<str> = Arc::from(section.kind.word());
        let path = match &section.label {
            None => self.naming.path(),
            Some(label) => match self.label(label) {
                Some(label) => self.naming.path_for(Some(&label), ""),
                None => return,
            },
        };
        self.in_scope(ScopeKind::Section, word, path, span, |elaborator| elaborator.section_body(&section.body));
    }

    /// A body that works by assigning to variables around it; its value is what it assigned last.
    fn section_body(&mut self, body: &Body) -> Value {
        if let Some(last) = body.statements.last()
            && let StatementKind::Expr(expr) = &last.kind
        {
            // The value of a final expression would be lost.
            let value = self.body(body);
            if !matches!(value, Value::Unit | Value::Poison) {
                let problem = Diagnostic::error("statement/unused-value", "this value is not used")
                    .label(expr.span, format!("it is {}", value.describe()))
                    .help("loops and sections have no result; assign it: `h = h -> ..`");
                self.report(problem);
            }
        } else {
            self.body(body);
        }
        let assigned = body.statements.iter().rev().find_map(|statement| match &statement.kind {
            StatementKind::Assign { name, .. } => Some(name),
            _ => None,
        });
        match assigned.and_then(|name| self.variable(&name.text)) {
            Some(Value::Tensor(node)) => Value::Tensor(*node),
            _ => assigned_inside(body).and_then(|name| self.variable(&name.text).cloned()).unwrap_or(Value::Unit),
        }
    }
}

/// The variable that nested loops and conditions of a body assign last.
fn assigned_inside(body: &Body) -> Option<&Name> {
    body.statements.iter().rev().find_map(|statement| match &statement.kind {
        StatementKind::Assign { name, .. } => Some(name),
        StatementKind::For(repeat) => assigned_inside(&repeat.body),
        StatementKind::Section(section) => assigned_inside(&section.body),
        StatementKind::Expr(Expr { kind: ExprKind::If(choice), .. }) => {
            choice.branches.iter().rev().find_map(|(_, body)| assigned_inside(body))
        }
        _ => None,
    })
}

/// Whether a statement is a syntax error, reported as such.
fn is_unread(statement: &Statement) -> bool {
    matches!(&statement.kind, StatementKind::Expr(expr) if matches!(expr.kind, ExprKind::Invalid))
}
