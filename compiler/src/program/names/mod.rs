//! Every name in every definition, whether or not a model reaches it: is it bound, and can it be called like that?
//!
//! Elaboration only sees what a model instantiates, and only the branches that are taken. This pass sees all of the
//! text once, so that a check reports all unknown names of a file in one run.

mod denoise;
mod recursion;
mod wording;

use super::{DefinitionRef, Item, ModuleId, Program};
use crate::elaborate::FEATURES;
use crate::ops;
use crate::ops::signature::{Operands, Signature};
use crate::pipeline::Denoise;
use crate::types::Kind;
use crate::words;
use archc_grammar::ast::{
    Argument, Body, Definition, DefinitionKind, Expr, ExprKind, File, ItemKind, Name, Parameter, ParameterPath,
    PathPart, Pattern, StageBody, Statement, StatementKind, TypeExpr,
};
use archc_grammar::{Diagnostic, Span};
use indexmap::IndexMap;
use rustc_hash::FxHashMap;
use std::sync::Arc;

pub(crate) use wording::{unknown_initialiser, wrong_sizes};

/// After this many problems in one file the rest is not looked at.
const MAX_PROBLEMS: usize = 100;

fn builtin_names() -> impl Iterator<Item = &'static str> {
    let tables = [words::FUNCTIONS, words::STAGES, words::INITIALISERS, words::CONSTANTS];
    tables.into_iter().flat_map(words::names).chain(ops::signatures().iter().map(|signature| signature.name))
}

/// Whether items may not have this name.
pub(crate) fn is_reserved(name: &str) -> bool {
    builtin_names().any(|own| own == name) || Kind::from_name(name).is_some()
}

pub(super) fn check(program: &Program, module: ModuleId, ast: &File) -> Vec<Diagnostic> {
    let (bound, edges) = (Bound::default(), IndexMap::new());
    let mut checker = Checker { program, module, bound, problems: vec![], edges, in_pipeline: false };
    for item in &ast.items {
        if checker.problems.len() > MAX_PROBLEMS {
            break;
        }
        match &item.kind {
            ItemKind::Definition(definition) => checker.definition(definition),
            ItemKind::Preset(preset) => checker.preset(preset),
            ItemKind::Use(_) => {}
        }
    }
    checker.recursion();
    checker.problems
}

/// Names in scope, innermost last.
#[derive(Default)]
struct Bound {
    stack: Vec<Arc<str>>,
    counts: FxHashMap<Arc<str>, usize>,
}

impl Bound {
    fn push(&mut self, name: Arc<str>) {
        *self.counts.entry(name.clone()).or_insert(0) += 1;
        self.stack.push(name);
    }

    fn truncate(&mut self, depth: usize) {
        for name in self.stack.drain(depth..) {
            if let Some(count) = self.counts.get_mut(&name) {
                *count -= 1;
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        self.counts.get(name).is_some_and(|count| *count > 0)
    }
}

struct Checker<'p> {
    program: &'p Program,
    module: ModuleId,
    bound: Bound,
    problems: Vec<Diagnostic>,
    /// Which definition of this module names which other ones, and where.
    edges: IndexMap<Arc<str>, Vec<(Arc<str>, Span)>>,
    /// The definition at hand is a pipeline.
    in_pipeline: bool,
}

impl Checker<'_> {
    fn definition(&mut self, definition: &Definition) {
        self.in_pipeline = definition.kind == DefinitionKind::Pipeline;
        self.bound.truncate(0);
        for (at, parameter) in definition.parameters.iter().enumerate() {
            let twin = definition.parameters.iter().take(at).find(|p| p.name.text == parameter.name.text);
            if let Some(twin) = twin {
                let problem =
                    Diagnostic::error("name/duplicate", format!("two parameters are named `{}`", parameter.name.text))
                        .label(parameter.name.span, "again here")
                        .label(twin.name.span, "first here");
                self.problems.push(problem);
            }
        }
        self.defaults(definition);
        self.bound.truncate(0);
        for parameter in &definition.parameters {
            self.bound.push(parameter.name.text.clone());
        }
        for parameter in &definition.parameters {
            self.size_names(&parameter.kind);
        }
        for parameter in &definition.parameters {
            self.parameter_type(&parameter.kind);
        }
        self.first_default(definition);
        for result in definition.results.iter().flatten() {
            self.type_dims(&result.kind, &definition.name.text);
        }
        self.body(&definition.body, &definition.name.text);
    }

