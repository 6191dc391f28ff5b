//! Every name in every definition, whether or not a model reaches it: is it bound, and can it be called like that?
//!
//! Elaboration only sees what a model instantiates, and only the branches that are taken. This pass sees all of the
//! text once, so that a check reports all unknown names of a file in one run.

use super::{Item, ModuleId, Program, list};
use crate::ops;
use crate::suggest::did_you_mean;
use crate::types::Kind;
use archc_grammar::ast::{
    Argument, Body, Definition, Expr, ExprKind, File, ItemKind, Name, ParameterPath, PathPart, Pattern, StageBody,
    Statement, StatementKind, TypeExpr,
};
use archc_grammar::{Diagnostic, Span};
use indexmap::IndexMap;
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;

/// After this many problems in one file the rest is not looked at.
const MAX_PROBLEMS: usize = 100;

/// Compile-time functions, with what they do.
pub(crate) const BUILTIN_FUNCTIONS: &[(&str, &str)] = &[
    ("abs", "magnitude of a number"),
    ("assert", "`assert(condition, \"why\")` stops the compilation where the condition does not hold"),
    ("ceil", "smallest whole number that is not below"),
    ("exp", "exponential"),
    ("floor", "largest whole number that is not above"),
    ("int", "a number without fraction as a whole number"),
    ("len", "number of items of a list"),
    ("log", "natural logarithm"),
    ("max", "largest of numbers or of a list"),
    ("min", "smallest of numbers or of a list"),
    ("pow", "`pow(base, exponent)`"),
    ("reversed", "a list from its end; `for x, i in reversed(xs)` keeps the index of each item"),
    ("round", "nearest whole number"),
    ("sqrt", "square root"),
    ("sum", "sum of a list of numbers"),
];

/// Stages that are words of the language rather than operators.
pub(crate) const BUILTIN_STAGES: &[(&str, &str)] = &[
    ("chunk", "`x -> chunk(n)`: a list of n equal parts of the channels"),
    ("identity", "leaves its input as it is"),
    ("join", "`h -> join(long)`: fuses the newest saved feature of a skip"),
    ("learned", "`x -> learned(0.5, per: channel)`: multiplies by a learned factor"),
];

/// Distributions that parameters may start from.
pub(crate) const INITIALISERS: &[(&str, &str)] = &[
    ("constant", "`constant(value)`"),
    ("default", "what an `init` statement or else the framework says"),
    ("kaiming_normal", "normal, `gain / sqrt(fan_in)`"),
    ("kaiming_uniform", "uniform, bound `gain * sqrt(3 / fan_in)`"),
    ("normal", "`normal(std: 0.02, mean: 0)`"),
    ("one", "one"),
    ("sincos_table", "`sincos_table(height, width)`: fixed two-dimensional sine-cosine positions"),
    ("uniform", "`uniform(low, high)`"),
    ("xavier_normal", "normal, `gain * sqrt(2 / (fan_in + fan_out))`"),
    ("xavier_uniform", "uniform, bound `gain * sqrt(6 / (fan_in + fan_out))`"),
    ("zero", "zero"),
];

const CONSTANTS: &[&str] = &["pi", "inf"];

fn builtin_names() -> impl Iterator<Item = &'static str> {
    let tables = [BUILTIN_FUNCTIONS, BUILTIN_STAGES, INITIALISERS];
    let words = tables.into_iter().flatten().map(|(name, _)| *name);
    words.chain(CONSTANTS.iter().copied()).chain(ops::signatures().iter().map(|signature| signature.name))
}

/// Whether items may not have this name.
pub(crate) fn is_reserved(name: &str) -> bool {
    builtin_names().any(|own| own == name) || Kind::from_name(name).is_some()
}

pub(super) fn check(program: &Program, module: ModuleId, ast: &File) -> Vec<Diagnostic> {
    let mut checker = Checker { program, module, bound: Bound::default(), problems: vec![], edges: IndexMap::new() };
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
}

