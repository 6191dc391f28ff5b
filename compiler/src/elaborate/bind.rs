//! Arguments to parameters.

use super::Elaborator;
use super::value::{Bound, InitValue, Stage, StageKind, Value};
use crate::ops::signature::{Operands, Signature};
use crate::program::{DefinitionRef, list};
use crate::suggest::did_you_mean;
use crate::types::Kind;
use archc_grammar::ast::{Argument, Expr, ExprKind, Parameter, TypeExpr};
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
            Takes::Stage => "a stage: a call without its tensor",
            Takes::Init => "an initialiser",
            Takes::Skip => "a skip",
            Takes::Dim => "a size",
            Takes::List => "a list",
            Takes::Attribute => "a value",
        }
    }
}

/// What is called.
#[derive(Clone)]
pub(super) enum Callee {
    Operator(&'static Signature),
    Block(DefinitionRef),
}

impl Callee {
    fn name(&self) -> &str {
        match self {
            Callee::Operator(signature) => signature.name,
            Callee::Block(found) => &found.definition.name.text,
        }
    }

    /// Parameters in positional order.
    fn parameters(&self) -> Vec<(&str, Option<Takes>)> {
        match self {
            Callee::Operator(signature) => {
                let operands = signature.operands.names().iter().map(|name| (*name, Some(Takes::Tensor)));
                let attributes = signature.attributes.iter().map(|attribute| (attribute.name, Some(Takes::Attribute)));
                operands.chain(attributes).collect()
            }
            Callee::Block(found) => found
                .definition
                .parameters
                .iter()
                .map(|parameter| (&*parameter.name.text, Takes::of(&parameter.kind)))
                .collect(),
        }
    }
}

/// Named arguments that every operator with parameters takes behind its attributes.
pub(super) const INIT_ARGUMENTS: [&str; 2] = ["init", "bias_init"];

/// What came of a call's arguments.
pub(super) enum Binding {
    /// Everything is there.
    Complete(Bound),
    /// The first tensor is still missing.
    Stage(Bound),
    Failed,
}

/// Evaluates the arguments of something that takes plain values by the given names.
pub(super) fn named_arguments(
    elaborator: &mut Elaborator<'_>,
    callee: &str,
    names: &[&str],
    arguments: &[Argument],
    span: Span,
) -> Option<Vec<Option<(Value, Span)>>> {
    let mut values: Vec<Option<(Value, Span)>> = vec![None; names.len()];
    for (at, argument) in arguments.iter().enumerate() {
        let slot = match &argument.name {
            Some(name) => names.iter().position(|own| *own == &*name.text),
            None => Some(at),
        };
        let Some(value) = slot.and_then(|slot| values.get_mut(slot)) else {
            elaborator.unknown_argument(callee, argument, names.iter().copied(), span);
            return None;
        };
        *value = Some((elaborator.eval(&argument.value), argument.value.span));
    }
    Some(values)
}

impl Elaborator<'_> {
    pub(super) fn unknown_argument<'a>(
        &mut self,
        callee: &str,
        argument: &Argument,
        known: impl Iterator<Item = &'a str> + Clone,
        span: Span,
    ) {
        let problem = match &argument.name {
            Some(name) => {
                let help = did_you_mean(&name.text, known.clone()).unwrap_or_else(|| format!("it has {}", list(known)));
                let message = format!("`{callee}` has no parameter `{}`", name.text);
                Diagnostic::error("call/unknown-argument", message).label(name.span, "unknown parameter").help(help)
            }
            None => Diagnostic::error("call/too-many-arguments", format!("`{callee}` takes fewer arguments"))
                .label(argument.value.span, "one too many")
                .help(format!("it takes {}", list(known))),
        };
        let problem = if problem.labels.is_empty() { problem.label(span, "") } else { problem };
        self.report(problem);
    }

    /// Binds the arguments of a call. `piped`: the first parameter is given by the arrow, or will be.
    pub(super) fn bind_arguments(
        &mut self,
        callee: &Callee,
        arguments: &[Argument],
        piped: bool,
        span: Span,
    ) -> Binding {
        let lacking = std::mem::replace(&mut self.lacking, 1);
        let parameters = callee.parameters();
        let variadic = matches!(callee, Callee::Operator(s) if matches!(s.operands, Operands::Variadic(_)));
        let takes_tensor = variadic || matches!(parameters.first(), Some((_, Some(Takes::Tensor))));
        if piped && !takes_tensor {
            let problem =
                Diagnostic::error("call/takes-no-tensor", format!("`{}` does not take a tensor first", callee.name()))
                    .label(span, "cannot stand behind an arrow");
            self.report(problem);
            return Binding::Failed;
        }
        // Without an arrow, whether this is a stage is decided by what the first positional argument is.
        let mut first_value = None;
        let mut is_stage = piped;
        if !piped && takes_tensor {
            let first_name = parameters.first().map_or("", |(name, _)| *name);
            let by_name =
                arguments.iter().any(|a| a.name.as_ref().is_some_and(|n| &*n.text == first_name && !variadic));
            match arguments.iter().find(|argument| argument.name.is_none()) {
                Some(first) if !by_name => {
                    let value = self.eval_first(&first.value);
                    is_stage = !matches!(value, Value::Tensor(_) | Value::Poison);
                    first_value = Some(value);
                }
                _ => is_stage = !by_name,
            }
            if is_stage && first_value.as_ref().is_some_and(|value| !is_plain(value)) {
                first_value = None;
            }
        }
        let leading = parameters.iter().take_while(|(_, takes)| *takes == Some(Takes::Tensor)).count();
        let pending = if is_stage { leading.min(lacking) } else { 0 };
        let bound = match callee {
            Callee::Operator(signature) => {
                self.bind_operator(signature, arguments, pending, variadic, first_value, span)
            }
            Callee::Block(found) => self.bind_block(found, arguments, pending, first_value, span),
        };
        match bound {
            None => Binding::Failed,
            Some(bound) if is_stage => Binding::Stage(bound),
            Some(bound) => Binding::Complete(bound),
        }
    }

    /// The first positional argument, which may turn out to be a word for an attribute.
    fn eval_first(&mut self, expr: &Expr) -> Value {
        match &expr.kind {
            ExprKind::Name(name) if self.variable(name).is_none() => Value::Text(name.clone()),
            _ => self.eval(expr),
        }
    }

    /// Layout: attributes, the two initialisers, then the operands.
    fn bind_operator(
        &mut self,
        signature: &'static Signature,
        arguments: &[Argument],
        pending: usize,
        variadic: bool,
        mut first_value: Option<Value>,
        span: Span,
    ) -> Option<Bound> {
        let operands = signature.operands.names();
        let attributes = signature.attributes.len();
        let base = attributes + INIT_ARGUMENTS.len();
        let mut bound: Bound = std::iter::repeat_n(None, base + operands.len()).collect();
        let names = || operands.iter().copied().chain(signature.attributes.iter().map(|a| a.name));
        let mut position = pending;
        for argument in arguments {
            let (slot, takes) = match &argument.name {
                Some(name) => {
                    let init = INIT_ARGUMENTS.iter().position(|own| *own == &*name.text);
                    let attribute = signature.attributes.iter().position(|own| own.name == &*name.text);
                    let operand = operands.iter().position(|own| *own == &*name.text);
                    match (init, attribute, operand) {
                        (Some(init), None, _) => (attributes + init, Takes::Init),
                        (_, Some(attribute), _) => (attribute, Takes::Attribute),
                        (_, _, Some(operand)) => (base + operand, Takes::Tensor),
                        (None, None, None) => {
                            self.unknown_argument(signature.name, argument, names(), span);
                            return None;
                        }
                    }
                }
                None => {
                    position += 1;
                    let at = position - 1;
                    if variadic {
                        bound.push(None);
                        (bound.len() - 1, Takes::Tensor)
                    } else if at < operands.len() {
                        (base + at, Takes::Tensor)
                    } else if at < operands.len() + attributes {
                        (at - operands.len(), Takes::Attribute)
                    } else {
                        self.unknown_argument(signature.name, argument, names(), span);
                        return None;
                    }
                }
            };
            let cached = if argument.name.is_none() { first_value.take() } else { None };
            let value = match cached {
                Some(value) => value,
                None => self.eval_for(&argument.value, takes),
            };
            let value = self.take(value, takes, argument, signature.name, span)?;
            match bound.get_mut(slot) {
                Some(Some(_)) => {
                    self.given_twice(signature.name, argument);
                    return None;
                }
                Some(empty) => *empty = Some((value, argument.value.span)),
                None => return None,
            }
        }
        let missing =
            operands.iter().enumerate().skip(pending).find(|(at, _)| bound.get(base + at).is_none_or(Option::is_none));
        if let Some((_, name)) = missing {
            self.missing(signature.name, name, pending > 0, span);
            return None;
        }
        Some(bound)
    }

    fn bind_block(
        &mut self,
        found: &DefinitionRef,
        arguments: &[Argument],
        pending: usize,
        mut first_value: Option<Value>,
        span: Span,
    ) -> Option<Bound> {
        let definition = &found.definition;
        let mut bound: Bound = std::iter::repeat_n(None, definition.parameters.len()).collect();
        let names = || definition.parameters.iter().map(|parameter| &*parameter.name.text);
        let mut position = pending;
        for argument in arguments {
            let slot = match &argument.name {
                Some(name) => definition.parameters.iter().position(|own| own.name.text == name.text),
                None => {
                    position += 1;
                    Some(position - 1)
                }
            };
            let Some((slot, parameter)) = slot.and_then(|slot| Some((slot, definition.parameters.get(slot)?))) else {
                self.unknown_argument(&definition.name.text, argument, names(), span);
                return None;
            };
            let takes = Takes::of(&parameter.kind)?;
            let cached = if argument.name.is_none() { first_value.take() } else { None };
            let value = match cached {
                Some(value) => value,
                None => self.eval_for(&argument.value, takes),
            };
            let value = self.take(value, takes, argument, &definition.name.text, parameter.span)?;
            match bound.get_mut(slot) {
                Some(Some(_)) => {
                    self.given_twice(&definition.name.text, argument);
                    return None;
                }
                Some(empty) => *empty = Some((value, argument.value.span)),
                None => return None,
            }
        }
        let required = |(at, parameter): &(usize, &Parameter)| {
            parameter.default.is_none() && *at >= pending && bound.get(*at).is_none_or(Option::is_none)
        };
        let missing: Vec<&Parameter> =
            definition.parameters.iter().enumerate().filter(required).map(|(_, parameter)| parameter).collect();
        // A size that a tensor brings along need not be given.
        let brings = |name: &str| {
            definition.parameters.iter().any(|parameter| match &parameter.kind {
                TypeExpr::Plain { arguments, .. } => {
                    arguments.iter().any(|dim| matches!(&dim.kind, ExprKind::Name(own) if **own == *name))
                }
                TypeExpr::List { .. } => false,
            })
        };
        for parameter in missing {
            let takes = Takes::of(&parameter.kind);
            if matches!(takes, Some(Takes::Int | Takes::Dim)) && brings(&parameter.name.text) {
                continue;
            }
            self.missing(&definition.name.text, &parameter.name.text, pending > 0, span);
            return None;
        }
        Some(bound)
    }

    fn given_twice(&mut self, callee: &str, argument: &Argument) {
        let name = argument.name.as_ref().map_or("this parameter".to_owned(), |name| format!("`{}`", name.text));
        let problem = Diagnostic::error("call/given-twice", format!("{name} of `{callee}` is given twice"))
            .label(argument.value.span, "again here")
            .help("positional arguments come first, in the order of the parameters");
        self.report(problem);
    }

    fn missing(&mut self, callee: &str, parameter: &str, is_stage: bool, span: Span) {
        let problem = Diagnostic::error("call/missing-argument", format!("`{callee}` lacks its `{parameter}`"))
            .label(span, format!("give `{parameter}: ..`"));
        let problem = if is_stage {
            problem.note("the arrow gives its first parameter; the others stand in parentheses")
        } else {
            problem
        };
        self.report(problem);
    }

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

    /// Checks a value against what a parameter takes; whole floats become whole numbers where those are wanted.
    pub(super) fn take(
        &mut self,
        value: Value,
        takes: Takes,
        argument: &Argument,
        callee: &str,
        declared: Span,
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
            (Takes::Attribute, Value::Init(InitValue::Given(_))) => None,
            (Takes::Attribute, value) => value.attribute().map(|_| value.clone()),
            _ => None,
        };
        if fitted.is_some() {
            return fitted;
        }
        let message = match &argument.name {
            Some(name) => format!("`{}` of `{callee}` expects {}", name.text, takes.expected()),
            None => format!("`{callee}` expects {} here", takes.expected()),
        };
        let mut problem = Diagnostic::error("call/argument-type", message)
            .label(argument.value.span, format!("this is {}", value.describe()))
            .label(declared, "expected by this");
        if takes == Takes::Int {
            problem = match &value {
                Value::Float(_) => self.with_remainder_help(problem, &argument.value),
                Value::Dim(dim) => problem.help(format!("{dim} is known only when the model runs")),
                _ => problem,
            };
        }
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

    /// A stage value from a bound call.
    pub(super) fn stage_of(callee: Callee, arguments: Bound, span: Span) -> Value {
        let kind = match callee {
            Callee::Operator(signature) => StageKind::Operator { signature, arguments },
            Callee::Block(definition) => StageKind::Block { definition, arguments },
        };
        Value::Stage(Arc::new(Stage { kind, span, label: None }))
    }
}

/// Whether a value evaluated ahead can stand for any parameter: a bare word means what its parameter makes of it.
fn is_plain(value: &Value) -> bool {
    !matches!(value, Value::Text(_))
}