    /// A default may use what stands before it, and in a block the sizes that tensors bring along.
    fn defaults(&mut self, definition: &Definition) {
        if definition.kind == DefinitionKind::Block {
            for parameter in &definition.parameters {
                self.size_names(&parameter.kind);
            }
        }
        for parameter in &definition.parameters {
            // A word of pipelines stands for itself, and is looked at when they are elaborated.
            let is_word = |default: &&Expr| self.in_pipeline && matches!(default.kind, ExprKind::Name(_));
            if let Some(default) = parameter.default.as_ref().filter(|default| !is_word(default)) {
                let known = self.problems.len();
                self.expr(default, &definition.name.text);
                for problem in self.problems.iter_mut().skip(known).filter(|problem| problem.id == "name/unknown") {
                    let is_later = |own: &Parameter| problem.message.contains(&format!("`{}`", own.name.text));
                    if definition.parameters.iter().any(is_later) {
                        problem.help = Some("a default may use the parameters before it".to_owned());
                    }
                }
            }
            self.bound.push(parameter.name.text.clone());
        }
    }

    /// A tensor of a block that may be missing has a default; the first one is what the block is about.
    fn first_default(&mut self, definition: &Definition) {
        let Some(first) = definition.parameters.first() else { return };
        let is_tensor = matches!(&first.kind, TypeExpr::Plain { name, .. }
            if *name.text == *FEATURES || Kind::from_name(&name.text).is_some());
        if let Some(default) = first.default.as_ref().filter(|_| is_tensor && definition.kind == DefinitionKind::Block)
        {
            let problem = Diagnostic::error("block/first-default", "the first tensor of a block cannot be left out")
                .label(default.span, "no default can stand here");
            self.problems.push(problem);
        }
    }

    /// A name by itself in the type of a parameter stands for the size at hand.
    fn size_names(&mut self, kind: &TypeExpr) {
        if let TypeExpr::Plain { arguments, .. } = kind {
            for argument in arguments {
                match &argument.kind {
                    ExprKind::Name(name) if !self.is_bound(name) => self.bound.push(name.clone()),
                    _ => {}
                }
            }
        }
    }

    fn parameter_type(&mut self, kind: &TypeExpr) {
        match kind {
            TypeExpr::List { element, .. } => self.parameter_type(element),
            TypeExpr::Plain { name, arguments, span } => {
                self.type_name(name, arguments.len(), *span);
                arguments.iter().for_each(|argument| self.expr(argument, ""));
            }
        }
    }

    fn type_dims(&mut self, kind: &TypeExpr, inside: &str) {
        match kind {
            TypeExpr::List { element, .. } => self.type_dims(element, inside),
            TypeExpr::Plain { name, arguments, span } => {
                self.type_name(name, arguments.len(), *span);
                arguments.iter().for_each(|argument| self.expr(argument, inside));
            }
        }
    }

    fn type_name(&mut self, name: &Name, sizes: usize, span: Span) {
        let axes = match (Kind::from_name(&name.text), words::find(words::TYPES, &name.text)) {
            (Some(kind), _) => kind.axes().iter().map(|axis| axis.name()).collect(),
            (None, Some(word)) if word.name == FEATURES => vec!["channels"],
            (None, Some(_)) => vec![],
            (None, None) => return self.problems.push(wording::unknown_type(name)),
        };
        if axes.len() != sizes {
            self.problems.push(wrong_sizes(&name.text, &axes, sizes, span));
        }
    }

    fn preset(&mut self, preset: &archc_grammar::ast::Preset) {
        self.bound.truncate(0);
        match self.program.find(self.module, &preset.model.text) {
            Some(Item::Definition(model)) => {
                if model.definition.kind != DefinitionKind::Model {
                    let problem = Diagnostic::error("preset/not-a-model", "a preset names a model")
                        .label(preset.model.span, format!("this is a {}", model.definition.kind.word()));
                    self.problems.push(problem);
                }
                let definition = model.definition.clone();
                for argument in &preset.arguments {
                    if let Some(name) = &argument.name {
                        self.argument_name(name, &definition);
                    } else {
                        let problem = Diagnostic::error("call/arguments", "a preset names its hyperparameters")
                            .label(argument.value.span, "which one?")
                            .help("write `name: value`");
                        self.problems.push(problem);
                    }
                    self.argument(argument, &Callee::Block(&definition), "");
                }
                self.repeated(&preset.arguments, &preset.model.text);
            }
            Some(Item::Preset(..)) => {
                let problem = Diagnostic::error("preset/not-a-model", "a preset names a model")
                    .label(preset.model.span, "this is a preset");
                self.problems.push(problem);
            }
            Some(Item::Broken) => {}
            None if is_reserved(&preset.model.text) => {
                let problem = Diagnostic::error("preset/not-a-model", "a preset names a model")
                    .label(preset.model.span, "this is a word of the language");
                self.problems.push(problem);
            }
            None => self.unknown(&preset.model.text, preset.model.span),
        }
    }

