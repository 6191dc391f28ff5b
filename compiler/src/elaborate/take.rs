//! What parameters take, and values to it.

use super::Elaborator;
use super::value::{List, Value};
use crate::ops::signature::AttributeInfo;
use crate::program::list;
use crate::types::Kind;
use crate::words;
use archc_grammar::ast::{Argument, Expr, ExprKind, TypeExpr};
use archc_grammar::{Diagnostic, Span};
use std::sync::Arc;

/// What a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    Tensor,
    Int,
    Float,
    Bool,
    Text,
    Stage,
    Init,
    Skip,
    Dim,
    List,
    /// An attribute of an operator, where a bare word may be a choice.
    Attribute,
}

/// The type of any tensor with that many channels: `features[C]`.
pub(crate) const FEATURES: &str = "features";

impl Takes {
    /// What the type of a parameter asks for. Unknown types have been reported by the check of names.
    pub fn of(kind: &TypeExpr) -> Option<Takes> {
        let TypeExpr::Plain { name, .. } = kind else { return Some(Takes::List) };
        Some(match &*name.text {
            "int" => Takes::Int,
            "float" => Takes::Float,
            "bool" => Takes::Bool,
            "string" => Takes::Text,
            "stage" => Takes::Stage,
            "init" => Takes::Init,
            "skip" => Takes::Skip,
            "dim" => Takes::Dim,
            name if name == FEATURES || Kind::from_name(name).is_some() => Takes::Tensor,
            _ => return None,
        })
    }

    fn expected(self) -> &'static str {
        match self {
            Takes::Tensor => "a tensor",
            Takes::Int => "a whole number",
            Takes::Float => "a number",
            Takes::Bool => "`true` or `false`",
            Takes::Text => "a text in quotes",
            Takes::Stage => "a stage",
            Takes::Init => "an initialiser",
            Takes::Skip => "a skip",
            Takes::Dim => "a size",
            Takes::List => "a list",
            Takes::Attribute => "a value",
        }
    }
}

