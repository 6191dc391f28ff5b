//! Arithmetic on numbers, sizes and tensors.

use super::Elaborator;
use super::value::Value;
use crate::dim::{Dim, DimError};
use crate::ir::NodeId;
use crate::ops::add::combine;
use crate::ops::{Add, Affine, Multiply};
use archc_grammar::ast::{Expr, Operator, UnaryOperator};
use archc_grammar::{Diagnostic, Span};

/// Why conditions do not depend on tensors.
const STATIC: &str = "the graph is static: conditions are about hyperparameters and sizes";

impl Elaborator<'_> {
    /// `a + b - c`, `a && b`
    pub(super) fn chain(&mut self, first: &Expr, rest: &[(Operator, Expr)]) -> Value {
        let mut left = self.eval(first);
        let mut span = first.span;
        for (operator, operand) in rest {
            // Conditions are evaluated only as far as needed.
            match (operator, &left) {
                (Operator::And, Value::Bool(false)) | (Operator::Or, Value::Bool(true)) => continue,
                _ => {}
            }
            let right = self.eval(operand);
            let whole = span.to(operand.span);
            left = self.combine(*operator, (left, span), (right, operand.span), whole);
            span = whole;
        }
        left
    }

    fn combine(&mut self, operator: Operator, left: (Value, Span), right: (Value, Span), span: Span) -> Value {
        let ((a, a_span), (b, b_span)) = (left, right);
        if a.is_poison() || b.is_poison() {
            return Value::Poison;
        }
        match operator {
            Operator::And | Operator::Or => match (&a, &b) {
                (Value::Bool(a), Value::Bool(b)) => {
                    Value::Bool(if operator == Operator::And { *a && *b } else { *a || *b })
                }
                _ => self.cannot(operator, (&a, a_span), (&b, b_span)),
            },
            Operator::Equal
            | Operator::NotEqual
            | Operator::Less
            | Operator::LessOrEqual
            | Operator::Greater
            | Operator::GreaterOrEqual => self.compare(operator, (a, a_span), (b, b_span)),
            Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Remainder => {
                match (&a, &b) {
                    (Value::Tensor(_), _) | (_, Value::Tensor(_)) => {
                        self.tensor_arithmetic(operator, (a, a_span), (b, b_span), span)
                    }
                    (Value::Dim(_), _) | (_, Value::Dim(_)) => {
                        self.size_arithmetic(operator, (a, a_span), (b, b_span), span)
                    }
                    (Value::List(x), Value::List(y)) if operator == Operator::Add => {
                        self.list(x.items.iter().chain(&y.items).cloned().collect(), span)
                    }
                    (Value::Text(x), Value::Text(y)) if operator == Operator::Add => self.text(x, y, span),
                    _ => self.number_arithmetic(operator, (a, a_span), (b, b_span), span),
                }
            }
        }
    }

    fn cannot(&mut self, operator: Operator, left: (&Value, Span), right: (&Value, Span)) -> Value {
        let problem = Diagnostic::error("type/operator", format!("`{}` does not apply here", operator.sign()))
            .label(left.1, format!("this is {}", left.0.describe()))
            .label(right.1, format!("this is {}", right.0.describe()));
        let is_open = [left.0, right.0].iter().any(|value| matches!(value, Value::Dim(_) | Value::Residue(..)));
        let has_tensor = [left.0, right.0].iter().any(|value| matches!(value, Value::Tensor(_)));
        self.report(match operator {
            _ if is_open && !has_tensor => {
                problem.help("a size that is known only when the model runs can be divided by whole numbers alone")
            }
            _ if !has_tensor => problem,
            Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Remainder => {
                problem.help("tensors are added, subtracted and multiplied, and divided by numbers")
            }
            _ => problem.help(STATIC),
        })
    }

    /// Numbers are exact: a quotient of whole numbers is whole or a fraction, never a floor.
    fn number_arithmetic(&mut self, operator: Operator, a: (Value, Span), b: (Value, Span), span: Span) -> Value {
        let whole = match (&a.0, &b.0) {
            (Value::Int(x), Value::Int(y)) => Some((*x, *y)),
            _ => None,
        };
        let exact = whole.and_then(|(x, y)| match operator {
            Operator::Add => x.checked_add(y),
            Operator::Subtract => x.checked_sub(y),
            Operator::Multiply => x.checked_mul(y),
            Operator::Divide if x.checked_rem(y) == Some(0) => x.checked_div(y),
            Operator::Remainder if y > 0 => Some(x.rem_euclid(y)),
            _ => None,
        });
        if let Some(value) = exact {
            return Value::Int(value);
        }
        let (Some(x), Some(y)) = (a.0.number(), b.0.number()) else {
            return self.cannot(operator, (&a.0, a.1), (&b.0, b.1));
        };
        let value = match operator {
            Operator::Add => x + y,
            Operator::Subtract => x - y,
            Operator::Multiply => x * y,
            Operator::Divide => x / y,
            _ => libm::fmod(x, y),
        };
        if matches!(operator, Operator::Divide | Operator::Remainder) && y == 0.0 {
            return self.error("type/division", "division by zero", span, "the divisor is zero");
        }
        if whole.is_some() && matches!(operator, Operator::Add | Operator::Subtract | Operator::Multiply) {
            return self.error("type/overflow", "this number does not fit into 64 bits", span, "too large");
        }
        if operator == Operator::Remainder && whole.is_some() {
            return self.error("type/division", "a remainder needs a divisor above zero", span, "not positive");
        }
        Value::Float(value)
    }

    fn size_arithmetic(&mut self, operator: Operator, a: (Value, Span), b: (Value, Span), span: Span) -> Value {
        let (Some(x), Some(y)) = (a.0.dim(), b.0.dim()) else {
            return self.cannot(operator, (&a.0, a.1), (&b.0, b.1));
        };
        let result = match (operator, &y) {
            (Operator::Divide | Operator::Remainder, Dim::Known(0)) => {
                return self.error("type/division", "division by zero", span, "the divisor is zero");
            }
            (Operator::Add, _) => x.plus(&y),
            (Operator::Subtract, _) => x.minus(&y),
            (Operator::Multiply, _) => x.times(&y),
            (Operator::Divide, Dim::Known(divisor)) => x.over(*divisor).map(|(quotient, obligation)| {
                if let Some(whole) = obligation {
                    self.constrain(whole, span, false);
                }
                quotient
            }),
            (Operator::Remainder, Dim::Known(modulus)) if *modulus > 0 => return Value::Residue(x, *modulus),
            _ => return self.cannot(operator, (&a.0, a.1), (&b.0, b.1)),
        };
        match result {
            Ok(Dim::Known(size)) if i64::try_from(size).is_err() => {
                self.error("type/size", "this is not a size", span, "too large")
            }
            Ok(dim) => Value::size(&dim),
            Err(DimError::OutOfRange) => self.error("type/size", "this is not a size", span, "below zero or too large"),
            Err(DimError::Remainder { dividend, divisor }) => {
                let message = format!("{dividend} cannot be divided by {divisor}");
                self.error("shape/remainder", message, span, "a size has to be whole")
            }
        }
    }

    fn compare(&mut self, operator: Operator, a: (Value, Span), b: (Value, Span)) -> Value {
        let ordering = match (&a.0, &b.0) {
            // Whether a tensor is there is known; what is in it is not.
            (x, y)
                if (x.is_missing() || y.is_missing())
                    && [x, y].iter().all(|value| value.is_missing() || matches!(value, Value::Tensor(_)))
                    && matches!(operator, Operator::Equal | Operator::NotEqual) =>
            {
                let same = x.is_missing() && y.is_missing();
                return Value::Bool(same == (operator == Operator::Equal));
            }
            (Value::Residue(dim, modulus), Value::Int(0)) if operator == Operator::Equal => {
                return Value::Divisible(dim.clone(), *modulus);
            }
            (Value::Bool(x), Value::Bool(y)) => x.cmp(y),
            (Value::Int(x), Value::Int(y)) => x.cmp(y),
            (Value::Text(x), Value::Text(y)) => x.cmp(y),
            (Value::Dim(x), Value::Dim(y)) if x == y => std::cmp::Ordering::Equal,
            (Value::Dim(dim), _) | (_, Value::Dim(dim)) | (Value::Residue(dim, _), _) => {
                let problem = Diagnostic::error("type/open-size", format!("{dim} is known only when the model runs"))
                    .label(if matches!(a.0, Value::Int(_)) { b.1 } else { a.1 }, "not known here")
                    .help(format!("a requirement on it is `assert({dim} % 8 == 0, \"why\")`"));
                return self.report(problem);
            }
            _ => match (a.0.number(), b.0.number()) {
                (Some(x), Some(y)) => match x.partial_cmp(&y) {
                    Some(ordering) => ordering,
                    // What is no number differs from everything.
                    None => return Value::Bool(operator == Operator::NotEqual),
                },
                _ => return self.cannot(operator, (&a.0, a.1), (&b.0, b.1)),
            },
        };
        Value::Bool(match operator {
            Operator::Equal => ordering.is_eq(),
            Operator::NotEqual => ordering.is_ne(),
            Operator::Less => ordering.is_lt(),
            Operator::LessOrEqual => ordering.is_le(),
            Operator::Greater => ordering.is_gt(),
            _ => ordering.is_ge(),
        })
    }

    fn tensor_arithmetic(&mut self, operator: Operator, a: (Value, Span), b: (Value, Span), span: Span) -> Value {
        let affine = |scale, shift| Affine { scale, shift };
        let node = match (&a.0, &b.0, operator) {
            (Value::Tensor(x), Value::Tensor(y), Operator::Add) => self.emit(Add {}.into(), &[*x, *y], span),
            (Value::Tensor(x), Value::Tensor(y), Operator::Multiply) => self.emit(Multiply {}.into(), &[*x, *y], span),
            (Value::Tensor(x), Value::Tensor(y), Operator::Subtract) => self.difference(*x, *y, span),
            (Value::Tensor(x), other, _) if other.number().is_some() => {
                let number = other.number().unwrap_or_default();
                let op = match operator {
                    Operator::Add => affine(1.0, number),
                    Operator::Subtract => affine(1.0, -number),
                    Operator::Multiply => affine(number, 0.0),
                    Operator::Divide if number != 0.0 => affine(1.0 / number, 0.0),
                    _ => return self.cannot(operator, (&a.0, a.1), (&b.0, b.1)),
                };
                self.emit(op.into(), &[*x], span)
            }
            (other, Value::Tensor(y), _) if other.number().is_some() => {
                let number = other.number().unwrap_or_default();
                let op = match operator {
                    Operator::Add => affine(1.0, number),
                    Operator::Subtract => affine(-1.0, number),
                    Operator::Multiply => affine(number, 0.0),
                    _ => return self.cannot(operator, (&a.0, a.1), (&b.0, b.1)),
                };
                self.emit(op.into(), &[*y], span)
            }
            _ => return self.cannot(operator, (&a.0, a.1), (&b.0, b.1)),
        };
        node.map_or(Value::Poison, Value::Tensor)
    }

    /// `x - y`, the sum of `x` and `-y`.
    fn difference(&mut self, x: NodeId, y: NodeId, span: Span) -> Option<NodeId> {
        if let Err(misuse) = combine(&[self.ty(x), self.ty(y)], "subtracted") {
            self.misuse(misuse, &[x, y], span);
            return None;
        }
        let negative = self.emit(Affine { scale: -1.0, shift: 0.0 }.into(), &[y], span)?;
        self.emit(Add {}.into(), &[x, negative], span)
    }

    /// `-x`, `!flag`
    pub(super) fn unary(&mut self, operators: &[UnaryOperator], operand: &Expr) -> Value {
        let mut value = self.eval(operand);
        for operator in operators.iter().rev() {
            value = match (operator, &value) {
                (_, Value::Poison) => return Value::Poison,
                (UnaryOperator::Not, Value::Bool(value)) => Value::Bool(!value),
                (UnaryOperator::Negate, Value::Int(value)) => Value::Int(value.wrapping_neg()),
                (UnaryOperator::Negate, Value::Float(value)) => Value::Float(-value),
                (UnaryOperator::Negate, Value::Tensor(node)) => {
                    let op = Affine { scale: -1.0, shift: 0.0 };
                    self.emit(op.into(), &[*node], operand.span).map_or(Value::Poison, Value::Tensor)
                }
                (operator, other) => {
                    let sign = if *operator == UnaryOperator::Not { "!" } else { "-" };
                    let found = format!("this is {}", other.describe());
                    return self.error("type/operator", format!("`{sign}` does not apply here"), operand.span, &found);
                }
            };
        }
        value
    }

    /// `0..depth`
    pub(super) fn range(&mut self, start: &Expr, end: &Expr) -> Value {
        let (a, b) = (self.eval(start), self.eval(end));
        match (a.whole(), b.whole()) {
            (Some(a), Some(b)) => Value::Range(a, b),
            _ if a.is_poison() || b.is_poison() => Value::Poison,
            (None, _) => {
                let found = format!("this is {}", a.describe());
                self.error("type/range", "a range has whole ends", start.span, &found)
            }
            (_, None) => {
                let problem = Diagnostic::error("type/range", "a range has whole ends")
                    .label(end.span, format!("this is {}", b.describe()));
                let problem = match &b {
                    Value::Dim(dim) => problem.help(format!("{dim} is known only when the model runs")),
                    _ => self.with_remainder_help(problem, end),
                };
                self.report(problem)
            }
        }
    }

    /// The value of a condition; `None` if it has none, which has been reported.
    pub(super) fn condition(&mut self, expr: &Expr) -> Option<bool> {
        match self.eval(expr) {
            Value::Bool(value) => Some(value),
            Value::Poison => None,
            Value::Divisible(dim, modulus) => {
                let message = format!("whether {dim} is divisible by {modulus} is known only when the model runs");
                self.error("type/open-size", message, expr.span, "cannot decide this at compile time");
                None
            }
            other => {
                let problem = Diagnostic::error("type/condition", "a condition is `true` or `false`")
                    .label(expr.span, format!("this is {}", other.describe()));
                self.report(if matches!(other, Value::Tensor(_)) { problem.help(STATIC) } else { problem });
                None
            }
        }
    }
}