    /// Hyperparameters that a preset gives twice.
    fn repeated(&mut self, arguments: &[Argument], model: &str) {
        for (at, argument) in arguments.iter().enumerate() {
            let Some(name) = &argument.name else { continue };
            let is_same = |other: &&Argument| other.name.as_ref().is_some_and(|own| own.text == name.text);
            if let Some(first) = arguments.iter().take(at).find(is_same) {
                let message = format!("`{}` of `{model}` is given twice", name.text);
                let problem = Diagnostic::error("call/given-twice", message)
                    .label(argument.value.span, "again here")
                    .label(first.value.span, "first here");
                self.problems.push(problem);
            }
        }
    }

    fn is_bound(&self, name: &str) -> bool {
        self.bound.has(name)
    }

    fn body(&mut self, body: &Body, inside: &str) {
        let depth = self.bound.stack.len();
        for statement in &body.statements {
            self.statement(statement, inside);
        }
        self.bound.truncate(depth);
    }

    fn statement(&mut self, statement: &Statement, inside: &str) {
        match &statement.kind {
            StatementKind::Let { pattern, value } => {
                match Denoise::of(value).filter(|_| self.in_pipeline) {
                    Some(denoise) => self.denoise(&denoise, inside),
                    None => self.expr(value, inside),
                }
                match pattern {
                    Pattern::Name(name) => self.bound.push(name.text.clone()),
                    Pattern::List(names, _) => names.iter().for_each(|name| self.bound.push(name.text.clone())),
                }
            }
            StatementKind::Assign { name, value } => {
                self.expr(value, inside);
                if !self.is_bound(&name.text) {
                    self.unbound(name);
                    // One report is enough.
                    self.bound.push(name.text.clone());
                }
            }
            StatementKind::Save { skip, value } => {
                if !self.is_bound(&skip.text) {
                    self.unbound_skip(skip);
                    self.bound.push(skip.text.clone());
                }
                self.expr(value, inside);
            }
            StatementKind::Skip { name, arguments } => {
                self.skip_options(arguments, inside);
                self.bound.push(name.text.clone());
            }
            StatementKind::Init(rules) => {
                for rule in rules {
                    self.init_target(&rule.target);
                    self.initialiser(&rule.value, inside);
                }
            }
            StatementKind::Order(_) => {}
            StatementKind::Process(entries) => self.process(entries, inside),
            StatementKind::For(repeat) => {
                self.expr(&repeat.iterable, inside);
                let depth = self.bound.stack.len();
                self.bound.push(repeat.item.text.clone());
                repeat.index.iter().for_each(|name| self.bound.push(name.text.clone()));
                repeat.label.iter().for_each(|label| self.label(label, inside));
                self.body(&repeat.body, inside);
                self.bound.truncate(depth);
            }
            StatementKind::Section(section) => {
                section.label.iter().for_each(|label| self.label(label, inside));
                self.body(&section.body, inside);
            }
            StatementKind::Expr(expr) => self.expr(expr, inside),
        }
    }

    /// What an entry says is a word with numbers, which are looked at when it is evaluated.
    fn process(&mut self, entries: &[Argument], inside: &str) {
        for entry in entries {
            match &entry.value.kind {
                ExprKind::Name(_) => {}
                ExprKind::Call { callee, arguments } if matches!(callee.kind, ExprKind::Name(_)) => {
                    self.arguments(arguments, &Callee::Plain, inside);
                }
                _ => self.expr(&entry.value, inside),
            }
        }
    }

