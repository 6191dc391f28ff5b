//! Where the numbers of a graph come from in the source.
//!
//! Elaboration leaves numbers behind. The expressions they came from stand in the source: the arguments of the call that
//! made a node or a block. An expression is taken only if its value for the hyperparameters at hand is the number of the
//! graph; else the number itself stands.

use super::number::{Fields, Number, field};
use crate::ir::{Graph, NodeId, ScopeId, ScopeKind};
use crate::ops::attribute::Shown;
use crate::ops::{self};
use crate::program::Program;
use crate::types::Axis;
use archc_grammar::Span;
use archc_grammar::ast::{
    Argument, Body, Definition, Expr, ExprKind, For, Operator, Pattern, Statement, StatementKind, TypeExpr,
    UnaryOperator,
};
use std::sync::Arc;

/// Variables that are defined by each other in a row.
const MAX_DEPTH: usize = 8;

pub(super) struct Trace<'a> {
    pub graph: &'a Graph,
    definitions: Vec<&'a Arc<Definition>>,
}

/// A call in the source.
struct Call<'a> {
    span: Span,
    callee: &'a str,
    arguments: &'a [Argument],
    piped: bool,
}

impl<'a> Trace<'a> {
    pub fn new(graph: &'a Graph, program: &'a Program) -> Self {
        Self { graph, definitions: program.definitions().collect() }
    }

