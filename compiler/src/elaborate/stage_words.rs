//! Stages that are words of the language: `chunk`, `claim`, `learned`, `identity`, `join`.

use super::Elaborator;
use super::value::{LabelValue, StageKind, Value};
use crate::dim::Dim;
use crate::ir::{Claim, Direction, NodeId};
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
            "claim" => self.claim_stage(rest, span),
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
        let mut values =
            super::bind::named_arguments(self, "chunk", &["parts", "groups"], arguments, span)?.into_iter();
        let (parts, groups) = (values.next().flatten(), values.next().flatten());
        if parts.is_none() {
            self.error("call/missing-argument", "`chunk` lacks its number of parts", span, "write `chunk(2)`");
            return None;
        }
        let parts = self.chunk_count(parts, "a number of parts")?;
        Some(StageKind::Chunk { parts, groups: self.chunk_count(groups, "a number of groups")? })
    }

    /// A number of parts or groups; one where it is left out.
    fn chunk_count(&mut self, given: Option<(Value, Span)>, expected: &str) -> Option<u64> {
        let Some((value, at)) = given else { return Some(1) };
        let count = value.whole().and_then(|count| u64::try_from(count).ok()).filter(|count| *count > 0);
        if count.is_none() && !value.is_poison() {
            let found = format!("this is {}", value.describe());
            self.error("call/argument-type", format!("`chunk` expects {expected}"), at, &found);
        }
        count
    }

    pub(super) fn chunk(&mut self, input: NodeId, parts: u64, groups: u64, span: Span) -> Value {
        let Some(channels) = self.ty(input).dim(Axis::Channel).and_then(Dim::known) else {
            let message = format!("{} has no channels to cut", self.ty(input));
            return self.error("type/kind", message, span, "nothing to cut");
        };
        let pieces = parts.saturating_mul(groups);
        if channels % pieces != 0 {
            let message = match groups {
                1 => format!("{channels} channels cannot be cut into {parts} equal parts"),
                _ => format!("{channels} channels cannot be cut into {groups} groups of {parts} equal parts"),
            };
            let made = self.graph.node(input).span;
            let problem = Diagnostic::error("shape/remainder", message)
                .label(span, format!("{channels} / {pieces} leaves {}", channels % pieces))
                .label(made, format!("this is {}", self.ty(input)));
            return self.report(problem);
        }
        let size = channels / pieces;
        let mut items = vec![];
        for part in 0..parts {
            let op = ops::Slice::of_channels(part * size, size, groups);
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

    fn claim_stage(&mut self, arguments: &[Argument], span: Span) -> Option<StageKind> {
        let values = super::bind::named_arguments(self, "claim", &["within", "rises", "falls"], arguments, span)?;
        let mut values = values.into_iter();
        let (within, rises, falls) = (values.next().flatten(), values.next().flatten(), values.next().flatten());
        let direction = if rises.is_some() { Direction::Rises } else { Direction::Falls };
        let along = match (rises, falls) {
            (Some(_), Some((_, at))) => {
                let problem = Diagnostic::error("call/arguments", "a value cannot both rise and fall")
                    .label(at, "claims the opposite")
                    .help("with two different numbers, claims chain: `claim(rises: ..) -> claim(falls: ..)`");
                self.report(problem);
                return None;
            }
            (rises, falls) => rises.or(falls),
        };
        if within.is_none() && along.is_none() {
            self.error("call/missing-argument", "`claim` claims nothing", span, "write `claim(within: [0, 1])`");
            return None;
        }
        let within = match within {
            None => None,
            Some((value, _)) if value.is_poison() => return None,
            Some((value, at)) => match interval(&value) {
                Some(interval) => Some(interval),
                None => {
                    let found = format!("this is {}", value.describe());
                    self.error("call/argument-type", "`within` expects `[low, high]`, low below high", at, &found);
                    return None;
                }
            },
        };
        let along = match along {
            None => None,
            Some((Value::Tensor(node), _)) if self.ty(node).kind.is_scalar() => Some((direction, node)),
            Some((Value::Poison, _)) => return None,
            Some((value, at)) => {
                let found = match value {
                    Value::Tensor(node) => format!("this is {}", self.ty(node)),
                    other => format!("this is {}", other.describe()),
                };
                let message = "a claim is about one number per sample: a timestep, a sigma or a scalar";
                self.error("call/argument-type", message, at, &found);
                return None;
            }
        };
        Some(StageKind::Claim { within, along })
    }

    /// Records a claim; the value stays what it is.
    pub(super) fn claim(
        &mut self,
        input: NodeId,
        within: Option<(f64, f64)>,
        along: Option<(Direction, NodeId)>,
        span: Span,
    ) -> Value {
        let claim = Claim { node: input, span, within, along };
        self.graph.claims.push(claim);
        Value::Tensor(input)
    }
}

/// `[0, 1]`
fn interval(value: &Value) -> Option<(f64, f64)> {
    let Value::List(list) = value else { return None };
    let [low, high] = list.items.as_slice() else { return None };
    let (low, high) = (low.number()?, high.number()?);
    (low < high).then_some((low, high))
}