    /// `renorm: expected(..)` is no call.
    fn skip_options(&mut self, options: &[Argument], inside: &str) {
        for option in options {
            match &option.value.kind {
                ExprKind::Call { callee, arguments }
                    if option.name.as_ref().is_some_and(|name| *name.text == *"renorm")
                        && matches!(&callee.kind, ExprKind::Name(word)
                            if **word == *words::EXPECTED && !self.is_bound(word) && !self.is_known(word)) =>
                {
                    self.arguments(arguments, &Callee::Plain, inside);
                }
                _ => self.argument(option, &Callee::Plain, inside),
            }
        }
    }

    fn label(&mut self, label: &ParameterPath, inside: &str) {
        for part in label.segments.iter().flatten() {
            if let PathPart::Expr(expr) = part {
                self.expr(expr, inside);
            }
        }
    }

    fn arguments(&mut self, arguments: &[Argument], callee: &Callee<'_>, inside: &str) {
        for argument in arguments {
            self.argument(argument, callee, inside);
        }
    }

    fn argument(&mut self, argument: &Argument, callee: &Callee<'_>, inside: &str) {
        let ExprKind::Name(word) = &argument.value.kind else {
            if callee.takes_initialiser(argument) {
                return self.initialiser(&argument.value, inside);
            }
            return self.expr(&argument.value, inside);
        };
        if self.is_bound(word) || self.is_known(word) {
            return self.expr(&argument.value, inside);
        }
        if callee.takes_initialiser(argument) {
            self.problems.push(unknown_initialiser(word, argument.value.span));
        } else if callee.is_text(argument) {
            self.unquoted(word, argument.value.span);
        } else if !callee.takes_word(word, argument) {
            self.unknown(word, argument.value.span);
        }
    }

    /// What stands behind `init`: the name of a distribution, or a value.
    fn initialiser(&mut self, value: &Expr, inside: &str) {
        match &value.kind {
            ExprKind::Name(name) if !self.is_bound(name) && !self.is_known(name) => {
                self.problems.push(unknown_initialiser(name, value.span));
            }
            ExprKind::Call { callee, arguments } => match &callee.kind {
                ExprKind::Name(name) if !self.is_bound(name) && !self.is_known(name) => {
                    self.problems.push(unknown_initialiser(name, value.span));
                    self.arguments(arguments, &Callee::Plain, inside);
                }
                _ => self.expr(value, inside),
            },
            _ => self.expr(value, inside),
        }
    }

    fn expr(&mut self, expr: &Expr, inside: &str) {
        match &expr.kind {
            ExprKind::Int(_) | ExprKind::Float(_) | ExprKind::Text(_) | ExprKind::Bool(_) | ExprKind::Invalid => {}
            ExprKind::Name(name) => self.name(name, expr.span, inside),
            ExprKind::List(items) | ExprKind::Tuple(items) => items.iter().for_each(|item| self.expr(item, inside)),
            ExprKind::Chain { first, rest } => {
                self.expr(first, inside);
                rest.iter().for_each(|(_, operand)| self.expr(operand, inside));
            }
            ExprKind::Unary { operand, .. } => self.expr(operand, inside),
            ExprKind::Range { start, end } => {
                self.expr(start, inside);
                self.expr(end, inside);
            }
            ExprKind::Pipe { head, stages } => {
                self.expr(head, inside);
                stages.iter().for_each(|stage| self.expr(stage, inside));
            }
            ExprKind::Call { callee, arguments } => {
                self.expr(callee, inside);
                self.call(callee, arguments, inside);
            }
            ExprKind::Index { base, indices } => {
                match &base.kind {
                    ExprKind::Name(name) if Kind::from_name(name).is_some() && !self.is_bound(name) => {}
                    _ => self.expr(base, inside),
                }
                indices.iter().for_each(|index| self.expr(index, inside));
            }
            ExprKind::Labelled { inner, label } => {
                self.expr(inner, inside);
                self.label(label, inside);
            }
            ExprKind::If(choice) => {
                for (condition, body) in &choice.branches {
                    self.expr(condition, inside);
                    self.body(body, inside);
                }
                choice.otherwise.iter().for_each(|body| self.body(body, inside));
            }
            ExprKind::Residual { arguments, body } => {
                self.arguments(arguments, &Callee::Plain, inside);
                self.stage_body(body, inside);
            }
            ExprKind::Stage(body) => self.stage_body(body, inside),
        }
    }

