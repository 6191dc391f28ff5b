//! Compile-time functions.

use super::extent::MAX_ITEMS;
use super::value::{List, Value};
use super::{Elaborator, UNMET};
use crate::dim::Dim;
use crate::ir::Constraint;
use crate::ops::activation::Function;
use crate::ops::{Activation, Op};
use crate::words;
use archc_grammar::ast::{Argument, Expr};
use archc_grammar::{Diagnostic, Span};
use std::sync::Arc;

/// How two whole numbers become one, if that fits, and how two numbers do.
type Folds = (fn(i64, i64) -> Option<i64>, fn(f64, f64) -> f64);

impl Elaborator<'_> {
    pub(super) fn function(&mut self, name: &str, arguments: &[Argument], span: Span) -> Value {
        if let Some(named) = arguments.iter().find(|argument| argument.name.is_some()) {
            let message = format!("the arguments of `{name}` have no names");
            return self.error("call/unknown-argument", message, named.value.span, "leave the name out");
        }
        let expressions: Vec<&Expr> = arguments.iter().map(|argument| &argument.value).collect();
        match (name, expressions.as_slice()) {
            ("assert", [condition, why]) => self.assertion(condition, why, span),
            ("len", [list]) => self.length(list),
            ("reversed", [list]) => self.reversed(list),
            ("int", [number]) => self.numeric(number, name, span, |x| x),
            ("abs", [number]) => self.numeric(number, name, span, f64::abs),
            ("floor", [number]) => self.numeric(number, name, span, libm::floor),
            ("ceil", [number]) => self.numeric(number, name, span, libm::ceil),
            ("round", [number]) => self.numeric(number, name, span, libm::round),
            ("sqrt", [number]) => self.numeric(number, name, span, libm::sqrt),
            ("exp", [number]) => self.numeric(number, name, span, libm::exp),
            ("log", [number]) => self.numeric(number, name, span, libm::log),
            ("pow", [base, exponent]) => self.power(base, exponent),
            ("sum", [list]) => self.fold(name, &[list], span, (i64::checked_add, |a, b| a + b)),
            ("min", all) if !all.is_empty() => self.fold(name, all, span, (|a, b| Some(a.min(b)), f64::min)),
            ("max", all) if !all.is_empty() => self.fold(name, all, span, (|a, b| Some(a.max(b)), f64::max)),
            _ => {
                let usage = words::find(words::FUNCTIONS, name);
                let problem = Diagnostic::error("call/arguments", format!("wrong number of arguments for `{name}`"))
                    .label(span, format!("found {}", arguments.len()));
                let problem = match usage {
                    Some(usage) => problem.help(format!("`{}`: {}", usage.form, usage.doc)),
                    None => problem,
                };
                self.report(problem)
            }
        }
    }

    /// `assert(dim % heads == 0, "heads have to divide dim")`
    fn assertion(&mut self, condition: &Expr, why: &Expr, span: Span) -> Value {
        let reason = match self.eval(why) {
            Value::Text(text) => text,
            Value::Poison => return Value::Poison,
            other => {
                let found = format!("this is {}", other.describe());
                return self.error("call/argument-type", "an assertion says why, in quotes", why.span, &found);
            }
        };
        match self.eval(condition) {
            Value::Bool(true) => Value::Unit,
            Value::Bool(false) => {
                let problem = Diagnostic::error(UNMET, reason.to_string()).label(condition.span, "does not hold here");
                let result = self.report(problem);
                if let Some(frame) = self.frames.last_mut() {
                    frame.unmet = true;
                }
                result
            }
            Value::Divisible(dim, modulus) => {
                if let Ok((_, Some(whole))) = dim.over(modulus) {
                    self.constrain(whole, span, true);
                }
                Value::Unit
            }
            Value::Poison => Value::Poison,
            other => {
                let found = format!("this is {}", other.describe());
                self.error("type/condition", "a condition is `true` or `false`", condition.span, &found)
            }
        }
    }

    /// Adds a requirement on sizes to the model.
    pub(super) fn constrain(&mut self, whole: Dim, span: Span, declared: bool) {
        let known = self.graph.constraints.iter_mut().find(|own| own.whole == whole && own.declared == declared);
        if known.is_none() {
            self.graph.constraints.push(Constraint { whole, span, scope: self.scope, declared });
        }
    }

    fn length(&mut self, list: &Expr) -> Value {
        match self.eval(list) {
            Value::List(list) => Value::Int(list.items.len() as i64),
            Value::Range(start, end) => Value::Int(end.saturating_sub(start).max(0)),
            Value::Poison => Value::Poison,
            other => {
                let found = format!("this is {}", other.describe());
                self.error("call/argument-type", "`len` expects a list", list.span, &found)
            }
        }
    }

    fn reversed(&mut self, list: &Expr) -> Value {
        match self.eval(list) {
            Value::List(list) => {
                let items = list.items.iter().rev().cloned().collect();
                Value::List(Arc::new(List::new(items, !list.reversed)))
            }
            Value::Range(start, end) if end.saturating_sub(start) <= MAX_ITEMS as i64 => {
                let items = (start..end).rev().map(Value::Int).collect();
                Value::List(Arc::new(List::new(items, true)))
            }
            Value::Range(..) => {
                self.error("type/too-large", "this range is too long to reverse", list.span, "too long")
            }
            Value::Poison => Value::Poison,
            other => {
                let found = format!("this is {}", other.describe());
                self.error("call/argument-type", "`reversed` expects a list", list.span, &found)
            }
        }
    }

    fn numeric(&mut self, expr: &Expr, name: &str, span: Span, f: fn(f64) -> f64) -> Value {
        let value = self.eval(expr);
        // Some functions of numbers are operators on tensors too.
        if let (Value::Tensor(node), Some(function)) = (&value, Function::from_name(name)) {
            let op = Op::Activation(Activation { function });
            return self.emit(op, &[*node], span).map_or(Value::Poison, Value::Tensor);
        }
        let whole_result = matches!(name, "int" | "floor" | "ceil" | "round" | "abs");
        let number = match (&value, value.number()) {
            (Value::Poison, _) => return Value::Poison,
            (Value::Int(value), _) if matches!(name, "int" | "floor" | "ceil" | "round") => return Value::Int(*value),
            (Value::Int(value), _) if name == "abs" => {
                return value.checked_abs().map_or(Value::Float(f(*value as f64)), Value::Int);
            }
            (_, Some(number)) => number,
            (other, None) => {
                let found = format!("this is {}", other.describe());
                return self.error("call/argument-type", format!("`{name}` expects a number"), expr.span, &found);
            }
        };
        if f(number).is_nan() && !number.is_nan() {
            let message = format!("`{name}` has no value here");
            return self.error("type/range", message, expr.span, &format!("this is {}", value.describe()));
        }
        let result = Value::Float(f(number));
        match (name, result.whole()) {
            ("int", None) => {
                let found = format!("this is {}", value.describe());
                self.error("type/fraction", "`int` expects a number without fraction", expr.span, &found)
            }
            (_, Some(whole)) if whole_result => Value::Int(whole),
            // The root of a square is whole; it serves as a size.
            ("sqrt", Some(whole)) => Value::Int(whole),
            _ => result,
        }
    }

    fn power(&mut self, base: &Expr, exponent: &Expr) -> Value {
        let (b, e) = (self.eval(base), self.eval(exponent));
        if b.is_poison() || e.is_poison() {
            return Value::Poison;
        }
        if let (Value::Int(base), Value::Int(power)) = (&b, &e)
            && let Some(value) = u32::try_from(*power).ok().and_then(|power| base.checked_pow(power))
        {
            return Value::Int(value);
        }
        match (b.number(), e.number()) {
            (Some(base), Some(power)) => Value::Float(libm::pow(base, power)),
            _ => {
                let found = format!("these are {} and {}", b.describe(), e.describe());
                self.error("call/argument-type", "`pow` expects numbers", base.span.to(exponent.span), &found)
            }
        }
    }

    /// Over a list, or over the arguments themselves; exactly, where all are whole.
    fn fold(&mut self, name: &str, arguments: &[&Expr], span: Span, f: Folds) -> Value {
        let mut values: Vec<Value> = vec![];
        for argument in arguments {
            match self.eval(argument) {
                Value::List(list) => values.extend(list.items.iter().cloned()),
                other => values.push(other),
            }
        }
        if values.iter().any(Value::is_poison) {
            return Value::Poison;
        }
        let (whole, any) = f;
        let wholes: Option<Vec<i64>> =
            values.iter().map(|value| if let Value::Int(value) = value { Some(*value) } else { None }).collect();
        let numbers: Option<Vec<f64>> = values.iter().map(Value::number).collect();
        match (wholes, numbers) {
            (Some(wholes), _) if wholes.is_empty() && name != "sum" => {
                self.error("call/arguments", format!("`{name}` of an empty list"), span, "nothing to choose from")
            }
            (Some(wholes), _) => match wholes.into_iter().try_fold(None, |sum: Option<i64>, next| match sum {
                Some(sum) => whole(sum, next).map(Some),
                None => Some(Some(next)),
            }) {
                Some(result) => Value::Int(result.unwrap_or(0)),
                None => self.error("type/overflow", "this number does not fit into 64 bits", span, "too large"),
            },
            (None, Some(numbers)) => Value::Float(numbers.into_iter().reduce(any).unwrap_or(0.0)),
            (None, None) => {
                self.error("call/argument-type", format!("`{name}` expects numbers"), span, "not all are numbers")
            }
        }
    }
}
