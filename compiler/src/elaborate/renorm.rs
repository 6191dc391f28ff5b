//! `renorm:` of a skip: what is fused, back to unit variance.

use super::Elaborator;
use super::skip::Factor;
use super::value::{Stage, Value};
use crate::ir::NodeId;
use crate::ops::activation::Function;
use crate::ops::{Activation, Affine, Multiply, Op};
use crate::words;
use archc_grammar::Span;
use archc_grammar::ast::{Argument, Expr, ExprKind};
use std::sync::Arc;

/// What brings the fused feature back to unit variance.
#[derive(Clone, Default)]
pub(super) enum Renorm {
    #[default]
    Off,
    /// The root of the variance that is expected of `d + factor * s`.
    Expected(Expected),
    /// A stage of the fused feature, such as a norm, which measures it.
    Stage(Arc<Stage>),
}

/// Variances of decoder and saved feature, and their correlation.
#[derive(Clone, Copy)]
pub(super) struct Expected {
    decoder: f64,
    saved: f64,
    correlation: f64,
}

impl Expected {
    const UNIT: Self = Self { decoder: 1.0, saved: 1.0, correlation: 0.0 };

    /// Twice their covariance.
    fn shared(self) -> f64 {
        2.0 * self.correlation * libm::sqrt(self.decoder * self.saved)
    }
}

impl Elaborator<'_> {
    /// `true`, `expected(correlation: 0.3)`, `pixel_norm()`
    pub(super) fn renorm(&mut self, value: &Expr) -> Option<Renorm> {
        if let ExprKind::Call { callee, arguments } = &value.kind
            && let ExprKind::Name(name) = &callee.kind
            && **name == *words::EXPECTED
            && self.variable(name).is_none()
        {
            return self.expected(arguments, value.span).map(Renorm::Expected);
        }
        match self.eval(value) {
            Value::Bool(true) => Some(Renorm::Expected(Expected::UNIT)),
            Value::Bool(false) => Some(Renorm::Off),
            Value::Stage(stage) => Some(Renorm::Stage(stage)),
            Value::Poison => None,
            other => {
                let message = "`renorm` of a skip expects `true`, `false`, `expected(..)` or a stage";
                let found = format!("this is {}", other.describe());
                self.error("call/argument-type", message, value.span, &found);
                None
            }
        }
    }

    fn expected(&mut self, arguments: &[Argument], span: Span) -> Option<Expected> {
        let names = ["decoder", "saved", "correlation"];
        let values = super::bind::named_arguments(self, words::EXPECTED, &names, arguments, span)?;
        let mut expected = Expected::UNIT;
        for (name, value) in names.iter().zip(values) {
            let Some((value, at)) = value else { continue };
            let (slot, takes, fits): (_, _, fn(f64) -> bool) = match *name {
                "decoder" => (&mut expected.decoder, "a variance above 0", |x| x > 0.0 && x.is_finite()),
                "saved" => (&mut expected.saved, "a variance above 0", |x| x > 0.0 && x.is_finite()),
                _ => (&mut expected.correlation, "a number above -1, up to 1", |x| x > -1.0 && x <= 1.0),
            };
            match value.number().filter(|number| fits(*number)) {
                Some(number) => *slot = number,
                None if value.is_poison() => return None,
                None => {
                    let found = format!("this is {}", value.describe());
                    let message = format!("`{name}` of `{}` is {takes}", words::EXPECTED);
                    self.error("call/argument-type", message, at, &found);
                    return None;
                }
            }
        }
        Some(expected)
    }

    /// The fused feature `d + factor * s`, brought back to unit variance.
    pub(super) fn renormalized(
        &mut self,
        renorm: &Renorm,
        fused: NodeId,
        factor: Factor,
        span: Span,
    ) -> Option<NodeId> {
        match renorm {
            Renorm::Off => Some(fused),
            Renorm::Expected(expected) => self.divided(fused, factor, *expected, span),
            Renorm::Stage(stage) => self.invoke_tensor(stage, fused, span),
        }
    }

    /// Divides by the root of the variance of `d + factor * s`: `v_d + factor^2 v_s + 2 factor rho sqrt(v_d v_s)`, which is
    /// `1 + factor^2` for independent features of unit variance.
    fn divided(&mut self, fused: NodeId, factor: Factor, expected: Expected, span: Span) -> Option<NodeId> {
        match factor {
            Factor::Number(alpha) => {
                let variance = expected.decoder + alpha * (alpha * expected.saved + expected.shared());
                self.emit(Affine { scale: 1.0 / libm::sqrt(variance), shift: 0.0 }.into(), &[fused], span)
            }
            Factor::Tensor(alpha) => {
                let inner = match (expected.saved, expected.shared()) {
                    (1.0, 0.0) => alpha,
                    (scale, shift) => self.emit(Affine { scale, shift }.into(), &[alpha], span)?,
                };
                let product = self.emit(Multiply {}.into(), &[alpha, inner], span)?;
                let sum = self.emit(Affine { scale: 1.0, shift: expected.decoder }.into(), &[product], span)?;
                let inverse = self.emit(Op::Activation(Activation { function: Function::Rsqrt }), &[sum], span)?;
                self.emit(Multiply {}.into(), &[fused, inverse], span)
            }
            Factor::Opaque => {
                let message = "`renorm` needs to know the scale of the skip";
                self.error(
                    "skip/renorm",
                    message,
                    span,
                    "its `scale:` is a stage; give a number or `learned(..)`, or measure: `renorm: pixel_norm()`",
                );
                None
            }
        }
    }
}
