//! Stages: calls that lack their tensor, what gives it to them, and code written in place.

use super::Elaborator;
use super::value::{Captured, LabelValue, ResidualOptions, Stage, StageKind, Value};
use crate::ir::NodeId;
use crate::ops::signature::Operands;
use archc_grammar::ast::{Argument, Expr, ExprKind, StageBody};
use archc_grammar::{Diagnostic, Span};
use std::sync::Arc;

impl Elaborator<'_> {
    /// Places are those of the head and of the whole.
    pub(super) fn pipe(&mut self, head: Value, stages: &[Expr], (head_span, span): (Span, Span)) -> Value {
        match head {
            Value::Tensor(mut current) => {
                for (at, stage) in stages.iter().enumerate() {
                    match self.apply(stage, current) {
                        Value::Tensor(next) => current = next,
                        other if at + 1 == stages.len() => return other,
                        Value::Poison => return self.pass_over(stages.get(at + 1..).unwrap_or(&[])),
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
                self.stage(StageKind::Chain(chain), span, None)
            }
            Value::Poison => self.pass_over(stages),
            other => {
                let problem = Diagnostic::error("type/pipe", "an arrow takes a tensor")
                    .label(head_span, format!("this is {}", other.describe()));
                self.report(match other {
                    Value::Unit => problem.help("an `if` without `else` gives nothing where its condition is false"),
                    missing if missing.is_missing() => {
                        problem.help("use it only where it is there: `if x != none { .. }`")
                    }
                    _ => problem,
                })
            }
        }
    }

    /// Stages behind something that is wrong are not applied; their arguments may hold mistakes of their own.
    fn pass_over(&mut self, stages: &[Expr]) -> Value {
        for stage in stages {
            let value = self.eval_stage(stage);
            self.lose_count(&value);
        }
        Value::Poison
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
        if self.halted || !self.spend_iteration(stage.span) {
            return Value::Poison;
        }
        stacker::maybe_grow(64 << 10, 2 << 20, || match &stage.kind {
            StageKind::Operator { signature, arguments } => {
                self.operator(signature, arguments, Some(input), stage.label.as_ref(), stage.span)
            }
            StageKind::Block { definition, arguments } => {
                self.instantiate(definition, arguments, Some(input), stage.label.as_ref(), stage.span)
            }
            StageKind::Chunk { parts, groups } => self.chunk(input, *parts, *groups, stage.span),
            StageKind::Learned { value, per_channel } => {
                self.learned(input, *value, *per_channel, stage.label.as_ref(), stage.span)
            }
            StageKind::Claim { within, along } => self.claim(input, *within, *along, stage.span),
            StageKind::Join { skip } => self.join(*skip, input, stage.span),
            StageKind::Residual { options, body } => {
                let body = body.clone();
                self.residual(options, input, stage.span, stage.label.as_ref(), |elaborator, input| {
                    elaborator.invoke(&body, input)
                })
            }
            StageKind::Chain(stages) => {
                // `identity` has nothing in it to name.
                let label = stage.label.as_ref().filter(|_| !stages.is_empty());
                self.labelled_scope(label, stage.span, |elaborator| elaborator.invoke_chain(stages, input))
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

    fn invoke_chain(&mut self, stages: &[Arc<Stage>], input: NodeId) -> Value {
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

    /// Gives a stage two tensors: for fusions and gates.
    pub(super) fn invoke_with(&mut self, stage: &Arc<Stage>, inputs: [NodeId; 2], span: Span) -> Value {
        let [first, second] = inputs;
        match &stage.kind {
            StageKind::Operator { signature, .. }
                if !matches!(signature.operands, Operands::Variadic(_)) && signature.operands.required() < 2 =>
            {
                let found = format!("`{}` takes one", signature.name);
                self.error("type/stage", "this stage has to take two tensors", stage.span, &found)
            }
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
            | StageKind::Claim { .. }
            | StageKind::Join { .. }
            | StageKind::Residual { .. }
            | StageKind::Chain(_)
            | StageKind::Body { .. } => {
                let found = format!("`{}` takes one", stage.name());
                self.error("type/stage", "this stage has to take two tensors", stage.span, &found)
            }
        }
    }

    pub(super) fn body_stage(&mut self, body: &Arc<StageBody>, span: Span, label: Option<LabelValue>) -> Value {
        let captured = Arc::new(self.capture());
        self.stage(StageKind::Body { body: body.clone(), captured }, span, label)
    }

    pub(super) fn residual_stage(
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
        self.stage(kind, span, label)
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
            unmet: false,
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
}
