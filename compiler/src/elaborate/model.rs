//! The root: hyperparameters, symbolic sizes, inputs, outputs.

use super::block::{help_for_result, last_expression, tensors};
use super::take::Takes;
use super::value::{Absent, Value};
use super::{Elaborator, Frame, Settings};
use crate::dim::Dim;
use crate::ir::{Input, Node, NodeKind, Output, ROOT, Role};
use crate::program::{ModuleId, Target, list};
use crate::suggest::did_you_mean;
use crate::types::{Axis, Kind, Type};
use archc_grammar::ast::{self, Argument, Definition, Expr, ExprKind, Parameter, TypeExpr};
use archc_grammar::{Diagnostic, Span};
use smallvec::SmallVec;
use std::sync::Arc;

impl Elaborator<'_> {
    /// Elaborates the model of a target.
    pub(super) fn model(&mut self, target: &Target, settings: &Settings) {
        let definition = target.model.definition.clone();
        self.graph.docs = target.docs().to_owned();
        self.graph.preset = target.preset.as_ref().map(|(_, preset)| preset.name.text.clone());
        self.frames.push(Frame { module: target.model.module, variables: vec![], assignable_from: 0, unmet: false });
        self.unknown_settings(&definition, settings);
        self.given_hyperparameters(&definition, target, settings);
        self.hyperparameters(&definition, target, settings);
        if self.inputs(&definition, settings) {
            let value = self.allowing(&definition.allows, |elaborator| elaborator.body(&definition.body));
            self.outputs(&definition, value);
        }
        self.frames.pop();
    }

    fn unknown_settings(&mut self, definition: &Definition, settings: &Settings) {
        let settable: Vec<&str> = definition
            .parameters
            .iter()
            .filter(|parameter| Takes::of(&parameter.kind) != Some(Takes::Tensor))
            .map(|parameter| &*parameter.name.text)
            .chain(definition.parameters.iter().flat_map(|parameter| size_names(&parameter.kind)))
            .collect();
        let is_input = |name: &str| {
            let mut all = definition.parameters.iter();
            all.any(|own| *own.name.text == *name && Takes::of(&own.kind) == Some(Takes::Tensor))
        };
        for (name, _) in settings {
            if !settable.contains(&&**name) && !is_input(name) {
                let help = did_you_mean(name, settable.iter().copied())
                    .unwrap_or_else(|| format!("it has {}", list(settable.iter().copied())));
                let message = format!("`{}` has no hyperparameter `{name}` to set", definition.name.text);
                self.report(
                    Diagnostic::error("call/unknown-argument", message)
                        .label(definition.header, "declared here")
                        .help(help),
                );
            }
        }
    }

    /// Values from `--set`, then from the preset.
    fn given_hyperparameters(&mut self, definition: &Definition, target: &Target, settings: &Settings) {
        for parameter in &definition.parameters {
            let set = setting(settings, &parameter.name.text, parameter.span);
            // A size that a preset gives is a typical one, as a default would be.
            let is_open = Takes::of(&parameter.kind) == Some(Takes::Dim);
            let preset = preset_value(target, &parameter.name.text).filter(|_| !is_open);
            let is_set = set.is_some();
            let (value, module) = match (set, preset) {
                (Some(value), _) => (value, None),
                (None, Some((module, value))) => (value, Some(module)),
                (None, None) => continue,
            };
            let Some(takes) = Takes::of(&parameter.kind) else { continue };
            if takes == Takes::Tensor {
                let message = format!("`{}` is an input, not a hyperparameter", parameter.name.text);
                self.error("call/argument-type", message, value.span, "cannot be set");
                continue;
            }
            let evaluated = match module {
                None => self.eval_setting(&value, takes, &parameter.name.text),
                Some(module) => self.in_module(module, |elaborator| elaborator.eval_for(&value, takes)),
            };
            let of = format!("`{}` of `{}`", parameter.name.text, definition.name.text);
            let declared = (!is_set).then_some(parameter.span);
            let taken = self.take_for(evaluated, &parameter.kind, &value, &of, declared);
            let name = parameter.name.text.clone();
            self.bind(&name, taken.unwrap_or(Value::Poison));
        }
    }

    /// Evaluates something that is written in the names of another file: a preset.
    pub(super) fn in_module<T>(&mut self, module: ModuleId, f: impl FnOnce(&mut Self) -> T) -> T {
        let own = self.module();
        let enter = |elaborator: &mut Self, module| {
            if let Some(frame) = elaborator.frames.last_mut() {
                frame.module = module;
            }
        };
        enter(self, module);
        let result = f(self);
        enter(self, own);
        result
    }

    /// A value given from outside. Names in it have not been checked with those of the source.
    fn eval_setting(&mut self, value: &Expr, takes: Takes, name: &str) -> Value {
        let problems = self.diagnostics.len();
        let evaluated = self.eval_for(value, takes);
        if evaluated.is_poison() && self.diagnostics.len() == problems {
            let message = format!("the value given for `{name}` has no meaning");
            return self.error("call/argument-type", message, value.span, "given from outside");
        }
        evaluated
    }

    /// Defaults of everything that is not given; records what is in force.
    fn hyperparameters(&mut self, definition: &Definition, target: &Target, settings: &Settings) {
        for parameter in &definition.parameters {
            let Some(takes) = Takes::of(&parameter.kind) else { continue };
            if takes == Takes::Tensor {
                continue;
            }
            if takes == Takes::Dim {
                self.typical_size(parameter, target, settings);
                continue;
            }
            if self.variable(&parameter.name.text).is_none() {
                let value = match &parameter.default {
                    Some(default) => {
                        let value = self.eval_for(default, takes);
                        let of = format!("`{}` of `{}`", parameter.name.text, definition.name.text);
                        self.take_for(value, &parameter.kind, default, &of, None)
                    }
                    None => {
                        let message = format!("`{}` has no value", parameter.name.text);
                        let problem = Diagnostic::error("model/no-value", message)
                            .label(parameter.span, "a hyperparameter without a default")
                            .help(format!(
                                "give it a default, set it in a preset, or use `--set {}=..`",
                                parameter.name.text
                            ));
                        self.report(problem);
                        None
                    }
                };
                self.bind(&parameter.name.text, value.unwrap_or(Value::Poison));
            }
            let value = self.variable(&parameter.name.text).cloned().unwrap_or(Value::Poison);
            self.graph.hyperparameters.push((parameter.name.text.clone(), value.shown()));
        }
    }

    /// `H: dim = 32`: known only when the model runs, typically 32, or what a preset says; set from outside it is known now.
    fn typical_size(&mut self, parameter: &Parameter, target: &Target, settings: &Settings) {
        let name = &parameter.name.text;
        let typical = match preset_value(target, name) {
            Some((module, value)) => Some((self.in_module(module, |elaborator| elaborator.eval(&value)), value.span)),
            None => parameter.default.as_ref().map(|default| (self.eval(default), default.span)),
        };
        if let Some((value, span)) = typical {
            match value.dim() {
                Some(Dim::Known(size)) if size > 0 => {
                    self.graph.typical.insert(name.clone(), size);
                }
                _ if value.is_poison() => {}
                _ => {
                    let found = format!("this is {}", value.describe());
                    self.error("type/size", "a typical size is a whole number above zero", span, &found);
                }
            }
        }
        if !settings.iter().any(|(set, _)| set == name) && self.variable(name).is_none() {
            self.bind(name, Value::Dim(Dim::symbol(name)));
        }
    }

    fn inputs(&mut self, definition: &Definition, settings: &Settings) -> bool {
        let mut complete = true;
        for parameter in &definition.parameters {
            if Takes::of(&parameter.kind) == Some(Takes::Tensor) {
                self.input_symbols(parameter, settings);
            }
        }
        for parameter in &definition.parameters {
            if Takes::of(&parameter.kind) != Some(Takes::Tensor) {
                continue;
            }
            if let Some(default) = &parameter.default {
                let message = format!("`{}` is an input, which has no default", parameter.name.text);
                self.error("model/input-default", message, default.span, "leave it out");
            }
            let Some(ty) = self.input_type(parameter) else {
                self.bind(&parameter.name.text, Value::Poison);
                complete = false;
                continue;
            };
            if ty.dims.contains(&Dim::Known(0)) {
                let absent = Absent { name: parameter.name.text.clone(), ty };
                self.bind(&parameter.name.text, Value::Absent(Arc::new(absent)));
                continue;
            }
            let role = parameter.role.map(|role| match role {
                ast::Role::Cond => Role::Cond,
                ast::Role::Gate => Role::Gate,
            });
            let node = self.graph.add_node(
                Node {
                    kind: NodeKind::Input(self.graph.inputs.len() as u32),
                    ty,
                    scope: ROOT,
                    span: parameter.span,
                    path: None,
                    name: Some(parameter.name.text.clone()),
                    role,
                    parameters: SmallVec::new(),
                    allow: None,
                },
                &[],
            );
            self.graph.inputs.push(Input { name: parameter.name.text.clone(), node });
            self.graph.scope_mut(ROOT).inputs.push((parameter.name.text.clone(), node));
            self.bind(&parameter.name.text, Value::Tensor(node));
        }
        complete
    }

    /// Names in the type of an input that have no value are symbols, unless they are given from outside.
    fn input_symbols(&mut self, parameter: &Parameter, settings: &Settings) {
        let TypeExpr::Plain { arguments, .. } = &parameter.kind else { return };
        for size in arguments {
            let ExprKind::Name(name) = &size.kind else { continue };
            if self.variable(name).is_none() {
                let value = match setting(settings, name, size.span) {
                    Some(value) => self.eval_setting(&value, Takes::Dim, name),
                    None => Value::Dim(Dim::symbol(name)),
                };
                self.bind(name, value);
            }
        }
    }

    fn input_type(&mut self, parameter: &Parameter) -> Option<Type> {
        let TypeExpr::Plain { name, arguments, span } = &parameter.kind else { return None };
        let Some(kind) = Kind::from_name(&name.text) else {
            let problem =
                Diagnostic::error("type/kind", format!("an input has a layout, which `{}` leaves open", name.text))
                    .label(*span, "which one?")
                    .help("`features` is for blocks; write `image[C, H, W]`, `tokens[N, D]` or `vector[D]`");
            self.report(problem);
            return None;
        };
        // Reported by the check of names.
        if arguments.len() != kind.axes().len() {
            return None;
        }
        let mut dims = vec![];
        for (argument, axis) in arguments.iter().zip(kind.axes()) {
            dims.push(self.input_size(parameter, argument, *axis)?);
        }
        let ty = Type::new(kind, dims);
        if ty.is_within_limits() { Some(ty) } else { self.too_large(&ty.to_string(), *span) }
    }

    fn input_size(&mut self, parameter: &Parameter, size: &Expr, axis: Axis) -> Option<Dim> {
        let value = self.eval(size);
        match value.dim() {
            // Without channels or classes the input is left out.
            Some(Dim::Known(0)) if matches!(axis, Axis::Channel | Axis::Class) => Some(Dim::Known(0)),
            Some(Dim::Known(0)) | None if !value.is_poison() => {
                let problem = Diagnostic::error("type/size", "a size is a whole number above zero")
                    .label(size.span, format!("this is {}", value.describe()));
                let problem = self.with_remainder_help(problem, size);
                self.report(problem);
                None
            }
            Some(dim @ Dim::Open(_)) if matches!(axis, Axis::Channel | Axis::Class) => {
                let message = format!("the {} of an input have to be known", axis.name());
                let problem = Diagnostic::error("type/open-size", message)
                    .label(size.span, format!("`{dim}` has no value"))
                    .label(parameter.name.span, "of this input")
                    .help(format!("make it a hyperparameter: `{dim}: int = 3`"));
                self.report(problem);
                None
            }
            dim => dim,
        }
    }

    fn outputs(&mut self, definition: &Definition, value: Value) {
        let value = match (&value, &definition.results) {
            (Value::Poison, _) => return,
            (_, Some(results)) => self.check_results(definition, value, results),
            (_, None) if is_made_of_tensors(&value) => value,
            (other, None) => {
                let found = format!("this gives {}", other.describe());
                let message = format!("`{}` has no output", definition.name.text);
                let problem = Diagnostic::error("model/no-output", message)
                    .label(last_expression(definition), found)
                    .help(help_for_result(other));
                self.report(problem);
                return;
            }
        };
        let nodes = tensors(&value);
        if let Some(folded) = nodes.iter().find(|node| !self.ty(**node).batch.folds.is_empty()) {
            let problem = Diagnostic::error("model/folded-output", "an output belongs to a whole sample")
                .label(last_expression(definition), format!("this is {}", self.ty(*folded)))
                .help("bring frames together with `to_video()`");
            self.report(problem);
        }
        let named = definition.results.as_deref().unwrap_or(&[]);
        for (at, node) in nodes.iter().enumerate() {
            let name: Option<Arc<str>> = named.get(at).and_then(|result| result.name.as_ref()).map(|n| n.text.clone());
            let name = match (at, name) {
                (_, Some(name)) => name,
                (0, None) => Arc::from("out"),
                (at, None) => Arc::from(format!("out{at}")),
            };
            self.graph.outputs.push(Output { name, node: *node });
        }
        self.graph.scope_mut(ROOT).outputs = nodes;
    }
}