    fn stage_body(&mut self, body: &StageBody, inside: &str) {
        let depth = self.bound.stack.len();
        body.input.iter().for_each(|name| self.bound.push(name.text.clone()));
        self.body(&body.body, inside);
        self.bound.truncate(depth);
    }

    fn is_known(&self, name: &str) -> bool {
        self.program.knows(self.module, name)
    }

    fn name(&mut self, name: &Arc<str>, span: Span, inside: &str) {
        if self.is_bound(name) {
            return;
        }
        if let Some(found) = self.definition_of(name) {
            if found.module == self.module && !inside.is_empty() {
                let to = found.definition.name.text.clone();
                self.edges.entry(Arc::from(inside)).or_default().push((to, span));
            }
            return;
        }
        if !self.is_known(name) {
            self.unknown(name, span);
        }
    }

    /// Arguments, with their names where the callee is known without elaboration.
    fn call(&mut self, callee: &Expr, arguments: &[Argument], inside: &str) {
        let ExprKind::Name(name) = &callee.kind else { return self.arguments(arguments, &Callee::Plain, inside) };
        if self.is_bound(name) {
            return self.arguments(arguments, &Callee::Plain, inside);
        }
        if let Some(signature) = ops::signature(name) {
            return self.arguments(arguments, &Callee::Operator(signature), inside);
        }
        match self.definition_of(name) {
            Some(found) => {
                let definition = found.definition.clone();
                for name in arguments.iter().filter_map(|argument| argument.name.as_ref()) {
                    self.argument_name(name, &definition);
                }
                self.arguments(arguments, &Callee::Block(&definition), inside);
            }
            None if &**name == "learned" => self.arguments(arguments, &Callee::Learned, inside),
            None => self.arguments(arguments, &Callee::Plain, inside),
        }
    }

    /// The block, the model, or the model of the preset of that name.
    fn definition_of(&self, name: &str) -> Option<&DefinitionRef> {
        match self.program.find(self.module, name)? {
            Item::Definition(found) => Some(found),
            Item::Preset(module, preset) => match self.program.find(*module, &preset.model.text)? {
                Item::Definition(found) => Some(found),
                Item::Preset(..) | Item::Broken => None,
            },
            Item::Broken => None,
        }
    }
}

/// What the arguments of a call are given to, as far as it decides what a bare word means.
enum Callee<'a> {
    Operator(&'static Signature),
    Block(&'a Definition),
    /// `learned(0.5, per: channel)`
    Learned,
    /// Anything that takes values alone.
    Plain,
}

impl Callee<'_> {
    /// Whether the word may be one that the parameter knows (`per: channel`). Which parameter a positional argument
    /// belongs to is known only when the call is elaborated, which reports the words that are none.
    fn takes_word(&self, word: &str, argument: &Argument) -> bool {
        let name = argument.name.as_ref().map(|name| &*name.text);
        match (self, name) {
            // Those of an operator that takes any number of tensors are tensors.
            (Callee::Operator(signature), None) => {
                !matches!(signature.operands, Operands::Variadic(_))
                    && signature.attributes.iter().any(|own| own.choices().next().is_some())
            }
            (Callee::Operator(signature), Some(name)) => {
                let own = signature.attributes.iter().find(|own| own.name == name);
                own.is_none_or(|own| own.choices().next().is_some() || signature.has_choice(word))
            }
            (Callee::Learned, _) => true,
            (Callee::Block(_) | Callee::Plain, _) => false,
        }
    }

    fn takes_initialiser(&self, argument: &Argument) -> bool {
        let Some(name) = &argument.name else { return false };
        match self {
            Callee::Operator(_) => crate::elaborate::INIT_ARGUMENTS.contains(&&*name.text),
            Callee::Block(definition) => declares(definition, name, "init"),
            Callee::Learned | Callee::Plain => false,
        }
    }

    /// Whether a text in quotes is wanted.
    fn is_text(&self, argument: &Argument) -> bool {
        match (self, &argument.name) {
            (Callee::Block(definition), Some(name)) => declares(definition, name, "string"),
            _ => false,
        }
    }
}

/// Whether a block declares a parameter of that type.
fn declares(definition: &Definition, name: &Name, kind: &str) -> bool {
    let own = definition.parameters.iter().find(|parameter| parameter.name.text == name.text);
    own.is_some_and(|own| matches!(&own.kind, TypeExpr::Plain { name, .. } if *name.text == *kind))
}