impl Elaborator<'_> {
    /// Evaluates an argument, knowing what its parameter takes.
    pub(super) fn eval_for(&mut self, expr: &Expr, takes: Takes) -> Value {
        match takes {
            Takes::Stage => self.eval_stage(expr),
            Takes::Init => self.eval_init(expr),
            Takes::Attribute => self.eval_first(expr),
            Takes::Tensor
            | Takes::Int
            | Takes::Float
            | Takes::Bool
            | Takes::Text
            | Takes::Skip
            | Takes::Dim
            | Takes::List => self.eval(expr),
        }
    }

    /// Checks a value against what a parameter takes; whole floats become whole numbers where those are wanted. `of`
    /// is the parameter in words.
    pub(super) fn take(
        &mut self,
        value: Value,
        takes: Takes,
        expr: &Expr,
        of: &str,
        declared: Option<Span>,
    ) -> Option<Value> {
        let fitted = match (takes, &value) {
            (_, Value::Poison) => return None,
            (Takes::Int, value) => value.whole().map(Value::Int),
            (Takes::Float, value) => value.number().map(Value::Float),
            (Takes::Dim, value) => value.dim().map(|dim| Value::size(&dim)),
            (Takes::Stage, Value::Stage(_))
            | (Takes::Tensor, Value::Tensor(_))
            | (Takes::Bool, Value::Bool(_))
            | (Takes::Text, Value::Text(_))
            | (Takes::Skip, Value::Skip(_))
            | (Takes::List, Value::List(_) | Value::Range(..))
            | (Takes::Init, Value::Init(_)) => Some(value.clone()),
            _ => None,
        };
        if fitted.is_some() {
            return fitted;
        }
        let message = format!("{of} expects {}", takes.expected());
        let mut problem =
            Diagnostic::error("call/argument-type", message).label(expr.span, format!("this is {}", value.describe()));
        if let Some(declared) = declared {
            problem = problem.label(declared, "declared here");
        }
        problem = match (takes, &value) {
            (Takes::Tensor, value) if value.is_missing() => {
                problem.help("use it only where it is there: `if x != none { .. }`")
            }
            (Takes::Int, Value::Float(_)) => self.with_remainder_help(problem, expr),
            (Takes::Int, Value::Dim(dim)) => problem.help(format!("{dim} is known only when the model runs")),
            (Takes::Stage, _) => problem.help("a stage is a call without its tensor: `silu`, `linear(64)`"),
            (Takes::Init, _) => problem.help(format!("one of {}", list(words::names(words::INITIALISERS)))),
            _ => problem,
        };
        self.report(problem);
        None
    }

    /// Checks a value against the declared type of a parameter: what [`Self::take`] does, and every item of a list.
    pub(super) fn take_for(
        &mut self,
        value: Value,
        kind: &TypeExpr,
        expr: &Expr,
        of: &str,
        declared: Option<Span>,
    ) -> Option<Value> {
        let value = self.take(value, Takes::of(kind)?, expr, of, declared)?;
        let TypeExpr::List { element, .. } = kind else { return Some(value) };
        let of = format!("each item of {of}");
        let list = match &value {
            Value::List(list) => list.clone(),
            // All items of a range are of the kind of the first.
            Value::Range(start, end) if start < end => {
                return self.take_for(Value::Int(*start), element, expr, &of, declared).map(|_| value);
            }
            _ => return Some(value),
        };
        let places: &[Expr] = match &expr.kind {
            ExprKind::List(items) if items.len() == list.items.len() => items,
            _ => &[],
        };
        // What is given from outside stands in no source but as a whole.
        let place = |at: usize| places.get(at).filter(|item| item.span.file == expr.span.file).unwrap_or(expr);
        let mut items = Vec::with_capacity(list.items.len());
        for (at, item) in list.items.iter().enumerate() {
            items.push(self.take_for(item.clone(), element, place(at), &of, declared)?);
        }
        Some(Value::List(Arc::new(List::new(items, list.reversed))))
    }

    /// Checks a value for an attribute of an operator as far as that does not need the operator.
    pub(super) fn take_attribute(
        &mut self,
        value: Value,
        attribute: &AttributeInfo,
        argument: &Argument,
        callee: &str,
    ) -> Option<Value> {
        // A word of the operator is one also where a variable of another kind has its name: `reduce(by: sum)`.
        if let ExprKind::Name(word) = &argument.value.kind {
            let is_word = attribute.choices().any(|choice| *choice == **word) && !matches!(value, Value::Text(_));
            if is_word {
                return Some(Value::Text(word.clone()));
            }
        }
        let is_fraction = matches!(value, Value::Float(number) if number.fract() != 0.0);
        let fits = value.attribute().is_some() && !(is_fraction && attribute.expected.starts_with("a whole number"));
        if fits || value.is_poison() {
            return (!value.is_poison()).then_some(value);
        }
        let message = format!("`{}` of `{callee}` expects {}", attribute.name, attribute.expected);
        let problem = Diagnostic::error("call/argument-type", message)
            .label(argument.value.span, format!("this is {}", value.describe()));
        let problem = self.with_remainder_help(problem, &argument.value);
        self.report(problem);
        None
    }

    /// If the expression is a division, says what would fit.
    pub(super) fn with_remainder_help(&mut self, problem: Diagnostic, expr: &Expr) -> Diagnostic {
        use archc_grammar::ast::Operator;
        let ExprKind::Chain { first, rest } = &expr.kind else { return problem };
        let [(Operator::Divide, divisor)] = rest.as_slice() else { return problem };
        match (self.eval(first), self.eval(divisor)) {
            (Value::Int(dividend), Value::Int(divisor)) if divisor > 0 && dividend > 0 => {
                let below = dividend / divisor * divisor;
                let above = below + divisor;
                let near = if below > 0 { format!("{below} and {above}") } else { above.to_string() };
                problem.help(format!(
                    "{dividend} / {divisor} leaves a remainder of {}; {near} would divide",
                    dividend % divisor
                ))
            }
            _ => problem,
        }
    }
}
