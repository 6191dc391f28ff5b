//! Stages that are words of the language: `chunk`, `learned`, `identity`, `join`.

use super::Elaborator;
use super::value::{LabelValue, StageKind, Value};
use crate::dim::Dim;
use crate::ir::NodeId;
use crate::ops;
use crate::types::Axis;
use archc_grammar::ast::{Argument, ExprKind};
use archc_grammar::{Diagnostic, Span};

impl Elaborator<'_> {
    pub(super) fn builtin_stage(
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
        match (self.stage(kind, span, label), input) {
            (Value::Stage(stage), Some(input)) => self.invoke(&stage, input),
            (stage, _) => stage,
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

    pub(super) fn chunk(&mut self, input: NodeId, parts: u64, span: Span) -> Value {
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
        self.list(items, span)
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
