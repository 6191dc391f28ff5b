//! Arguments to parameters.

use super::Elaborator;
use super::take::Takes;
use super::value::{Bound, StageKind, Value};
use crate::ops::signature::{Operands, Signature};
use crate::program::{DefinitionRef, ModuleId, list};
use crate::suggest::did_you_mean;
use crate::types::Kind;
use crate::words::{self, Word};
use archc_grammar::ast::{Argument, Expr, ExprKind, Name, Parameter, Preset, TypeExpr};
use archc_grammar::{Diagnostic, Span};
use std::sync::Arc;

/// What is called.
#[derive(Clone)]
pub(super) enum Callee {
    Operator(&'static Signature),
    Block(DefinitionRef),
    /// A preset: its model, with values for what the call does not give.
    Preset(DefinitionRef, ModuleId, Arc<Preset>),
}

impl Callee {
    fn name(&self) -> &str {
        match self {
            Callee::Operator(signature) => signature.name,
            Callee::Block(found) | Callee::Preset(found, ..) => &found.definition.name.text,
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
            Callee::Block(found) | Callee::Preset(found, ..) => found
                .definition
                .parameters
                .iter()
                .map(|parameter| (&*parameter.name.text, Takes::of(&parameter.kind)))
                .collect(),
        }
    }
}

/// Named arguments that every operator with parameters takes behind its attributes.
pub(crate) const INIT_ARGUMENTS: [&str; 2] = ["init", "bias_init"];

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
        if value.replace((elaborator.eval(&argument.value), argument.value.span)).is_some() {
            elaborator.given_twice(callee, argument);
            return None;
        }
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

