//! Numbers as Python.

use crate::emit::number::Number;
use crate::emit::structure::Hyperparameter;
use crate::ops::attribute::Shown;
use archc_grammar::ast::Operator;
use std::sync::Arc;

/// `1e-6`, `0.5`, `-4.0`
pub(super) fn float(value: f64) -> String {
    format!("{value:?}")
}

/// What a number is needed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Whole,
    Float,
}

/// Expressions over the arguments of a constructor.
pub(super) struct Numbers<'a> {
    pub hyperparameters: &'a [Hyperparameter],
}

impl Numbers<'_> {
    pub fn render(&self, number: &Number, wanted: Wanted) -> String {
        let fields: Vec<(Arc<str>, Shown)> =
            self.hyperparameters.iter().map(|own| (own.source.clone(), own.value.clone())).collect();
        match number {
            Number::List(items) => {
                let items: Vec<String> = items
                    .iter()
                    .map(|item| self.render(item, if item.is_float(&fields) { Wanted::Float } else { Wanted::Whole }))
                    .collect();
                format!("[{}]", items.join(", "))
            }
            Number::Float(value) if wanted == Wanted::Whole => (*value as u64).to_string(),
            _ if wanted == Wanted::Whole && number.is_float(&fields) => {
                format!("int({})", self.expression(number, true))
            }
            _ => self.expression(number, wanted == Wanted::Float),
        }
    }

    fn expression(&self, number: &Number, is_float: bool) -> String {
        match number {
            Number::Int(value) if is_float => float(*value as f64),
            Number::Int(value) => value.to_string(),
            Number::Float(value) => float(*value),
            Number::Field(source) => self.name(source),
            Number::Item(source, at) => format!("{}[{at}]", self.name(source)),
            Number::List(_) => "[]".to_owned(),
            Number::Of(operator, a, b) => {
                let strength = |operator: Operator| match operator {
                    Operator::Multiply | Operator::Divide => 2,
                    _ => 1,
                };
                let operand = |own: &Number, right: bool| {
                    let text = self.expression(own, is_float);
                    match own {
                        Number::Of(inner, ..)
                            if strength(*inner) < strength(*operator)
                                || right && strength(*inner) <= strength(*operator) =>
                        {
                            format!("({text})")
                        }
                        _ => text,
                    }
                };
                let sign = match operator {
                    Operator::Divide if !is_float => "//",
                    operator => operator.sign(),
                };
                format!("{} {sign} {}", operand(a, false), operand(b, true))
            }
        }
    }

    fn name(&self, source: &str) -> String {
        let own = self.hyperparameters.iter().find(|own| *own.source == *source);
        super::text::ident(own.map_or(source, |own| &own.name))
    }
}
