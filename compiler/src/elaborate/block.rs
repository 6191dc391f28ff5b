//! Blocks: a scope, its sizes, its variables, its result.

use super::take::{FEATURES, Takes};
use super::value::{Absent, Bound, LabelValue, Value};
use super::{Elaborator, Frame};
use crate::dim::Dim;
use crate::ir::{NodeId, Role, Scope, ScopeKind};
use crate::program::DefinitionRef;
use crate::types::{Axis, Kind, Type};
use archc_grammar::ast::{self, Definition, DefinitionKind, Expr, ExprKind, Parameter, ResultType, TypeExpr};
use archc_grammar::{Diagnostic, Span};
use std::sync::Arc;

impl Elaborator<'_> {
    /// An instance of a block, with its arguments bound.
    pub(super) fn instantiate(
        &mut self,
        found: &DefinitionRef,
        bound: &Bound,
        piped: Option<NodeId>,
        label: Option<&LabelValue>,
        span: Span,
    ) -> Value {
        if self.halted || !self.spend_iteration(span) {
            return Value::Poison;
        }
        if self.depth >= self.budget.depth {
            self.exhausted(span, format!("blocks nest deeper than {} levels", self.budget.depth));
            return Value::Poison;
        }
        let definition = &found.definition;
        let path = self.naming.path_for(label, &definition.name.text);
        let scope = self.graph.add_scope(Scope {
            kind: ScopeKind::Block,
            name: definition.name.text.clone(),
            parent: Some(self.scope),
            path: path.clone(),
            call: span,
            definition: definition.header,
            hyperparameters: vec![],
            inputs: vec![],
            outputs: vec![],
        });
        let outer_scope = std::mem::replace(&mut self.scope, scope);
        let outer_path = self.naming.enter(path);
        self.depth += 1;
        self.frames.push(Frame { module: found.module, variables: vec![], assignable_from: 0, unmet: false });

        let value = if self.bind_parameters(definition, bound, piped, span) {
            self.record_hyperparameters();
            let value = self.allowing(&definition.allows, |elaborator| elaborator.body(&definition.body));
            self.finish_block(definition, value, span)
        } else {
            Value::Poison
        };

        self.frames.pop();
        self.depth -= 1;
        self.naming.enter(outer_path);
        self.scope = outer_scope;
        self.graph.scope_mut(scope).outputs = tensors(&value);
        value
    }

    /// Keeps what is known of the block's parameters and sizes with its scope.
    fn record_hyperparameters(&mut self) {
        let variables = self.frames.last().map(|frame| frame.variables.as_slice()).unwrap_or_default();
        let known = variables.iter().filter(|(_, value)| !matches!(value, Value::Tensor(_) | Value::Absent(_)));
        let known: Vec<_> = known.map(|(name, value)| (name.clone(), value.shown())).collect();
        let scope = self.scope;
        self.graph.scope_mut(scope).hyperparameters = known;
    }

    /// Values of all parameters: what is given, then the sizes that tensors bring, then defaults.
    fn bind_parameters(&mut self, definition: &Definition, bound: &Bound, piped: Option<NodeId>, span: Span) -> bool {
        let given = |at: usize| bound.get(at).and_then(Option::as_ref).map(|(value, _)| value.clone());
        for (at, parameter) in definition.parameters.iter().enumerate() {
            let value = if at == 0 { piped.map(Value::Tensor).or_else(|| given(at)) } else { given(at) };
            if let Some(value) = value {
                self.bind(&parameter.name.text, value);
            }
        }
        let is_tensor = |parameter: &&Parameter| Takes::of(&parameter.kind) == Some(Takes::Tensor);
        for parameter in definition.parameters.iter().filter(is_tensor) {
            match self.variable(&parameter.name.text).cloned() {
                Some(Value::Tensor(node)) => {
                    let ty = self.ty(node).clone();
                    self.bind_sizes(definition, parameter, &ty);
                    let scope = self.scope;
                    self.graph.scope_mut(scope).inputs.push((parameter.name.text.clone(), node));
                }
                Some(Value::None | Value::Absent(_)) => {}
                None if parameter.default.is_some() => {
                    if !self.default_of(definition, parameter, span) {
                        return false;
                    }
                }
                _ => return false,
            }
        }
        for parameter in definition.parameters.iter().filter(is_tensor) {
            match self.variable(&parameter.name.text).cloned() {
                Some(Value::Absent(absent)) => self.bind_sizes(definition, parameter, &absent.ty),
                Some(Value::None) => self.bind_no_sizes(definition, parameter),
                _ => {}
            }
        }
        if !definition.parameters.iter().all(|parameter| self.default_of(definition, parameter, span)) {
            return false;
        }
        definition.parameters.iter().filter(is_tensor).all(|parameter| match self.variable(&parameter.name.text) {
            Some(Value::Tensor(node)) => self.check_tensor(definition, parameter, *node, span),
            Some(Value::Absent(absent)) => {
                let absent = absent.clone();
                self.check_absent(definition, parameter, &absent, span)
            }
            Some(Value::None) => true,
            _ => false,
        })
    }

    /// Names in the type of a tensor that have no value, and no default either, stand for its sizes.
    fn bind_sizes(&mut self, definition: &Definition, parameter: &Parameter, ty: &Type) {
        let TypeExpr::Plain { name, arguments, .. } = &parameter.kind else { return };
        let axes: &[Axis] = if *name.text == *FEATURES { &[Axis::Channel] } else { ty.kind.axes() };
        for (declared, axis) in arguments.iter().zip(axes) {
            let (ExprKind::Name(name), Some(actual)) = (&declared.kind, ty.dim(*axis)) else { continue };
            // The default of a size of a model is only what is typical.
            let is_typical =
                |own: &Parameter| definition.kind == DefinitionKind::Model && Takes::of(&own.kind) == Some(Takes::Dim);
            let mut parameters = definition.parameters.iter();
            let has_default = parameters.any(|own| own.name.text == *name && own.default.is_some() && !is_typical(own));
            if self.variable(name).is_none() && !has_default {
                self.bind(name, Value::size(actual));
            }
        }
    }

    /// The sizes that only a missing tensor would bring are zero.
    fn bind_no_sizes(&mut self, definition: &Definition, parameter: &Parameter) {
        let TypeExpr::Plain { arguments, .. } = &parameter.kind else { return };
        for declared in arguments {
            let ExprKind::Name(name) = &declared.kind else { continue };
            let is_parameter = definition.parameters.iter().any(|own| own.name.text == *name);
            if self.variable(name).is_none() && !is_parameter {
                self.bind(name, Value::Int(0));
            }
        }
    }

    /// Binds a parameter's default, unless it has a value. False if it has neither, which has been reported.
    fn default_of(&mut self, definition: &Definition, parameter: &Parameter, span: Span) -> bool {
        if self.variable(&parameter.name.text).is_some() {
            return true;
        }
        let Some(default) = &parameter.default else {
            let message = format!("`{}` lacks its `{}`", definition.name.text, parameter.name.text);
            self.error("call/missing-argument", message, span, &format!("give `{}: ..`", parameter.name.text));
            return false;
        };
        let Some(takes) = Takes::of(&parameter.kind) else { return false };
        let value = self.eval_for(default, takes);
        let of = format!("`{}` of `{}`", parameter.name.text, definition.name.text);
        let taken = match value {
            Value::None if takes == Takes::Tensor => Some(value),
            value => self.take_for(value, &parameter.kind, default, &of, None),
        };
        match taken {
            Some(value) => {
                self.bind(&parameter.name.text, value);
                true
            }
            None => false,
        }
    }

    /// Compares a tensor with the declared type.
    fn check_tensor(&mut self, definition: &Definition, parameter: &Parameter, node: NodeId, span: Span) -> bool {
        let TypeExpr::Plain { name, arguments, .. } = &parameter.kind else { return false };
        let ty = self.ty(node).clone();
        // `features[C]` stands for any layout; its one size is that of the channels.
        let any = *name.text == *FEATURES && ty.channels().is_some();
        let Some(kind) = (if any { Some(ty.kind) } else { Kind::from_name(&name.text) }) else {
            self.wrong_tensor(definition, parameter, node, span, "");
            return false;
        };
        let role = match parameter.role {
            Some(ast::Role::Cond) => Some(Role::Cond),
            Some(ast::Role::Gate) => Some(Role::Gate),
            None => None,
        };
        if let Some(role) = role {
            let node = self.graph.node_mut(node);
            node.role.get_or_insert(role);
        }
        // A time, a noise level and any other number per sample stand for each other where a scalar is asked for.
        let fits = ty.kind == kind || kind == Kind::Scalar && ty.kind.is_scalar();
        if !fits {
            self.wrong_tensor(definition, parameter, node, span, "");
            return false;
        }
        let axes: &[Axis] = if any { &[Axis::Channel] } else { kind.axes() };
        // Reported by the check of names.
        if arguments.len() != axes.len() {
            return false;
        }
        for (declared, axis) in arguments.iter().zip(axes) {
            let Some(actual) = ty.dim(*axis) else { return false };
            let Some(expected) = self.declared_size(declared) else { return false };
            if expected != *actual {
                let difference = format!("{}: {actual}, expected {expected}", axis.name());
                self.wrong_tensor(definition, parameter, node, span, &difference);
                return false;
            }
        }
        true
    }

    /// Whether an input that is left out is of the kind that the block may do without.
    fn check_absent(&mut self, definition: &Definition, parameter: &Parameter, absent: &Absent, span: Span) -> bool {
        let TypeExpr::Plain { name, .. } = &parameter.kind else { return false };
        if *name.text == *FEATURES || Kind::from_name(&name.text) == Some(absent.ty.kind) {
            return true;
        }
        let expected = self.program.sources.text(parameter.kind.span()).to_owned();
        let of = format!("`{}` expects {expected} as `{}`", definition.name.text, parameter.name.text);
        let message = format!("{of}, found `{}`, which is left out as {}", absent.name, absent.ty);
        self.error("shape/mismatch", message, span, "called here");
        false
    }

    /// The size that a declaration asks for.
    fn declared_size(&mut self, declared: &Expr) -> Option<Dim> {
        let value = self.eval(declared);
        let size = value.dim();
        if size.is_none() && !value.is_poison() {
            let problem = Diagnostic::error("type/size", "a size is a whole number above zero")
                .label(declared.span, format!("this is {}", value.describe()));
            let problem = self.with_remainder_help(problem, declared);
            self.report(problem);
        }
        size
    }

    fn wrong_tensor(
        &mut self,
        definition: &Definition,
        parameter: &Parameter,
        node: NodeId,
        span: Span,
        difference: &str,
    ) {
        let ty = self.ty(node).clone();
        let expected = self.program.sources.text(parameter.kind.span()).to_owned();
        let message = format!("`{}` expects {expected} as `{}`, found {ty}", definition.name.text, parameter.name.text);
        let mut problem = Diagnostic::error("shape/mismatch", message)
            .label(span, format!("given {ty}"))
            .label(parameter.span, format!("expects {expected}"));
        let made = self.graph.node(node).span;
        if made != span {
            problem = problem.label(made, format!("this is {ty}"));
        }
        if !difference.is_empty() {
            problem = problem.note(difference.to_owned());
        }
        // The call stands outside of the block that is being entered.
        let inner = self.scope;
        self.scope = self.graph.scope(inner).parent.unwrap_or(inner);
        self.report(problem);
        self.scope = inner;
    }

    /// Checks the result of a body against what the block declares.
    fn finish_block(&mut self, definition: &Definition, value: Value, span: Span) -> Value {
        match (&value, &definition.results) {
            (Value::Poison, _) => Value::Poison,
            (_, Some(results)) => self.check_results(definition, value, results),
            (Value::Tensor(_) | Value::List(_), None) => value,
            (other, None) => {
                let problem = Diagnostic::error("block/no-result", format!("`{}` has no result", definition.name.text))
                    .label(last_expression(definition), format!("this gives {}", other.describe()))
                    .label(span, "called here")
                    .help(help_for_result(other));
                self.report(problem)
            }
        }
    }

    pub(super) fn check_results(&mut self, definition: &Definition, value: Value, results: &[ResultType]) -> Value {
        let values = match (&value, results) {
            (Value::Poison, _) => return Value::Poison,
            (Value::Tensor(_), [_]) => vec![value.clone()],
            (Value::List(list), _) if list.items.len() == results.len() => list.items.clone(),
            (other, _) => {
                let message = match results.len() {
                    1 => format!("`{}` declares a tensor as its result", definition.name.text),
                    count => format!("`{}` declares {count} results", definition.name.text),
                };
                let span = last_expression(definition);
                let found = format!("this gives {}", other.describe());
                return self.error("block/result", message, span, &found);
            }
        };
        for (value, result) in values.iter().zip(results) {
            let Value::Tensor(node) = value else {
                let found = format!("one of them is {}", value.describe());
                return self.error("block/result", "results are tensors", last_expression(definition), &found);
            };
            let ty = self.ty(*node).clone();
            let Some(expected) = self.result_type(&result.kind, &ty) else { return Value::Poison };
            let same = ty.kind == expected.kind && ty.dims == expected.dims
                || ty.kind.is_scalar() && expected.kind.is_scalar();
            if !same {
                let message = format!("`{}` declares {expected} but gives {ty}", definition.name.text);
                let problem = Diagnostic::error("shape/mismatch", message)
                    .label(last_expression(definition), format!("this is {ty}"))
                    .label(result.kind.span(), format!("declared {expected}"));
                return self.report(problem);
            }
        }
        value
    }

    /// A declared type with every size evaluated.
    fn result_type(&mut self, kind: &TypeExpr, actual: &Type) -> Option<Type> {
        let TypeExpr::Plain { name, arguments, span } = kind else { return None };
        if let (FEATURES, [channels]) = (&*name.text, arguments.as_slice()) {
            return self.eval(channels).dim().map(|channels| actual.clone().with(Axis::Channel, channels));
        }
        match self.type_value(&name.text, arguments, *span) {
            Value::Type(ty) => Some(ty),
            _ => None,
        }
    }

    /// Runs `f` in a naming scope of its own, if there is a label; the scope's value is what `f` gives.
    pub(super) fn labelled_scope(
        &mut self,
        label: Option<&LabelValue>,
        span: Span,
        f: impl FnOnce(&mut Self) -> Value,
    ) -> Value {
        let Some(label) = label else { return f(self) };
        let path = self.naming.path_for(Some(label), "");
        self.in_scope(ScopeKind::Section, Arc::from("section"), path, span, f)
    }

    /// Runs `f` in a scope that is no block: names of variables stay visible.
    pub(super) fn in_scope(
        &mut self,
        kind: ScopeKind,
        name: Arc<str>,
        path: Arc<str>,
        span: Span,
        f: impl FnOnce(&mut Self) -> Value,
    ) -> Value {
        let scope = self.graph.add_scope(Scope {
            kind,
            name,
            parent: Some(self.scope),
            path: path.clone(),
            call: span,
            definition: span,
            hyperparameters: vec![],
            inputs: vec![],
            outputs: vec![],
        });
        let outer_scope = std::mem::replace(&mut self.scope, scope);
        let outer_path = self.naming.enter(path);
        let value = f(self);
        self.naming.enter(outer_path);
        self.scope = outer_scope;
        self.graph.scope_mut(scope).outputs = tensors(&value);
        value
    }
}

/// The tensors that a value consists of.
pub(super) fn tensors(value: &Value) -> Vec<NodeId> {
    match value {
        Value::Tensor(node) => vec![*node],
        Value::List(list) => list.items.iter().flat_map(tensors).collect(),
        _ => vec![],
    }
}

/// What to do about a body that gives no tensor.
pub(super) fn help_for_result(value: &Value) -> &'static str {
    match value {
        Value::Stage(_) => "give the stage its tensor: `x -> silu()`",
        _ => "the last expression of a body is its result",
    }
}

/// Where the result of a body stands.
pub(super) fn last_expression(definition: &Definition) -> Span {
    definition.body.statements.last().map_or(definition.body.span, |statement| statement.span)
}
