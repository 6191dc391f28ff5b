//! `residual { .. }`: a branch that is added back to its input.

use super::Elaborator;
use super::value::{LabelValue, ResidualOptions, Value};
use crate::ir::{NodeId, Role, ScopeKind};
use crate::ops::attribute::Rate;
use crate::ops::dropout::MaskUnit;
use crate::ops::{Add, Affine, Dropout, Multiply};
use crate::words;
use archc_grammar::ast::Argument;
use archc_grammar::{Diagnostic, Span};
use std::sync::Arc;

impl Elaborator<'_> {
    /// `residual(scale: 0.5, gate: g, shortcut: conv2d(64, kernel: 1), after: sqrt(0.5), drop: 0.1)`
    pub(super) fn residual_options(&mut self, arguments: &[Argument], span: Span) -> Option<ResidualOptions> {
        let mut options = ResidualOptions::default();
        for argument in arguments {
            let name = self.option_name("residual", argument, words::RESIDUAL_OPTIONS, span)?;
            let value = match &*name.text {
                "shortcut" => self.eval_stage(&argument.value),
                // A gate may look at the input and at the branch.
                "gate" => self.lacking(2, |elaborator| elaborator.eval(&argument.value)),
                _ => self.eval(&argument.value),
            };
            if value.is_poison() {
                return None;
            }
            let slot = match &*name.text {
                "scale" => &mut options.scale,
                "gate" => &mut options.gate,
                "shortcut" => &mut options.shortcut,
                "after" => &mut options.after,
                _ => &mut options.drop,
            };
            if slot.replace((value, argument.value.span)).is_some() {
                self.given_twice("residual", argument);
                return None;
            }
        }
        Some(options)
    }

    /// `carry + gate * scale * drop(branch)`, then times `after`.
    pub(super) fn residual(
        &mut self,
        options: &ResidualOptions,
        input: NodeId,
        span: Span,
        label: Option<&LabelValue>,
        branch: impl FnOnce(&mut Self, NodeId) -> Value,
    ) -> Value {
        let path = match label {
            Some(label) => self.naming.path_for(Some(label), ""),
            None => self.naming.path(),
        };
        let value = self.in_scope(ScopeKind::Residual, Arc::from("residual"), path, span, |elaborator| {
            match branch(elaborator, input) {
                Value::Tensor(node) => elaborator.shape_branch(options, input, node),
                Value::Poison => Value::Poison,
                other => {
                    let found = format!("it gives {}", other.describe());
                    elaborator.error("residual/branch", "the branch of a residual is a tensor", span, &found)
                }
            }
        });
        let Value::Tensor(branch) = value else { return Value::Poison };
        let carry = match &options.shortcut {
            None => input,
            Some((Value::Stage(stage), _)) => {
                let stage = stage.clone();
                match self.invoke(&stage, input) {
                    Value::Tensor(node) => node,
                    _ => return Value::Poison,
                }
            }
            Some((other, at)) => return self.not_a_stage(other, *at),
        };
        if self.ty(carry).kind != self.ty(branch).kind || self.ty(carry).dims != self.ty(branch).dims {
            return self.branch_changes_type(carry, branch, input, span, options.shortcut.is_some());
        }
        let Some(mut sum) = self.emit(Add {}.into(), &[carry, branch], span) else { return Value::Poison };
        self.graph.node_mut(sum).role = Some(Role::Residual);
        if let Some((value, at)) = &options.after {
            match self.scaled(sum, "after", value, *at) {
                Some(scaled) => sum = scaled,
                None => return Value::Poison,
            }
        }
        Value::Tensor(sum)
    }

    fn shape_branch(&mut self, options: &ResidualOptions, input: NodeId, mut branch: NodeId) -> Value {
        if let Some((value, at)) = &options.drop {
            match value.number().filter(|rate| (0.0..1.0).contains(rate)) {
                Some(0.0) => {}
                Some(rate) => {
                    let op = Dropout { rate: Rate(rate), per: MaskUnit::Sample, rescale: true };
                    match self.emit(op.into(), &[branch], *at) {
                        Some(node) => branch = node,
                        None => return Value::Poison,
                    }
                }
                None => {
                    let found = format!("this is {}", value.describe());
                    return self.error("call/argument-type", "`drop` expects a probability below 1", *at, &found);
                }
            }
        }
        if let Some((value, at)) = &options.scale {
            match self.scaled(branch, "scale", value, *at) {
                Some(node) => branch = node,
                None => return Value::Poison,
            }
        }
        if let Some((value, at)) = &options.gate {
            let gated = match value {
                Value::Stage(_) => self.gated(branch, value, input, *at),
                _ => self.scaled(branch, "gate", value, *at),
            };
            match gated {
                Some(node) => {
                    self.graph.node_mut(node).role = Some(Role::Gate);
                    branch = node;
                }
                None => return Value::Poison,
            }
        }
        Value::Tensor(branch)
    }

    /// A value times a number, times a tensor, or through a stage.
    pub(super) fn scaled(&mut self, node: NodeId, option: &str, by: &Value, span: Span) -> Option<NodeId> {
        match by {
            Value::Tensor(factor) => self.emit(Multiply {}.into(), &[node, *factor], span),
            Value::Stage(stage) => {
                let stage = stage.clone();
                match self.invoke(&stage, node) {
                    Value::Tensor(node) => Some(node),
                    Value::Poison => None,
                    other => {
                        self.not_a_stage(&other, span);
                        None
                    }
                }
            }
            other => match other.number() {
                Some(1.0) => Some(node),
                Some(scale) => self.emit(Affine { scale, shift: 0.0 }.into(), &[node], span),
                None => {
                    let found = format!("this is {}", other.describe());
                    let message = format!("`{option}` expects a number, a tensor or a stage");
                    self.error("call/argument-type", message, span, &found);
                    None
                }
            },
        }
    }

    fn branch_changes_type(
        &mut self,
        carry: NodeId,
        branch: NodeId,
        input: NodeId,
        span: Span,
        has_shortcut: bool,
    ) -> Value {
        let (carried, branched) = (self.ty(carry).clone(), self.ty(branch).clone());
        let message = format!("the branch gives {branched}, its input is {carried}");
        let mut problem = Diagnostic::error("shape/mismatch", message)
            .label(span, format!("{carried} + {branched}"))
            .label(self.graph.node(branch).span, format!("branch: {branched}"));
        let made = self.graph.node(input).span;
        problem = problem.label(made, format!("input: {}", self.ty(input)));
        let help = match (carried.kind == branched.kind, branched.channels()) {
            (true, Some(channels)) if !has_shortcut && carried.channels() != Some(channels) => {
                let map = if carried.kind == crate::types::Kind::Image {
                    format!("conv2d({channels}, kernel: 1)")
                } else {
                    format!("linear({channels})")
                };
                Some(format!("bring the input along: `residual(shortcut: {map}) {{ .. }}`"))
            }
            (true, _) if !has_shortcut => Some("a `shortcut:` has to change the size in the same way".to_owned()),
            _ => None,
        };
        problem.help = help;
        self.show_lost_rows(&mut problem, carry, branch);
        self.report(problem)
    }
}