impl Checker<'_> {
    fn definition(&mut self, definition: &Definition) {
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
            self.bound.push(parameter.name.text.clone());
        }
        for parameter in &definition.parameters {
            self.parameter_type(&parameter.kind);
        }
        for parameter in &definition.parameters {
            if let Some(default) = &parameter.default {
                self.expr(default, &definition.name.text);
            }
        }
        for result in definition.results.iter().flatten() {
            self.type_dims(&result.kind, &definition.name.text);
        }
        self.body(&definition.body, &definition.name.text);
    }

    /// Names in the type of a parameter bind sizes.
    fn parameter_type(&mut self, kind: &TypeExpr) {
        match kind {
            TypeExpr::List { element, .. } => self.parameter_type(element),
            TypeExpr::Plain { name, arguments, .. } => {
                self.type_name(name);
                for argument in arguments {
                    match &argument.kind {
                        ExprKind::Name(name) if !self.is_bound(name) => self.bound.push(name.clone()),
                        _ => self.expr(argument, ""),
                    }
                }
            }
        }
    }

    fn type_dims(&mut self, kind: &TypeExpr, inside: &str) {
        match kind {
            TypeExpr::List { element, .. } => self.type_dims(element, inside),
            TypeExpr::Plain { name, arguments, .. } => {
                self.type_name(name);
                arguments.iter().for_each(|argument| self.expr(argument, inside));
            }
        }
    }

    fn type_name(&mut self, name: &Name) {
        let words = ["int", "float", "bool", "string", "stage", "init", "skip", "dim", crate::elaborate::FEATURES];
        let kinds = || Kind::ALL.iter().map(|kind| kind.name());
        if words.contains(&&*name.text) || kinds().any(|kind| kind == &*name.text) {
            return;
        }
        let problem = Diagnostic::error("name/unknown", format!("there is no type `{}`", name.text))
            .label(name.span, "not a type");
        let help = did_you_mean(&name.text, kinds().chain(words))
            .unwrap_or_else(|| format!("tensors: {}; others: {}", list(kinds()), list(words)));
        self.problems.push(problem.help(help));
    }

    fn preset(&mut self, preset: &archc_grammar::ast::Preset) {
        self.bound.truncate(0);
        match self.program.find(self.module, &preset.model.text) {
            Some(Item::Definition(model)) => {
                if model.definition.kind == archc_grammar::ast::DefinitionKind::Block {
                    let problem = Diagnostic::error("preset/not-a-model", "a preset names a model")
                        .label(preset.model.span, "this is a block");
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
                    self.expr(&argument.value, "");
                }
            }
            Some(Item::Preset(..)) => {
                let problem = Diagnostic::error("preset/not-a-model", "a preset names a model")
                    .label(preset.model.span, "this is a preset");
                self.problems.push(problem);
            }
            Some(Item::Broken) => {}
            None => self.unknown(&preset.model.text, preset.model.span),
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
                self.expr(value, inside);
                match pattern {
                    Pattern::Name(name) => self.bound.push(name.text.clone()),
                    Pattern::List(names, _) => names.iter().for_each(|name| self.bound.push(name.text.clone())),
                }
            }
            StatementKind::Assign { name, value } => {
                self.expr(value, inside);
                if !self.is_bound(&name.text) {
                    let problem =
                        Diagnostic::error("name/unknown", format!("there is no variable `{}` to assign", name.text))
                            .label(name.span, "not bound here");
                    let help = did_you_mean(&name.text, self.bound.stack.iter().map(|name| &**name))
                        .unwrap_or_else(|| format!("bind it first: `let {} = ..`", name.text));
                    self.problems.push(problem.help(help));
                    // One report is enough.
                    self.bound.push(name.text.clone());
                }
            }
            StatementKind::Save { skip, value } => {
                self.name(&skip.text, skip.span, inside);
                self.expr(value, inside);
            }
            StatementKind::Skip { name, arguments } => {
                self.arguments(arguments, inside);
                self.bound.push(name.text.clone());
            }
            StatementKind::Init(rules) => {
                for rule in rules {
                    self.init_target(&rule.target);
                    self.expr(&rule.value, inside);
                }
            }
            StatementKind::Order(_) => {}
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

    fn init_target(&mut self, target: &Name) {
        let (owner, parameter) = match target.text.split_once('.') {
            Some((owner, parameter)) => (owner, Some(parameter)),
            None => (&*target.text, None),
        };
        let parameters = ["weight", "bias"];
        if parameter.is_some_and(|parameter| !parameters.contains(&parameter)) {
            let problem = Diagnostic::error("name/unknown", format!("there is no parameter `{}`", target.text))
                .label(target.span, "a parameter is `weight` or `bias`");
            self.problems.push(problem);
        }
        if parameters.contains(&owner) && parameter.is_none() || ops::signature(owner).is_some() {
            return;
        }
        let operators = ops::signatures().iter().map(|signature| signature.name);
        let problem = Diagnostic::error("name/unknown", format!("there is no operator `{owner}` to initialise"))
            .label(target.span, "not an operator");
        let help = did_you_mean(owner, operators.chain(parameters))
            .unwrap_or_else(|| "name an operator (`linear`), or a parameter of all operators (`bias`)".to_owned());
        self.problems.push(problem.help(help));
    }

    fn label(&mut self, label: &ParameterPath, inside: &str) {
        for part in label.segments.iter().flatten() {
            if let PathPart::Expr(expr) = part {
                self.expr(expr, inside);
            }
        }
    }

    fn arguments(&mut self, arguments: &[Argument], inside: &str) {
        for argument in arguments {
            self.argument_value(&argument.value, inside);
        }
    }

    /// A bare word may be a choice (`per: channel`): what it may be is known to the parameter that takes it.
    fn argument_value(&mut self, value: &Expr, inside: &str) {
        match &value.kind {
            ExprKind::Name(name) if !self.is_bound(name) && !self.is_known(name) => {}
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
                if let ExprKind::Name(name) = &callee.kind {
                    self.call(name, arguments);
                }
                self.arguments(arguments, inside);
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
                self.arguments(arguments, inside);
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
        self.program.find(self.module, name).is_some() || is_reserved(name)
    }

    fn name(&mut self, name: &Arc<str>, span: Span, inside: &str) {
        if self.is_bound(name) {
            return;
        }
        if let Some(Item::Definition(found)) = self.program.find(self.module, name) {
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

    fn unknown(&mut self, name: &str, span: Span) {
        let mut candidates: Vec<&str> = self.bound.stack.iter().map(|name| &**name).collect();
        candidates.extend(self.program.names(self.module));
        for name in builtin_names() {
            candidates.push(name);
        }
        let library = crate::library::STD.iter().find_map(|(file, text)| {
            let defines = text
                .lines()
                .any(|line| line.strip_prefix("block ").is_some_and(|rest| rest.split('(').next() == Some(name)));
            defines.then(|| format!("it is in the standard library: `use std.{file}.{{{name}}}`"))
        });
        let problem =
            Diagnostic::error("name/unknown", format!("there is no `{name}` here")).label(span, "unknown name");
        let foreign = || archc_grammar::foreign_word(name).map(str::to_owned);
        let help = library.or_else(foreign).or_else(|| did_you_mean(name, candidates.iter().copied()));
        self.problems.push(match help {
            Some(help) => problem.help(help),
            None => problem,
        });
    }

    /// Names of arguments, where the callee is known without elaboration.
    fn call(&mut self, callee: &str, arguments: &[Argument]) {
        if self.is_bound(callee) {
            return;
        }
        if let Some(Item::Definition(found)) = self.program.find(self.module, callee) {
            let definition = found.definition.clone();
            for name in arguments.iter().filter_map(|argument| argument.name.as_ref()) {
                self.argument_name(name, &definition);
            }
        }
    }

    fn argument_name(&mut self, name: &Name, definition: &Definition) {
        if definition.parameters.iter().any(|parameter| parameter.name.text == name.text) {
            return;
        }
        let known: Vec<&str> = definition.parameters.iter().map(|parameter| &*parameter.name.text).collect();
        let message = format!("`{}` has no parameter `{}`", definition.name.text, name.text);
        let problem = Diagnostic::error("call/unknown-argument", message)
            .label(name.span, "unknown parameter")
            .label(definition.header, "declared here");
        let help = did_you_mean(&name.text, known.iter().copied())
            .unwrap_or_else(|| format!("it has {}", list(known.iter().copied())));
        self.problems.push(problem.help(help));
    }

    /// Blocks are unrolled, so a block that uses itself has no end.
    fn recursion(&mut self) {
        let starts: Vec<Arc<str>> = self.edges.keys().cloned().collect();
        let mut done = FxHashSet::default();
        for start in starts {
            self.follow(&start, &mut vec![], &mut done);
        }
    }

    fn follow(&mut self, at: &Arc<str>, path: &mut Vec<Arc<str>>, done: &mut FxHashSet<Arc<str>>) {
        if done.contains(at) {
            return;
        }
        path.push(at.clone());
        for (to, span) in self.edges.get(at).cloned().unwrap_or_default() {
            if let Some(start) = path.iter().position(|name| *name == to) {
                let circle: Vec<&str> = path.iter().skip(start).map(|name| &**name).collect();
                let mut problem = Diagnostic::error("block/recursive", format!("`{to}` uses itself"))
                    .label(span, "closes the circle")
                    .help("blocks are unrolled at compile time; repeat one with `for i in 0..n { .. }`");
                if circle.len() > 1 {
                    problem = problem.note(format!("{} -> {to}", circle.join(" -> ")));
                }
                self.problems.push(problem);
            } else {
                // Chains of blocks may be as long as the file.
                stacker::maybe_grow(32 << 10, 1 << 20, || self.follow(&to, path, done));
            }
        }
        path.pop();
        done.insert(at.clone());
    }
}
