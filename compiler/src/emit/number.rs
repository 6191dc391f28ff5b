//! Numbers as expressions over hyperparameters.

use crate::ops::attribute::Shown;
use archc_grammar::ast::Operator;
use std::fmt;
use std::sync::Arc;

/// A number of a module: of one of its layers, or an argument of one of its parts.
#[derive(Clone, Debug, PartialEq)]
pub enum Number {
    Int(u64),
    Float(f64),
    List(Vec<Number>),
    /// A hyperparameter.
    Field(Arc<str>),
    /// An element of a hyperparameter that is a list.
    Item(Arc<str>, usize),
    /// Sum, difference, product or quotient.
    Of(Operator, Box<Number>, Box<Number>),
}

/// Hyperparameters by name.
pub type Fields = [(Arc<str>, Shown)];

/// The value of a name; the innermost of several.
pub fn field<'a>(fields: &'a Fields, name: &str) -> Option<&'a Shown> {
    fields.iter().rev().find(|(own, _)| **own == *name).map(|(_, value)| value)
}

impl Number {
    pub fn of(operator: Operator, a: Number, b: Number) -> Number {
        Number::Of(operator, Box::new(a), Box::new(b))
    }

    /// What stands for a value that no expression explains.
    pub fn literal(value: &Shown) -> Option<Number> {
        match value {
            Shown::Int(value) => Some(Number::Int(*value)),
            Shown::Float(value) => Some(Number::Float(*value)),
            Shown::List(items) => items.iter().map(Number::literal).collect::<Option<Vec<_>>>().map(Number::List),
            Shown::Bool(_) | Shown::Text(_) => None,
        }
    }

    pub fn is_literal(&self) -> bool {
        match self {
            Number::Int(_) | Number::Float(_) => true,
            Number::List(items) => items.iter().all(Number::is_literal),
            Number::Field(_) | Number::Item(..) => false,
            Number::Of(_, a, b) => a.is_literal() && b.is_literal(),
        }
    }

    /// The value for hyperparameters; lists have none.
    pub fn value(&self, fields: &Fields) -> Option<f64> {
        let plain = |value: &Shown| match value {
            Shown::Int(value) => Some(*value as f64),
            Shown::Float(value) => Some(*value),
            Shown::Bool(_) | Shown::Text(_) | Shown::List(_) => None,
        };
        match self {
            Number::Int(value) => Some(*value as f64),
            Number::Float(value) => Some(*value),
            Number::List(_) => None,
            Number::Field(name) => plain(field(fields, name)?),
            Number::Item(name, at) => match field(fields, name)? {
                Shown::List(items) => plain(items.get(*at)?),
                Shown::Int(_) | Shown::Float(_) | Shown::Bool(_) | Shown::Text(_) => None,
            },
            Number::Of(operator, a, b) => {
                let (a, b) = (a.value(fields)?, b.value(fields)?);
                match operator {
                    Operator::Add => Some(a + b),
                    Operator::Subtract => Some(a - b),
                    Operator::Multiply => Some(a * b),
                    Operator::Divide => Some(a / b),
                    _ => None,
                }
            }
        }
    }

    /// Whether it is computed in floating point.
    pub fn is_float(&self, fields: &Fields) -> bool {
        let plain = |value: Option<&Shown>| matches!(value, Some(Shown::Float(_)));
        match self {
            Number::Int(_) | Number::List(_) => false,
            Number::Float(_) => true,
            Number::Field(name) => plain(field(fields, name)),
            Number::Item(name, at) => match field(fields, name) {
                Some(Shown::List(items)) => plain(items.get(*at)),
                _ => false,
            },
            Number::Of(_, a, b) => a.is_float(fields) || b.is_float(fields),
        }
    }

    /// Adds the hyperparameters it is made of.
    pub fn collect(&self, found: &mut Vec<Arc<str>>) {
        match self {
            Number::Int(_) | Number::Float(_) => {}
            Number::List(items) => items.iter().for_each(|item| item.collect(found)),
            Number::Field(name) | Number::Item(name, _) => {
                if !found.contains(name) {
                    found.push(name.clone());
                }
            }
            Number::Of(_, a, b) => {
                a.collect(found);
                b.collect(found);
            }
        }
    }

    /// With other expressions in the place of hyperparameters; `None` if one is missing.
    pub fn substitute(&self, arguments: &[(Arc<str>, Number)]) -> Option<Number> {
        let argument = |name: &str| arguments.iter().find(|(own, _)| **own == *name).map(|(_, number)| number.clone());
        Some(match self {
            Number::Int(_) | Number::Float(_) => self.clone(),
            Number::List(items) => {
                Number::List(items.iter().map(|item| item.substitute(arguments)).collect::<Option<_>>()?)
            }
            Number::Field(name) => argument(name)?,
            Number::Item(name, at) => match argument(name)? {
                Number::List(items) => items.get(*at)?.clone(),
                Number::Field(name) => Number::Item(name, *at),
                _ => return None,
            },
            Number::Of(operator, a, b) => {
                Number::of(*operator, a.substitute(arguments)?, b.substitute(arguments)?).folded()
            }
        })
    }

    /// With whole literals computed.
    fn folded(self) -> Number {
        match &self {
            Number::Of(operator, a, b) => match (operator, &**a, &**b) {
                (Operator::Multiply, Number::Int(a), Number::Int(b)) => Number::Int(a * b),
                (Operator::Add, Number::Int(a), Number::Int(b)) => Number::Int(a + b),
                (Operator::Divide, Number::Int(a), Number::Int(b)) if *b > 0 && a % b == 0 => Number::Int(a / b),
                _ => self,
            },
            _ => self,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Int(value) => write!(f, "{value}"),
            Number::Float(value) => write!(f, "{value:?}"),
            Number::List(items) => {
                let items: Vec<String> = items.iter().map(Number::to_string).collect();
                write!(f, "[{}]", items.join(", "))
            }
            Number::Field(name) => write!(f, "{name}"),
            Number::Item(name, at) => write!(f, "{name}[{at}]"),
            Number::Of(operator, a, b) => write!(f, "({a} {} {b})", operator.sign()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_follow_their_hyperparameters() {
        let fields = [(Arc::from("D"), Shown::Int(96)), (Arc::from("ratio"), Shown::Float(4.0))];
        let number = Number::of(Operator::Multiply, Number::Field("D".into()), Number::Field("ratio".into()));
        assert_eq!(number.value(&fields), Some(384.0));
        assert!(number.is_float(&fields) && !number.is_literal());
        let given = number.substitute(&[("D".into(), Number::Int(8)), ("ratio".into(), Number::Int(3))]);
        assert_eq!(given, Some(Number::Int(24)));
    }
}