    /// The name of an option of a `residual` or a `skip`, all of which are named.
    pub(super) fn option_name<'a>(
        &mut self,
        callee: &str,
        argument: &'a Argument,
        known: &'static [Word],
        span: Span,
    ) -> Option<&'a Name> {
        match &argument.name {
            Some(name) if words::find(known, &name.text).is_some() => Some(name),
            Some(_) => {
                self.unknown_argument(callee, argument, words::names(known), span);
                None
            }
            None => {
                let problem = Diagnostic::error("call/arguments", format!("the options of a `{callee}` are named"))
                    .label(argument.value.span, "which one is this?")
                    .help(format!("there are {}", list(words::names(known))));
                self.report(problem);
                None
            }
        }
    }

    /// Reports a bare word that the check of names has left open, since some word may stand in a call of the operator, and
    /// that means nothing where a tensor or a number is expected. Of the same report at the same place one is kept.
    pub(super) fn is_unknown_word(&mut self, signature: &Signature, expr: &Expr, is_named: bool) -> bool {
        let ExprKind::Name(word) = &expr.kind else { return false };
        // The check of names leaves to us what may be a word: behind a name, and where an attribute takes some.
        let is_open = is_named || signature.attributes.iter().any(|own| own.choices().next().is_some());
        let has_meaning = self.variable(word).is_some() || self.program.knows(self.module(), word);
        if !is_open || has_meaning || signature.has_choice(word) {
            return false;
        }
        self.error("name/unknown", format!("there is no `{word}` here"), expr.span, "unknown name");
        true
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
                    if let Callee::Operator(signature) = callee
                        && self.is_unknown_word(signature, &first.value, false)
                    {
                        return Binding::Failed;
                    }
                    let value = self.eval_first(&first.value);
                    is_stage = !(value.is_missing() || matches!(value, Value::Tensor(_) | Value::Poison));
                    first_value = Some(value);
                }
                _ => is_stage = !by_name,
            }
            if is_stage && first_value.as_ref().is_some_and(|value| !is_plain(value)) {
                first_value = None;
            }
        }
        let named = |name: &str| arguments.iter().any(|own| own.name.as_ref().is_some_and(|own| &*own.text == name));
        let open = |(name, takes): &&(&str, Option<Takes>)| *takes == Some(Takes::Tensor) && !named(name);
        // The first tensor, and those behind it that the call does not give by name.
        let leading = if variadic { 0 } else { parameters.iter().take_while(open).count().max(1) };
        let pending = if is_stage { leading.min(lacking) } else { 0 };
        let bound = match callee {
            Callee::Operator(signature) => {
                self.bind_operator(signature, arguments, pending, variadic, first_value, span)
            }
            Callee::Block(found) => self.bind_block(found, None, arguments, pending, first_value, span),
            Callee::Preset(found, module, preset) => {
                self.bind_block(found, Some((*module, preset)), arguments, pending, first_value, span)
            }
        };
        match bound {
            None => Binding::Failed,
            Some(bound) if is_stage => Binding::Stage(bound),
            Some(bound) => Binding::Complete(bound),
        }
    }

    /// The first positional argument, which may turn out to be a word for an attribute.
    pub(super) fn eval_first(&mut self, expr: &Expr) -> Value {
        match &expr.kind {
            ExprKind::Name(name) if self.variable(name).is_none() => match Kind::from_name(name) {
                // A type without sizes needs no brackets.
                Some(kind) if kind.axes().is_empty() => self.type_value(name, &[], expr.span),
                _ if &**name == "none" => Value::None,
                _ => Value::Text(name.clone()),
            },
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
        let (operands, required) = (signature.operands.names(), signature.operands.required());
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
                        (_, _, Some(operand)) if operand < pending => {
                            self.given_twice(signature.name, argument);
                            return None;
                        }
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
                    } else if at < required {
                        (base + at, Takes::Tensor)
                    } else if at < required + attributes {
                        (at - required, Takes::Attribute)
                    } else {
                        self.unknown_argument(signature.name, argument, names(), span);
                        return None;
                    }
                }
            };
            let is_named = argument.name.is_some();
            if takes == Takes::Tensor && self.is_unknown_word(signature, &argument.value, is_named) {
                return None;
            }
            let cached = if argument.name.is_none() { first_value.take() } else { None };
            let value = match cached {
                Some(value) => value,
                None => self.eval_for(&argument.value, takes),
            };
            if value.is_missing() && takes == Takes::Tensor && slot >= base + required && !variadic {
                // An operand that may be left out.
                continue;
            }
            let value = match (takes, signature.attributes.get(slot)) {
                (Takes::Attribute, Some(attribute)) => {
                    self.take_attribute(value, attribute, argument, signature.name)?
                }
                _ => {
                    let name = operand_name(signature, slot, attributes);
                    self.take(value, takes, &argument.value, &format!("`{name}` of `{}`", signature.name), None)?
                }
            };
            match bound.get_mut(slot) {
                Some(Some(_)) => {
                    self.given_twice(signature.name, argument);
                    return None;
                }
                Some(empty) => *empty = Some((value, argument.value.span)),
                None => return None,
            }
        }
        let missing = operands
            .iter()
            .enumerate()
            .take(required)
            .skip(pending)
            .find(|(at, _)| bound.get(base + at).is_none_or(Option::is_none));
        if let Some((_, name)) = missing {
            self.missing(signature.name, name, pending > 0, None, span);
            return None;
        }
        Some(bound)
    }

    fn bind_block(
        &mut self,
        found: &DefinitionRef,
        preset: Option<(ModuleId, &Preset)>,
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
            if slot < pending {
                self.given_twice(&definition.name.text, argument);
                return None;
            }
            let takes = Takes::of(&parameter.kind)?;
            let cached = if argument.name.is_none() { first_value.take() } else { None };
            let value = match cached {
                Some(value) => value,
                None => self.eval_for(&argument.value, takes),
            };
            let of = format!("`{}` of `{}`", parameter.name.text, definition.name.text);
            let value = match value {
                // A block may do without an input; its sizes tell.
                Value::Absent(_) if takes == Takes::Tensor => value,
                // A tensor that may be left out.
                Value::None if takes == Takes::Tensor && parameter.default.is_some() => value,
                value => self.take_for(value, &parameter.kind, &argument.value, &of, Some(parameter.span))?,
            };
            match bound.get_mut(slot) {
                Some(Some(_)) => {
                    self.given_twice(&definition.name.text, argument);
                    return None;
                }
                Some(empty) => *empty = Some((value, argument.value.span)),
                None => return None,
            }
        }
        if let Some((module, preset)) = preset {
            self.bind_preset(found, module, preset, &mut bound)?;
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
            // Written for a stage, perhaps, whose first tensor an arrow would bring.
            let first = definition.parameters.first().filter(|first| Takes::of(&first.kind) == Some(Takes::Tensor));
            let by_place = pending == 0 && arguments.first().is_some_and(|argument| argument.name.is_none());
            let taken = first.filter(|_| by_place && takes == Some(Takes::Tensor)).map(|first| &*first.name.text);
            self.missing(&definition.name.text, &parameter.name.text, pending > 0, taken, span);
            return None;
        }
        Some(bound)
    }

    /// What a preset says of the hyperparameters that a call leaves open. Sizes are those of the tensors.
    fn bind_preset(
        &mut self,
        found: &DefinitionRef,
        module: ModuleId,
        preset: &Preset,
        bound: &mut Bound,
    ) -> Option<()> {
        let definition = &found.definition;
        for argument in &preset.arguments {
            let name = argument.name.as_ref()?;
            let slot = definition.parameters.iter().position(|own| own.name.text == name.text)?;
            let parameter = definition.parameters.get(slot)?;
            let takes = Takes::of(&parameter.kind)?;
            if takes == Takes::Dim || bound.get(slot).is_none_or(Option::is_some) {
                continue;
            }
            let value = self.in_module(module, |elaborator| elaborator.eval_for(&argument.value, takes));
            let of = format!("`{}` of `{}`", name.text, definition.name.text);
            let value = self.take_for(value, &parameter.kind, &argument.value, &of, Some(parameter.span))?;
            if let Some(empty) = bound.get_mut(slot) {
                *empty = Some((value, argument.value.span));
            }
        }
        Some(())
    }

    pub(super) fn given_twice(&mut self, callee: &str, argument: &Argument) {
        let name = argument.name.as_ref().map_or("this parameter".to_owned(), |name| format!("`{}`", name.text));
        let problem = Diagnostic::error("call/given-twice", format!("{name} of `{callee}` is given twice"))
            .label(argument.value.span, "again here");
        let problem = match callee {
            "residual" | "skip" => problem,
            _ => problem.help("an arrow gives the first parameter, and positional arguments the next ones in order"),
        };
        self.report(problem);
    }

    /// `taken` is the parameter that the first argument was taken as.
    fn missing(&mut self, callee: &str, parameter: &str, is_stage: bool, taken: Option<&str>, span: Span) {
        let problem = Diagnostic::error("call/missing-argument", format!("`{callee}` lacks its `{parameter}`"))
            .label(span, format!("give `{parameter}: ..`"));
        let problem = match taken {
            Some(first) => problem.help(format!(
                "the first argument is taken as its `{first}`; for a stage, which gets `{first}` by an arrow, name the \
                 others: `{callee}({parameter}: ..)`"
            )),
            None if is_stage => problem.note("the arrow gives its first parameter; the others stand in parentheses"),
            None => problem,
        };
        self.report(problem);
    }

    /// A stage value from a bound call.
    pub(super) fn stage_of(&mut self, callee: Callee, arguments: Bound, span: Span) -> Value {
        let kind = match callee {
            Callee::Operator(signature) => StageKind::Operator { signature, arguments },
            Callee::Block(definition) | Callee::Preset(definition, ..) => StageKind::Block { definition, arguments },
        };
        self.stage(kind, span, None)
    }
}

/// The name of what stands in a slot of a bound operator behind its attributes.
fn operand_name(signature: &Signature, slot: usize, attributes: usize) -> &'static str {
    let behind = slot.saturating_sub(attributes);
    let operand = behind.checked_sub(INIT_ARGUMENTS.len()).map(|at| match signature.operands {
        Operands::Fixed(names) | Operands::Optional { names, .. } => names.get(at).copied().unwrap_or("x"),
        Operands::Variadic(name) => name,
    });
    operand.or_else(|| INIT_ARGUMENTS.get(behind).copied()).unwrap_or("x")
}

/// Whether a value evaluated ahead can stand for any parameter: a bare word means what its parameter makes of it.
fn is_plain(value: &Value) -> bool {
    !matches!(value, Value::Text(_))
}
