//! Expressions: names, lists, types, calls.

use super::Elaborator;
use super::bind::{Binding, Callee};
use super::value::{LabelValue, Stage, Value};
use crate::dim::Dim;
use crate::ir::NodeId;
use crate::ops;
use crate::program::{Item, wrong_sizes};
use crate::types::{Kind, Type};
use crate::words;
use archc_grammar::ast::{Argument, DefinitionKind, Expr, ExprKind, If};
use archc_grammar::{Diagnostic, Span};
use std::sync::Arc;

impl Elaborator<'_> {
    pub(super) fn eval(&mut self, expr: &Expr) -> Value {
        if self.halted {
            return Value::Poison;
        }
        stacker::maybe_grow(64 << 10, 2 << 20, || self.eval_here(expr, None))
    }

    fn eval_here(&mut self, expr: &Expr, label: Option<LabelValue>) -> Value {
        match &expr.kind {
            ExprKind::Int(value) => Value::Int(*value),
            ExprKind::Float(value) => Value::Float(*value),
            ExprKind::Text(text) => Value::Text(text.clone()),
            ExprKind::Bool(value) => Value::Bool(*value),
            ExprKind::Name(name) => self.name(name, expr.span),
            ExprKind::List(items) | ExprKind::Tuple(items) => {
                let items: Vec<Value> = items.iter().map(|item| self.eval(item)).collect();
                if items.iter().any(Value::is_poison) { Value::Poison } else { self.list(items, expr.span) }
            }
            ExprKind::Chain { first, rest } => self.chain(first, rest),
            ExprKind::Unary { operators, operand } => self.unary(operators, operand),
            ExprKind::Range { start, end } => self.range(start, end),
            ExprKind::Pipe { head, stages } => {
                let value = self.eval(head);
                self.pipe(value, stages, (head.span, expr.span))
            }
            ExprKind::Call { callee, arguments } => self.call(callee, arguments, label, false, expr.span),
            ExprKind::Index { base, indices } => self.index(base, indices, expr.span),
            ExprKind::Labelled { inner, label } => {
                let Some(label) = self.label(label) else { return Value::Poison };
                self.labelled(inner, label, false)
            }
            ExprKind::If(choice) => self.choice(choice),
            ExprKind::Residual { arguments, body } => self.residual_stage(arguments, body, expr.span, label),
            ExprKind::Stage(body) => self.body_stage(body, expr.span, label),
            ExprKind::Invalid => Value::Poison,
        }
    }

    /// An expression where a stage is expected: calls take their first tensor later.
    pub(super) fn eval_stage(&mut self, expr: &Expr) -> Value {
        if self.halted {
            return Value::Poison;
        }
        stacker::maybe_grow(64 << 10, 2 << 20, || self.eval_stage_here(expr))
    }

    fn eval_stage_here(&mut self, expr: &Expr) -> Value {
        match &expr.kind {
            ExprKind::Call { callee, arguments } => self.call(callee, arguments, None, true, expr.span),
            ExprKind::Name(name) if self.variable(name).is_none() => self.call(expr, &[], None, true, expr.span),
            ExprKind::Labelled { inner, label } => {
                let Some(label) = self.label(label) else { return Value::Poison };
                self.labelled(inner, label, true)
            }
            ExprKind::Pipe { head, stages } => {
                let value = self.eval_stage(head);
                self.pipe(value, stages, (head.span, expr.span))
            }
            _ => self.eval(expr),
        }
    }

    /// `inner @label`
    fn labelled(&mut self, inner: &Expr, label: LabelValue, as_stage: bool) -> Value {
        match &inner.kind {
            ExprKind::Labelled { label: first, .. } => {
                let problem = Diagnostic::error("label/twice", "a call has one label")
                    .label(label.span, "this is the second")
                    .label(first.span, "this is the first");
                self.report(problem)
            }
            ExprKind::Call { callee, arguments } => self.call(callee, arguments, Some(label), as_stage, inner.span),
            ExprKind::Name(name) if self.variable(name).is_none() => {
                self.call(inner, &[], Some(label), true, inner.span)
            }
            ExprKind::Residual { .. } | ExprKind::Stage(_) => self.eval_here(inner, Some(label)),
            _ => match self.eval(inner) {
                // A stage held by a variable gets its name where it is used.
                Value::Stage(stage) if stage.label.is_none() => Value::Stage(Arc::new(stage.labelled(Some(label)))),
                Value::Poison => Value::Poison,
                other => {
                    let problem = Diagnostic::error("label/not-a-call", "a label names a call")
                        .label(label.span, format!("this labels {}", other.describe()));
                    self.report(problem)
                }
            },
        }
    }

    fn name(&mut self, name: &Arc<str>, span: Span) -> Value {
        if let Some(value) = self.variable(name) {
            return value.clone();
        }
        match &**name {
            "pi" => Value::Float(std::f64::consts::PI),
            "inf" => Value::Float(f64::INFINITY),
            "none" => Value::None,
            _ if Kind::from_name(name).is_some() => self.type_value(name, &[], span),
            _ if is_function(name) => self.error("call/not-called", format!("`{name}` is a function"), span, "call it"),
            _ if words::find(words::INITIALISERS, name).is_some() => self.initialiser(name, &[], span),
            // A stage by its name alone: `act: gelu`.
            _ => {
                let callee = Expr { kind: ExprKind::Name(name.clone()), span };
                self.call(&callee, &[], None, true, span)
            }
        }
    }

    fn choice(&mut self, choice: &If) -> Value {
        for (condition, body) in &choice.branches {
            match self.condition(condition) {
                Some(true) => return self.body(body),
                Some(false) => {}
                None => return Value::Poison,
            }
        }
        choice.otherwise.as_ref().map_or(Value::Unit, |body| self.body(body))
    }

    /// `base[index]`, `tokens[N, D]`
    fn index(&mut self, base: &Expr, indices: &[Expr], span: Span) -> Value {
        if let ExprKind::Name(name) = &base.kind
            && self.variable(name).is_none()
            && Kind::from_name(name).is_some()
        {
            let name = name.clone();
            return self.type_value(&name, indices, span);
        }
        let base_value = self.eval(base);
        if base_value.is_poison() {
            return Value::Poison;
        }
        let [index] = indices else {
            return self.error("type/index", "a list has one index", span, "too many indices");
        };
        let at = self.eval(index);
        let (list, at) = match (&base_value, at.whole()) {
            _ if at.is_poison() => return Value::Poison,
            (Value::List(list), Some(at)) => (list.clone(), at),
            (Value::List(_), None) => {
                let found = format!("this is {}", at.describe());
                return self.error("type/index", "an index is a whole number", index.span, &found);
            }
            (other, _) => {
                let mut problem = Diagnostic::error("type/index", "only lists can be indexed")
                    .label(base.span, format!("this is {}", other.describe()));
                problem = match other {
                    Value::Stage(_) => problem.help("arguments stand in parentheses"),
                    Value::Tensor(_) => problem.help("cut a tensor with `chunk(n)` or `slice(start, size)`"),
                    _ => problem,
                };
                return self.report(problem);
            }
        };
        let length = list.items.len() as i64;
        // Counting from the end, as in Python.
        let place = if at < 0 { at + length } else { at };
        match usize::try_from(place).ok().and_then(|place| list.items.get(place)) {
            Some(item) => item.clone(),
            None => {
                let problem = Diagnostic::error("type/index", format!("there is no item {at} in a list of {length}"))
                    .label(index.span, "out of range");
                self.report(problem)
            }
        }
    }

    /// `tokens[N, D]` as a value
    pub(super) fn type_value(&mut self, name: &str, arguments: &[Expr], span: Span) -> Value {
        let Some(kind) = Kind::from_name(name) else { return Value::Poison };
        let mut dims: Vec<Dim> = vec![];
        for argument in arguments {
            let value = self.eval(argument);
            match value.dim() {
                Some(Dim::Known(0)) | None if !value.is_poison() => {
                    let problem = Diagnostic::error("type/size", "a size is a whole number above zero")
                        .label(argument.span, format!("this is {}", value.describe()));
                    let problem = self.with_remainder_help(problem, argument);
                    return self.report(problem);
                }
                Some(dim) => dims.push(dim),
                None => return Value::Poison,
            }
        }
        if dims.len() != kind.axes().len() {
            return self.wrong_axes(kind, dims.len(), span);
        }
        Value::Type(Type::new(kind, dims))
    }

    pub(super) fn wrong_axes(&mut self, kind: Kind, found: usize, span: Span) -> Value {
        let axes: Vec<&str> = kind.axes().iter().map(|axis| axis.name()).collect();
        self.report(wrong_sizes(kind.name(), &axes, found, span))
    }

    /// What a name calls, if it calls something with a signature.
    fn callee(&mut self, name: &str) -> Option<Callee> {
        if let Some(signature) = ops::signature(name) {
            return Some(Callee::Operator(signature));
        }
        match self.program.find(self.module(), name)? {
            Item::Definition(found) if found.definition.kind == DefinitionKind::Pipeline => None,
            Item::Definition(found) => Some(Callee::Block(found.clone())),
            Item::Preset(module, preset) => match self.program.find(*module, &preset.model.text)? {
                Item::Definition(found) if found.definition.kind == DefinitionKind::Model => {
                    Some(Callee::Preset(found.clone(), *module, preset.clone()))
                }
                Item::Definition(_) | Item::Preset(..) | Item::Broken => None,
            },
            Item::Broken => None,
        }
    }

    fn call(
        &mut self,
        callee: &Expr,
        arguments: &[Argument],
        label: Option<LabelValue>,
        as_stage: bool,
        span: Span,
    ) -> Value {
        let ExprKind::Name(name) = &callee.kind else {
            return match self.eval(callee) {
                Value::Stage(stage) => self.call_value(&stage, arguments, label, span),
                Value::Poison => Value::Poison,
                other => {
                    let found = format!("this is {}", other.describe());
                    self.error("call/not-callable", "only stages and blocks can be called", callee.span, &found)
                }
            };
        };
        if let Some(value) = self.variable(name).cloned() {
            return match value {
                Value::Stage(stage) => self.call_value(&stage, arguments, label, span),
                Value::Poison => Value::Poison,
                other => {
                    let problem = Diagnostic::error("call/not-callable", format!("`{name}` cannot be called"))
                        .label(callee.span, format!("it is {}", other.describe()));
                    self.report(match ops::signature(name) {
                        Some(_) => problem.help("a variable hides the operator of that name; rename it"),
                        None => problem,
                    })
                }
            };
        }
        // Functions that are operators too tell numbers from tensors themselves.
        if is_function(name) && !as_stage && !arguments.is_empty() {
            return self.function(name, arguments, span);
        }
        if let Some(callee) = self.callee(name) {
            return match self.bind_arguments(&callee, arguments, as_stage, span) {
                Binding::Failed => Value::Poison,
                Binding::Stage(bound) => match (self.stage_of(callee, bound, span), label) {
                    (Value::Stage(stage), label @ Some(_)) => Value::Stage(Arc::new(stage.labelled(label))),
                    (value, _) => value,
                },
                Binding::Complete(bound) => match callee {
                    Callee::Operator(signature) => self.operator(signature, &bound, None, label.as_ref(), span),
                    Callee::Block(found) | Callee::Preset(found, ..) => {
                        self.instantiate(&found, &bound, None, label.as_ref(), span)
                    }
                },
            };
        }
        if is_function(name) {
            return self.function(name, arguments, span);
        }
        if words::find(words::INITIALISERS, name).is_some() {
            return self.initialiser(name, arguments, span);
        }
        if words::find(words::STAGES, name).is_some() {
            return self.builtin_stage(name, arguments, label, as_stage, span);
        }
        if Kind::from_name(name).is_some() {
            return self.error("call/not-callable", format!("`{name}` is a type"), callee.span, "cannot be called");
        }
        match self.program.find(self.module(), name) {
            Some(Item::Definition(found)) if found.definition.kind == DefinitionKind::Pipeline => self.error(
                "call/not-callable",
                format!("`{name}` is a pipeline"),
                callee.span,
                "is no part of a network",
            ),
            // Unknown names have been reported by the check of names, or where arguments are bound.
            Some(Item::Broken | Item::Definition(_) | Item::Preset(..)) | None => Value::Poison,
        }
    }

    /// A stage held by a variable, called: `act()` in a pipe, `act(x)` by itself.
    fn call_value(
        &mut self,
        stage: &Arc<Stage>,
        arguments: &[Argument],
        label: Option<LabelValue>,
        span: Span,
    ) -> Value {
        let stage = match label {
            Some(label) => Arc::new(stage.labelled(Some(label))),
            None => stage.clone(),
        };
        match arguments {
            [] => Value::Stage(stage),
            [only] if only.name.is_none() => match self.eval(&only.value) {
                Value::Tensor(input) => self.invoke(&stage, input),
                Value::Poison => Value::Poison,
                other => {
                    let message = format!("`{}` already has its arguments; it takes a tensor", stage.name());
                    self.error(
                        "call/too-many-arguments",
                        message,
                        only.value.span,
                        &format!("this is {}", other.describe()),
                    )
                }
            },
            _ => {
                let message = format!("`{}` already has its arguments; it takes a tensor", stage.name());
                self.error("call/too-many-arguments", message, span, "too many arguments")
            }
        }
    }

    /// Type of a tensor.
    pub(super) fn ty(&self, node: NodeId) -> &Type {
        &self.graph.node(node).ty
    }
}

fn is_function(name: &str) -> bool {
    words::find(words::FUNCTIONS, name).is_some()
}