/// What a preset says of a hyperparameter, and the file whose names it uses.
fn preset_value(target: &Target, name: &str) -> Option<(ModuleId, Expr)> {
    let (module, preset) = target.preset.as_ref()?;
    let named = |a: &&Argument| a.name.as_ref().is_some_and(|own| *own.text == *name);
    preset.arguments.iter().rev().find(named).map(|argument| (*module, argument.value.clone()))
}

/// Whether a value is a tensor, or a list of such.
fn is_made_of_tensors(value: &Value) -> bool {
    match value {
        Value::Tensor(_) => true,
        Value::List(list) => !list.items.is_empty() && list.items.iter().all(is_made_of_tensors),
        _ => false,
    }
}

/// A value given from outside, as if it stood at a place of the source: its own text is part of no source.
fn setting(settings: &Settings, name: &str, place: Span) -> Option<Expr> {
    let given = settings.iter().rev().find(|(own, _)| **own == *name);
    given.map(|(_, value)| Expr { span: place, ..value.clone() })
}

/// Names of sizes in a type.
fn size_names(kind: &TypeExpr) -> Vec<&str> {
    let TypeExpr::Plain { arguments, .. } = kind else { return vec![] };
    let names = arguments.iter().filter_map(|argument| match &argument.kind {
        ExprKind::Name(name) => Some(&**name),
        _ => None,
    });
    names.collect()
}
