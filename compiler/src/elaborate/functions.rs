//! Compile-time functions.

use super::Elaborator;
use super::value::{List, Value};
use crate::dim::Dim;
use crate::ir::Constraint;
use archc_grammar::ast::{Argument, Expr};
use archc_grammar::{Diagnostic, Span};
use std::sync::Arc;

/// Lists made by functions are at most this long.
const MAX_LIST: i64 = 1 << 20;

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
            ("int", [number]) => self.numeric(number, name, |x| x),
            ("abs", [number]) => self.numeric(number, name, f64::abs),
            ("floor", [number]) => self.numeric(number, name, libm::floor),
            ("ceil", [number]) => self.numeric(number, name, libm::ceil),
            ("round", [number]) => self.numeric(number, name, libm::round),
            ("sqrt", [number]) => self.numeric(number, name, libm::sqrt),
            ("exp", [number]) => self.numeric(number, name, libm::exp),
            ("log", [number]) => self.numeric(number, name, libm::log),
            ("pow", [base, exponent]) => self.power(base, exponent),
            ("sum", [list]) => self.fold(name, &[list], span, |a, b| a + b),
            ("min", all) if !all.is_empty() => self.fold(name, all, span, f64::min),
            ("max", all) if !all.is_empty() => self.fold(name, all, span, f64::max),
            _ => {
                let usage = crate::program::BUILTIN_FUNCTIONS.iter().find(|(own, _)| *own == name);
                let problem = Diagnostic::error(
                    "call/arguments",
                    format!("`{name}` does not take {} arguments", arguments.len()),
                )
                .label(span, "wrong number of arguments");
                let problem = match usage {
                    Some((_, usage)) => problem.help(format!("`{name}`: {usage}")),
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
                let problem =
                    Diagnostic::error("assert/failed", reason.to_string()).label(condition.span, "does not hold here");
                self.report(problem)
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
            Value::Range(start, end) => Value::Int((end - start).max(0)),
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
                Value::List(Arc::new(List { items, reversed: !list.reversed }))
            }
            Value::Range(start, end) if end - start <= MAX_LIST => {
                let items = (start..end).rev().map(Value::Int).collect();
                Value::List(Arc::new(List { items, reversed: true }))
            }
            Value::Poison => Value::Poison,
            other => {
                let found = format!("this is {}", other.describe());
                self.error("call/argument-type", "`reversed` expects a list", list.span, &found)
            }
        }
    }

    fn numeric(&mut self, expr: &Expr, name: &str, f: fn(f64) -> f64) -> Value {
        let value = self.eval(expr);
        let whole_result = matches!(name, "int" | "floor" | "ceil" | "round" | "abs");
        let number = match (&value, value.number()) {
            (Value::Poison, _) => return Value::Poison,
            (Value::Int(value), _) if matches!(name, "int" | "floor" | "ceil" | "round") => return Value::Int(*value),
            (_, Some(number)) => number,
            (other, None) => {
                let found = format!("this is {}", other.describe());
                return self.error("call/argument-type", format!("`{name}` expects a number"), expr.span, &found);
            }
        };
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

    /// Over a list, or over the arguments themselves.
    fn fold(&mut self, name: &str, arguments: &[&Expr], span: Span, f: fn(f64, f64) -> f64) -> Value {
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
        let numbers: Option<Vec<f64>> = values.iter().map(Value::number).collect();
        let all_whole = values.iter().all(|value| matches!(value, Value::Int(_)));
        match numbers {
            Some(numbers) if !numbers.is_empty() || name == "sum" => {
                let result = numbers.into_iter().reduce(f).unwrap_or(0.0);
                if all_whole { Value::Int(result as i64) } else { Value::Float(result) }
            }
            Some(_) => {
                self.error("call/arguments", format!("`{name}` of an empty list"), span, "nothing to choose from")
            }
            None => self.error("call/argument-type", format!("`{name}` expects numbers"), span, "not all are numbers"),
        }
    }
}