    /// The block or model that a scope belongs to.
    pub fn definition(&self, scope: ScopeId) -> Option<&'a Definition> {
        let mut enclosing = self.graph.enclosing(scope).map(|id| self.graph.scope(id));
        let block = enclosing.find(|scope| matches!(scope.kind, ScopeKind::Block | ScopeKind::Model))?;
        let header = block.definition;
        self.definitions.iter().find(|definition| definition.header == header).map(|definition| &***definition)
    }

    /// Hyperparameters that code in a scope can name.
    pub fn fields(&self, scope: ScopeId) -> Vec<(Arc<str>, Shown)> {
        let own = self.graph.scope(scope);
        match own.kind {
            ScopeKind::Model => self.graph.hyperparameters.clone(),
            ScopeKind::Block => own.hyperparameters.clone(),
            ScopeKind::Residual | ScopeKind::Section => {
                let mut fields = own.parent.map(|parent| self.fields(parent)).unwrap_or_default();
                fields.retain(|(name, _)| own.hyperparameters.iter().all(|(inner, _)| inner != name));
                fields.extend(own.hyperparameters.iter().filter(|(name, _)| !name.is_empty()).cloned());
                fields
            }
        }
    }

    /// An attribute of an operator.
    pub fn attribute(&self, scope: ScopeId, node: NodeId, name: &str, actual: f64) -> Option<Number> {
        let (node, definition) = (self.graph.node(node), self.definition(scope)?);
        let op = node.op()?.name();
        let signature = ops::signature(op)?;
        let at = signature.attributes.iter().position(|attribute| attribute.name == name)?;
        // `chunk(3, groups: heads)` is made of slices.
        let call = find_call(definition, op, node.span).or_else(|| find_call(definition, "chunk", node.span))?;
        let named = call.arguments.iter().find(|argument| argument.name.as_ref().is_some_and(|own| *own.text == *name));
        let places: &[usize] = if call.callee == op { &[at, at + 1, at + 2, at + 3] } else { &[] };
        let positional = places.iter().filter_map(|at| call.arguments.get(*at).filter(|own| own.name.is_none()));
        let mut candidates = named.into_iter().chain(positional).map(|argument| &argument.value);
        let fields = self.fields(scope);
        candidates.find_map(|value| self.verified(scope, value, &fields, actual))
    }

    /// A size in the type that `parameter` is given.
    pub fn parameter_size(&self, scope: ScopeId, node: NodeId, at: usize, actual: f64) -> Option<Number> {
        let call = find_call(self.definition(scope)?, "parameter", self.graph.node(node).span)?;
        let ExprKind::Index { indices, .. } = &call.arguments.first()?.value.kind else { return None };
        self.verified(scope, indices.get(at)?, &self.fields(scope), actual)
    }

    /// An argument of a function that is called where a node is made.
    pub fn positional(&self, scope: ScopeId, node: NodeId, function: &str, at: usize, actual: f64) -> Option<Number> {
        let call = find_call(self.definition(scope)?, function, self.graph.node(node).span)?;
        let argument = call.arguments.get(at).filter(|argument| argument.name.is_none())?;
        self.verified(scope, &argument.value, &self.fields(scope), actual)
    }

    /// What a block is given for one of its parameters.
    pub fn argument(&self, scope: ScopeId, block: ScopeId, name: &str, actual: &Shown) -> Option<Number> {
        let (caller, child) = (self.definition(scope)?, self.graph.scope(block));
        let callee = self.definition(block)?;
        let at = callee.parameters.iter().position(|parameter| *parameter.name.text == *name)?;
        let call = find_call(caller, &child.name, child.call)?;
        let named = call.arguments.iter().find(|argument| argument.name.as_ref().is_some_and(|own| *own.text == *name));
        let place = at.checked_sub(usize::from(call.piped));
        let positional = || place.and_then(|at| call.arguments.get(at)).filter(|argument| argument.name.is_none());
        let value = &named.or_else(positional)?.value;
        let fields = self.fields(scope);
        match actual {
            Shown::Int(actual) => self.verified(scope, value, &fields, *actual as f64),
            Shown::Float(actual) => self.verified(scope, value, &fields, *actual),
            Shown::List(_) => match &value.kind {
                ExprKind::Name(name) if field(&fields, name) == Some(actual) => Some(Number::Field(name.clone())),
                _ => None,
            },
            Shown::Bool(_) | Shown::Text(_) => None,
        }
    }

    /// The default of a parameter of a block, in terms of its other parameters.
    pub fn default(&self, block: ScopeId, name: &str, actual: f64) -> Option<Number> {
        let definition = self.definition(block)?;
        let parameter = definition.parameters.iter().find(|parameter| *parameter.name.text == *name)?;
        let fields: Vec<_> = self.fields(block).into_iter().filter(|(own, _)| **own != *name).collect();
        self.verified(block, parameter.default.as_ref()?, &fields, actual)
    }

    /// A size in the declared type of a tensor parameter of the definition that a scope belongs to.
    pub fn declared(&self, scope: ScopeId, parameter: &str, axis: Axis, kind: &[Axis], actual: f64) -> Option<Number> {
        let definition = self.definition(scope)?;
        let parameter = definition.parameters.iter().find(|own| *own.name.text == *parameter)?;
        let TypeExpr::Plain { name, arguments, .. } = &parameter.kind else { return None };
        let axes: &[Axis] = if &*name.text == crate::elaborate::FEATURES { &[Axis::Channel] } else { kind };
        let at = axes.iter().position(|own| *own == axis)?;
        self.verified(scope, arguments.get(at)?, &self.fields(scope), actual)
    }

    /// The name that the declared type of a tensor parameter binds to an axis.
    ///
    /// The parameter, and which of its axes; no axis for the channels of features in any layout.
    pub fn binds(&self, block: ScopeId, size: &str) -> Option<(Arc<str>, Option<usize>)> {
        let definition = self.definition(block)?;
        definition.parameters.iter().find_map(|parameter| {
            let TypeExpr::Plain { name, arguments, .. } = &parameter.kind else { return None };
            let at = arguments.iter().position(|own| matches!(&own.kind, ExprKind::Name(name) if **name == *size))?;
            // `features[C]` says nothing of where the channels are.
            let at = if &*name.text == crate::elaborate::FEATURES { None } else { Some(at) };
            Some((parameter.name.text.clone(), at))
        })
    }

    /// The item of a labelled round of a loop, in the names of the code around.
    pub fn item(&self, scope: ScopeId, round: ScopeId, actual: f64) -> Option<Number> {
        let section = self.graph.scope(round);
        let repeat = find_loop(&self.definition(round)?.body, |span, _| span == section.call)?;
        let index = match section.hyperparameters.get(1)? {
            (_, Shown::Int(index)) => *index as usize,
            _ => return None,
        };
        let list = match &repeat.iterable.kind {
            ExprKind::Name(name) => name,
            ExprKind::Call { callee, arguments } => match (&callee.kind, arguments.as_slice()) {
                (ExprKind::Name(function), [Argument { value: Expr { kind: ExprKind::Name(name), .. }, .. }])
                    if &**function == "reversed" =>
                {
                    name
                }
                _ => return None,
            },
            _ => return None,
        };
        let number = Number::Item(list.clone(), index);
        (number.value(&self.fields(scope)) == Some(actual)).then_some(number)
    }

    /// How often the innermost loop around a call runs.
    pub fn rounds(&self, scope: ScopeId, call: Span, actual: usize) -> Option<Number> {
        let body = &self.definition(scope)?.body;
        let contains = |outer: Span| outer.file == call.file && outer.start <= call.start && call.end <= outer.end;
        let mut found = None;
        let mut inside = body;
        while let Some(repeat) = find_loop(inside, |span, _| contains(span)) {
            found = Some(repeat);
            inside = &repeat.body;
        }
        match &found?.iterable.kind {
            ExprKind::Range { start, end } if matches!(start.kind, ExprKind::Int(0)) => {
                self.verified(scope, end, &self.fields(scope), actual as f64)
            }
            _ => None,
        }
    }

    fn verified(&self, scope: ScopeId, expr: &Expr, fields: &Fields, actual: f64) -> Option<Number> {
        let number = self.explain(scope, expr, fields, 0)?;
        (number.value(fields) == Some(actual)).then_some(number)
    }

    fn explain(&self, scope: ScopeId, expr: &Expr, fields: &Fields, depth: usize) -> Option<Number> {
        if depth > MAX_DEPTH {
            return None;
        }
        let explain = |expr: &Expr| self.explain(scope, expr, fields, depth + 1);
        match &expr.kind {
            ExprKind::Int(value) => u64::try_from(*value).ok().map(Number::Int),
            ExprKind::Float(value) => Some(Number::Float(*value)),
            ExprKind::Labelled { inner, .. } => explain(inner),
            ExprKind::Name(name) => match field(fields, name) {
                Some(Shown::Int(_) | Shown::Float(_)) => Some(Number::Field(name.clone())),
                Some(_) => None,
                None => explain(only_value(&self.definition(scope)?.body, name)?),
            },
            ExprKind::Chain { first, rest } => {
                let mut number = explain(first)?;
                for (operator, operand) in rest {
                    let known = [Operator::Add, Operator::Subtract, Operator::Multiply, Operator::Divide];
                    if !known.contains(operator) {
                        return None;
                    }
                    number = Number::of(*operator, number, explain(operand)?);
                }
                Some(number)
            }
            ExprKind::Index { base, indices } => {
                let (ExprKind::Name(list), [index]) = (&base.kind, indices.as_slice()) else { return None };
                let Some(Shown::List(items)) = field(fields, list) else { return None };
                let at = match &index.kind {
                    ExprKind::Unary { operators, operand } if operators.as_slice() == [UnaryOperator::Negate] => {
                        items.len().checked_sub(explain(operand)?.value(fields)? as usize)?
                    }
                    _ => explain(index)?.value(fields)? as usize,
                };
                Some(Number::Item(list.clone(), at))
            }
            ExprKind::If(choice) => {
                let taken = choice.branches.iter().find_map(|(condition, body)| {
                    self.holds(scope, condition, fields, depth + 1)
                        .map_or(Some(None), |holds| holds.then_some(Some(body)))
                });
                explain(only_expression(taken.unwrap_or(choice.otherwise.as_ref())?)?)
            }
            // Whole numbers are converted where they are needed as such.
            ExprKind::Call { callee, arguments } => match (&callee.kind, arguments.as_slice()) {
                (ExprKind::Name(function), [argument]) if &**function == "int" => explain(&argument.value),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether a condition holds, if that is known. What is emitted has the branch that was taken.
    fn holds(&self, scope: ScopeId, condition: &Expr, fields: &Fields, depth: usize) -> Option<bool> {
        match &condition.kind {
            ExprKind::Bool(value) => Some(*value),
            ExprKind::Name(name) => match field(fields, name)? {
                Shown::Bool(value) => Some(*value),
                Shown::Int(_) | Shown::Float(_) | Shown::Text(_) | Shown::List(_) => None,
            },
            ExprKind::Unary { operators, operand } if operators.iter().all(|own| *own == UnaryOperator::Not) => {
                Some(self.holds(scope, operand, fields, depth)? ^ (operators.len() % 2 == 1))
            }
            ExprKind::Chain { first, rest } => {
                let [(operator, second)] = rest.as_slice() else { return None };
                let value = |expr: &Expr| self.explain(scope, expr, fields, depth)?.value(fields);
                let both = || Some((value(first)?, value(second)?));
                match operator {
                    Operator::Equal => both().map(|(a, b)| a == b),
                    Operator::NotEqual => both().map(|(a, b)| a != b),
                    Operator::Less => both().map(|(a, b)| a < b),
                    Operator::LessOrEqual => both().map(|(a, b)| a <= b),
                    Operator::Greater => both().map(|(a, b)| a > b),
                    Operator::GreaterOrEqual => both().map(|(a, b)| a >= b),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// The expression that is all of a body.
fn only_expression(body: &Body) -> Option<&Expr> {
    match body.statements.as_slice() {
        [Statement { kind: StatementKind::Expr(value), .. }] => Some(value),
        _ => None,
    }
}

/// The value of a variable that is bound once and never assigned.
fn only_value<'a>(body: &'a Body, name: &str) -> Option<&'a Expr> {
    let mut found: Vec<Option<&Expr>> = vec![];
    each_statement(body, &mut |statement| match &statement.kind {
        StatementKind::Let { pattern: Pattern::Name(own), value } if *own.text == *name => found.push(Some(value)),
        StatementKind::Let { pattern: Pattern::List(names, _), .. } if names.iter().any(|own| *own.text == *name) => {
            found.push(None);
        }
        StatementKind::Assign { name: own, .. } if *own.text == *name => found.push(None),
        _ => {}
    });
    match found.as_slice() {
        [Some(value)] => Some(value),
        _ => None,
    }
}

/// The outermost loop that fits.
fn find_loop(body: &Body, fits: impl Fn(Span, &For) -> bool) -> Option<&For> {
    let mut found: Option<&For> = None;
    each_statement(body, &mut |statement| {
        if let StatementKind::For(repeat) = &statement.kind
            && found.is_none()
            && fits(statement.span, repeat)
        {
            found = Some(repeat);
        }
    });
    found
}

/// The call of that name within a span: the one that is the span, or the first.
fn find_call<'a>(definition: &'a Definition, name: &str, span: Span) -> Option<Call<'a>> {
    let inside = |own: Span| own.file == span.file && span.start <= own.start && own.end <= span.end;
    let mut found: Option<Call<'a>> = None;
    each_statement(&definition.body, &mut |statement| {
        each_expression(statement, &mut |call| {
            let better = found.as_ref().is_none_or(|found| found.span != span && call.span == span);
            if call.callee == name && inside(call.span) && better {
                found = Some(call);
            }
        });
    });
    found
}

fn each_statement<'a>(body: &'a Body, f: &mut impl FnMut(&'a Statement)) {
    for statement in &body.statements {
        f(statement);
        let mut bodies = vec![];
        match &statement.kind {
            StatementKind::For(repeat) => bodies.push(&repeat.body),
            StatementKind::Section(section) => bodies.push(&section.body),
            StatementKind::Let { value, .. } | StatementKind::Assign { value, .. } | StatementKind::Expr(value) => {
                bodies_in(value, &mut bodies);
            }
            _ => {}
        }
        for body in bodies {
            each_statement_dyn(body, f);
        }
    }
}

fn each_statement_dyn<'a>(body: &'a Body, f: &mut dyn FnMut(&'a Statement)) {
    each_statement(body, &mut |statement| f(statement));
}

/// Bodies that are part of an expression.
fn bodies_in<'a>(expr: &'a Expr, bodies: &mut Vec<&'a Body>) {
    match &expr.kind {
        ExprKind::If(choice) => {
            bodies.extend(choice.branches.iter().map(|(_, body)| body));
            bodies.extend(&choice.otherwise);
        }
        ExprKind::Residual { body, .. } | ExprKind::Stage(body) => bodies.push(&body.body),
        _ => children(expr).into_iter().for_each(|(child, _)| bodies_in(child, bodies)),
    }
    if let ExprKind::Residual { arguments, .. } = &expr.kind {
        arguments.iter().for_each(|argument| bodies_in(&argument.value, bodies));
    }
}

/// Calls in the expressions of a statement, those in bodies within them aside.
fn each_expression<'a>(statement: &'a Statement, f: &mut impl FnMut(Call<'a>)) {
    let expr = match &statement.kind {
        StatementKind::Let { value, .. }
        | StatementKind::Assign { value, .. }
        | StatementKind::Save { value, .. }
        | StatementKind::Expr(value) => value,
        StatementKind::Skip { arguments, .. } => {
            return arguments.iter().for_each(|argument| calls(&argument.value, false, f));
        }
        _ => return,
    };
    calls(expr, false, f);
}

fn calls<'a>(expr: &'a Expr, piped: bool, f: &mut dyn FnMut(Call<'a>)) {
    if let ExprKind::Call { callee, arguments } = &expr.kind
        && let ExprKind::Name(name) = &callee.kind
    {
        f(Call { span: expr.span, callee: name, arguments, piped });
    }
    let through = matches!(expr.kind, ExprKind::Labelled { .. });
    for (child, is_stage) in children(expr) {
        calls(child, is_stage || through && piped, f);
    }
}

/// Parts of an expression, and whether they are stages of a pipe. Bodies are no parts.
fn children(expr: &Expr) -> Vec<(&Expr, bool)> {
    match &expr.kind {
        ExprKind::List(items) | ExprKind::Tuple(items) => items.iter().map(|item| (item, false)).collect(),
        ExprKind::Chain { first, rest } => {
            std::iter::once((&**first, false)).chain(rest.iter().map(|(_, operand)| (operand, false))).collect()
        }
        ExprKind::Unary { operand, .. } => vec![(operand, false)],
        ExprKind::Range { start, end } => vec![(start, false), (end, false)],
        ExprKind::Pipe { head, stages } => {
            std::iter::once((&**head, false)).chain(stages.iter().map(|stage| (stage, true))).collect()
        }
        ExprKind::Call { arguments, .. } | ExprKind::Residual { arguments, .. } => {
            arguments.iter().map(|argument| (&argument.value, false)).collect()
        }
        ExprKind::Index { base, indices } => {
            std::iter::once((&**base, false)).chain(indices.iter().map(|index| (index, false))).collect()
        }
        ExprKind::Labelled { inner, .. } => vec![(inner, false)],
        _ => vec![],
    }
}
