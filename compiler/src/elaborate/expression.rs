//! Expressions: names, pipes, calls, stages.

use super::Elaborator;
use super::bind::{Binding, Callee};
use super::value::{Captured, LabelValue, ResidualOptions, Stage, StageKind, Value};
use crate::dim::Dim;
use crate::ir::NodeId;
use crate::ops;
use crate::program::{Item, wrong_sizes};
use crate::types::{Axis, Kind, Type};
use crate::words;
use archc_grammar::ast::{Argument, Expr, ExprKind, If, StageBody};
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
                if items.iter().any(Value::is_poison) { Value::Poison } else { Value::list(items) }
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
                Value::Stage(stage) if stage.label.is_none() => {
                    Value::Stage(Arc::new(Stage { label: Some(label), ..(*stage).clone() }))
                }
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

    // ---- calls

    /// What a name calls, if it calls something with a signature.
    fn callee(&mut self, name: &str) -> Option<Callee> {
        if let Some(signature) = ops::signature(name) {
            return Some(Callee::Operator(signature));
        }
        match self.program.find(self.module(), name)? {
            Item::Definition(found) => Some(Callee::Block(found.clone())),
            Item::Preset(..) | Item::Broken => None,
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
        if let Some(callee) = self.callee(name) {
            return match self.bind_arguments(&callee, arguments, as_stage, span) {
                Binding::Failed => Value::Poison,
                Binding::Stage(bound) => match (Self::stage_of(callee, bound, span), label) {
                    (Value::Stage(stage), label @ Some(_)) => {
                        Value::Stage(Arc::new(Stage { label, ..(*stage).clone() }))
                    }
                    (value, _) => value,
                },
                Binding::Complete(bound) => match callee {
                    Callee::Operator(signature) => self.operator(signature, &bound, None, label.as_ref(), span),
                    Callee::Block(found) => self.instantiate(&found, &bound, None, label.as_ref(), span),
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
            Some(Item::Preset(..)) => {
                self.error("call/not-callable", format!("`{name}` is a preset"), callee.span, "call its model instead")
            }
            // Unknown names have been reported by the check of names.
            Some(Item::Broken | Item::Definition(_)) | None => Value::Poison,
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
            Some(label) => Arc::new(Stage { label: Some(label), ..(**stage).clone() }),
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

    // ---- pipes

    /// Places are those of the head and of the whole.
    fn pipe(&mut self, head: Value, stages: &[Expr], (head_span, span): (Span, Span)) -> Value {
        match head {
            Value::Tensor(mut current) => {
                for (at, stage) in stages.iter().enumerate() {
                    match self.apply(stage, current) {
                        Value::Tensor(next) => current = next,
                        other if at + 1 == stages.len() => return other,
                        Value::Poison => return Value::Poison,
                        other => {
                            let found = format!("this gives {}", other.describe());
                            return self.error("type/pipe", "an arrow takes one tensor", stage.span, &found);
                        }
                    }
                }
                Value::Tensor(current)
            }
            Value::Stage(first) => {
                let mut chain = vec![first];
                for stage in stages {
                    match self.eval_stage(stage) {
                        Value::Stage(stage) => chain.push(stage),
                        Value::Poison => return Value::Poison,
                        other => return self.not_a_stage(&other, stage.span),
                    }
                }
                Value::Stage(Arc::new(Stage { kind: StageKind::Chain(chain), span, label: None }))
            }
            Value::Poison => {
                // Arguments of the stages may hold mistakes of their own.
                for stage in stages {
                    self.eval_stage(stage);
                }
                Value::Poison
            }
            other => {
                let problem = Diagnostic::error("type/pipe", "an arrow takes a tensor")
                    .label(head_span, format!("this is {}", other.describe()));
                self.report(match other {
                    Value::Unit => problem.help("an `if` without `else` gives nothing where its condition is false"),
                    _ => problem,
                })
            }
        }
    }

    /// What stands behind an arrow, applied.
    fn apply(&mut self, stage: &Expr, input: NodeId) -> Value {
        // Written in place, a residual sees the variables around it as they are.
        if let ExprKind::Residual { arguments, body } = &stage.kind {
            let Some(options) = self.residual_options(arguments, stage.span) else { return Value::Poison };
            return self
                .residual(&options, input, stage.span, None, |elaborator, input| elaborator.run_body(body, input));
        }
        match self.eval_stage(stage) {
            Value::Stage(value) => self.invoke(&value, input),
            Value::Poison => Value::Poison,
            other => self.not_a_stage(&other, stage.span),
        }
    }

    pub(super) fn not_a_stage(&mut self, value: &Value, span: Span) -> Value {
        let found = format!("this is {}", value.describe());
        self.error("type/stage", "expected a stage, a call that lacks its tensor", span, &found)
    }

    /// Gives a stage its tensor.
    pub(super) fn invoke(&mut self, stage: &Arc<Stage>, input: NodeId) -> Value {
        if self.halted {
            return Value::Poison;
        }
        stacker::maybe_grow(64 << 10, 2 << 20, || match &stage.kind {
            StageKind::Operator { signature, arguments } => {
                self.operator(signature, arguments, Some(input), stage.label.as_ref(), stage.span)
            }
            StageKind::Block { definition, arguments } => {
                self.instantiate(definition, arguments, Some(input), stage.label.as_ref(), stage.span)
            }
            StageKind::Chunk { parts } => self.chunk(input, *parts, stage.span),
            StageKind::Learned { value, per_channel } => {
                self.learned(input, *value, *per_channel, stage.label.as_ref(), stage.span)
            }
            StageKind::Join { skip } => self.join(*skip, input, stage.span),
            StageKind::Residual { options, body } => {
                let body = body.clone();
                self.residual(options, input, stage.span, stage.label.as_ref(), |elaborator, input| {
                    elaborator.invoke(&body, input)
                })
            }
            StageKind::Chain(stages) => {
                let mut value = Value::Tensor(input);
                for stage in stages {
                    value = match value {
                        Value::Tensor(input) => self.invoke(stage, input),
                        Value::Poison => return Value::Poison,
                        other => {
                            let found = format!("it is given {}", other.describe());
                            return self.error("type/pipe", "an arrow takes one tensor", stage.span, &found);
                        }
                    };
                }
                value
            }
            StageKind::Body { body, captured } => {
                let (body, captured) = (body.clone(), captured.clone());
                self.in_captured(&captured, |elaborator| {
                    elaborator.labelled_scope(stage.label.as_ref(), stage.span, |elaborator| {
                        elaborator.run_body(&body, input)
                    })
                })
            }
        })
    }

    /// Gives a stage two tensors: for fusions and gates.
    pub(super) fn invoke_with(&mut self, stage: &Arc<Stage>, inputs: [NodeId; 2], span: Span) -> Value {
        let [first, second] = inputs;
        match &stage.kind {
            StageKind::Operator { signature, arguments } => {
                let mut arguments = arguments.clone();
                let base = signature.attributes.len() + super::bind::INIT_ARGUMENTS.len();
                match arguments.get_mut(base + 1) {
                    Some(slot) => *slot = Some((Value::Tensor(second), span)),
                    None => arguments.push(Some((Value::Tensor(second), span))),
                }
                self.operator(signature, &arguments, Some(first), stage.label.as_ref(), stage.span)
            }
            StageKind::Block { definition, arguments } => {
                let mut arguments = arguments.clone();
                match arguments.get_mut(1) {
                    Some(slot) => *slot = Some((Value::Tensor(second), span)),
                    None => return self.not_a_stage(&Value::Stage(stage.clone()), span),
                }
                self.instantiate(definition, &arguments, Some(first), stage.label.as_ref(), stage.span)
            }
            StageKind::Chunk { .. }
            | StageKind::Learned { .. }
            | StageKind::Join { .. }
            | StageKind::Residual { .. }
            | StageKind::Chain(_)
            | StageKind::Body { .. } => {
                let found = format!("`{}` takes one", stage.name());
                self.error("type/stage", "this stage has to take two tensors", span, &found)
            }
        }
    }

    // ---- code written in place

    fn body_stage(&mut self, body: &Arc<StageBody>, span: Span, label: Option<LabelValue>) -> Value {
        let captured = Arc::new(self.capture());
        Value::Stage(Arc::new(Stage { kind: StageKind::Body { body: body.clone(), captured }, span, label }))
    }

    fn residual_stage(
        &mut self,
        arguments: &[Argument],
        body: &Arc<StageBody>,
        span: Span,
        label: Option<LabelValue>,
    ) -> Value {
        let Some(options): Option<ResidualOptions> = self.residual_options(arguments, span) else {
            return Value::Poison;
        };
        let Value::Stage(body) = self.body_stage(body, span, None) else { return Value::Poison };
        let kind = StageKind::Residual { options: Box::new(options), body };
        Value::Stage(Arc::new(Stage { kind, span, label }))
    }

    fn capture(&self) -> Captured {
        let variables = self.frames.last().map(|frame| frame.variables.clone()).unwrap_or_default();
        Captured { module: self.module(), variables }
    }

    fn in_captured<T>(&mut self, captured: &Captured, f: impl FnOnce(&mut Self) -> T) -> T {
        self.frames.push(super::Frame {
            module: captured.module,
            variables: captured.variables.clone(),
            assignable_from: captured.variables.len(),
        });
        let result = f(self);
        self.frames.pop();
        result
    }

    /// The body of a stage, on its input: by name, or as a stage itself.
    pub(super) fn run_body(&mut self, body: &StageBody, input: NodeId) -> Value {
        let depth = self.bound();
        let outer = self.frames.last_mut().map(|frame| std::mem::replace(&mut frame.assignable_from, depth));
        if let Some(name) = &body.input {
            self.bind(&name.text, Value::Tensor(input));
        }
        let value = if body.input.is_some() { self.body(&body.body) } else { self.stage_of_body(&body.body) };
        self.unbind(depth);
        if let (Some(frame), Some(outer)) = (self.frames.last_mut(), outer) {
            frame.assignable_from = outer;
        }
        match value {
            Value::Stage(stage) if body.input.is_none() => self.invoke(&stage, input),
            Value::Poison => Value::Poison,
            value if body.input.is_some() => value,
            other => {
                let problem = Diagnostic::error("type/stage", "this body never takes its input")
                    .label(body.body.span, format!("it gives {}", other.describe()))
                    .help("start it with a stage, `{ layer_norm() -> .. }`, or name its input, `{ h => .. }`");
                self.report(problem)
            }
        }
    }

    /// Type of a tensor.
    pub(super) fn ty(&self, node: NodeId) -> &Type {
        &self.graph.node(node).ty
    }

    // ---- stages that are words of the language

    fn builtin_stage(
        &mut self,
        name: &str,
        arguments: &[Argument],
        label: Option<LabelValue>,
        as_stage: bool,
        span: Span,
    ) -> Value {
        // Called with its tensor, `chunk(x, 2)`, rather than behind an arrow.
        let mut input = None;
        let mut rest = arguments;
        if !as_stage
            && let Some((first, others)) = arguments.split_first()
            && first.name.is_none()
            && let Value::Tensor(tensor) = self.eval(&first.value)
        {
            (input, rest) = (Some(tensor), others);
        }
        let kind = match name {
            "chunk" => self.chunk_stage(rest, span),
            "learned" => self.learned_stage(rest, span),
            "identity" => {
                super::bind::named_arguments(self, "identity", &[], rest, span).map(|_| StageKind::Chain(vec![]))
            }
            _ => self.join_stage(rest, span),
        };
        let Some(kind) = kind else { return Value::Poison };
        let stage = Arc::new(Stage { kind, span, label });
        match input {
            Some(input) => self.invoke(&stage, input),
            None => Value::Stage(stage),
        }
    }

    fn chunk_stage(&mut self, arguments: &[Argument], span: Span) -> Option<StageKind> {
        let values = super::bind::named_arguments(self, "chunk", &["parts"], arguments, span)?;
        match values.into_iter().next().flatten() {
            Some((Value::Poison, _)) => None,
            Some((value, at)) => match value.whole().and_then(|parts| u64::try_from(parts).ok()) {
                Some(parts) if parts > 0 => Some(StageKind::Chunk { parts }),
                _ => {
                    let found = format!("this is {}", value.describe());
                    self.error("call/argument-type", "`chunk` expects a number of parts", at, &found);
                    None
                }
            },
            None => {
                self.error("call/missing-argument", "`chunk` lacks its number of parts", span, "write `chunk(2)`");
                None
            }
        }
    }

    fn chunk(&mut self, input: NodeId, parts: u64, span: Span) -> Value {
        let Some(channels) = self.ty(input).dim(Axis::Channel).and_then(Dim::known) else {
            let message = format!("{} has no channels to cut", self.ty(input));
            return self.error("type/kind", message, span, "nothing to cut");
        };
        if channels % parts != 0 {
            let message = format!("{channels} channels cannot be cut into {parts} equal parts");
            let made = self.graph.node(input).span;
            let problem = Diagnostic::error("shape/remainder", message)
                .label(span, format!("{channels} / {parts} leaves {}", channels % parts))
                .label(made, format!("this is {}", self.ty(input)));
            return self.report(problem);
        }
        let size = channels / parts;
        let mut items = vec![];
        for part in 0..parts {
            let op =
                ops::Slice { start: ops::attribute::Count(part * size), size, along: ops::concat::JoinAxis::Channels };
            match self.emit(op.into(), &[input], span) {
                Some(node) => items.push(Value::Tensor(node)),
                None => return Value::Poison,
            }
        }
        Value::list(items)
    }

    fn learned_stage(&mut self, arguments: &[Argument], span: Span) -> Option<StageKind> {
        let mut value = None;
        let mut per_channel = false;
        for (at, argument) in arguments.iter().enumerate() {
            let name = argument.name.as_ref().map_or(if at == 0 { "value" } else { "per" }, |name| &*name.text);
            match (name, &argument.value.kind) {
                ("per", ExprKind::Name(word)) if &**word == "channel" => per_channel = true,
                ("per", ExprKind::Name(word)) if &**word == "all" => per_channel = false,
                ("per", _) => {
                    let message = "`per` of `learned` expects `all` or `channel`";
                    let found = format!("this is `{}`", self.program.sources.text(argument.value.span));
                    self.error("call/argument-type", message, argument.value.span, &found);
                    return None;
                }
                ("value", _) => value = Some((self.eval(&argument.value), argument.value.span)),
                _ => {
                    self.unknown_argument("learned", argument, ["value", "per"].into_iter(), span);
                    return None;
                }
            }
        }
        match value {
            None => {
                self.error("call/missing-argument", "`learned` lacks its starting value", span, "write `learned(0.5)`");
                None
            }
            Some((value, at)) => match value.number() {
                Some(value) => Some(StageKind::Learned { value, per_channel }),
                None if value.is_poison() => None,
                None => {
                    let found = format!("this is {}", value.describe());
                    self.error("call/argument-type", "`learned` expects the number it starts at", at, &found);
                    None
                }
            },
        }
    }
}

fn is_function(name: &str) -> bool {
    words::find(words::FUNCTIONS, name).is_some()
}
