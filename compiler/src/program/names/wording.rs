//! What to say about a name that means nothing.

use super::Checker;
use crate::library;
use crate::ops;
use crate::pipeline::DENOISE;
use crate::program::list;
use crate::suggest::did_you_mean;
use crate::types::Kind;
use crate::words;
use archc_grammar::ast::{Definition, Name};
use archc_grammar::{Diagnostic, Span, foreign_word};

impl Checker<'_> {
    pub(super) fn unknown(&mut self, name: &str, span: Span) {
        let problem =
            Diagnostic::error("name/unknown", format!("there is no `{name}` here")).label(span, "unknown name");
        let is_denoise = name == DENOISE;
        let help = is_denoise.then(|| "`let latents = denoise(..)` stands in the body of a pipeline".to_owned());
        let help = help
            .or_else(|| in_library(name))
            .or_else(|| foreign_word(name).map(str::to_owned))
            .or_else(|| did_you_mean(name, self.callable()))
            .or_else(|| did_you_mean(name, words::names(words::INITIALISERS).chain(kinds())));
        self.problems.push(match help {
            Some(help) => problem.help(help),
            None => problem,
        });
    }

    /// Variables, blocks, operators and functions.
    fn callable(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.bound.stack.iter().map(|name| &**name).collect();
        names.extend(self.program.names(self.module));
        let tables = [words::FUNCTIONS, words::STAGES, words::CONSTANTS].into_iter().flat_map(words::names);
        for name in tables.chain(ops::signatures().iter().map(|signature| signature.name)) {
            names.push(name);
        }
        names
    }

    /// A bare word where a text in quotes is wanted.
    pub(super) fn unquoted(&mut self, word: &str, span: Span) {
        let problem = Diagnostic::error("name/unknown", format!("there is no `{word}` here"))
            .label(span, "unknown name")
            .help(format!("a text stands in quotes: `\"{word}\"`"));
        self.problems.push(problem);
    }

    pub(super) fn unbound(&mut self, name: &Name) {
        let message = format!("there is no variable `{}` to assign", name.text);
        let help = did_you_mean(&name.text, self.bound.stack.iter().map(|name| &**name))
            .unwrap_or_else(|| format!("bind it first: `let {} = ..`", name.text));
        let problem = Diagnostic::error("name/unknown", message).label(name.span, "not bound here").help(help);
        self.problems.push(problem);
    }

    pub(super) fn unbound_skip(&mut self, name: &Name) {
        let help = did_you_mean(&name.text, self.bound.stack.iter().map(|name| &**name))
            .unwrap_or_else(|| format!("declare it first: `skip {}(fuse: concat)`", name.text));
        let problem = Diagnostic::error("name/unknown", format!("there is no skip `{}` to save to", name.text))
            .label(name.span, "not declared here")
            .help(help);
        self.problems.push(problem);
    }

    pub(super) fn argument_name(&mut self, name: &Name, definition: &Definition) {
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

    /// `linear`, `bias`, `linear.bias`
    pub(super) fn init_target(&mut self, target: &Name) {
        const PARAMETERS: [&str; 2] = ["weight", "bias"];
        let (owner, parameter) = match target.text.split_once('.') {
            Some((owner, parameter)) => (owner, Some(parameter)),
            None => (&*target.text, None),
        };
        if let Some(unknown) = parameter.filter(|parameter| !PARAMETERS.contains(parameter)) {
            let problem = Diagnostic::error("name/unknown", format!("there is no parameter `{}`", target.text))
                .label(target.span, "a parameter is `weight` or `bias`");
            self.problems.push(match did_you_mean(unknown, PARAMETERS) {
                Some(help) => problem.help(help),
                None => problem,
            });
        }
        if PARAMETERS.contains(&owner) && parameter.is_none() || ops::signature(owner).is_some() {
            return;
        }
        let operators = ops::signatures().iter().map(|signature| signature.name);
        let problem = Diagnostic::error("name/unknown", format!("there is no operator `{owner}` to initialise"))
            .label(target.span, "not an operator");
        let help = did_you_mean(owner, operators.chain(PARAMETERS))
            .unwrap_or_else(|| "name an operator (`linear`), or a parameter of all operators (`bias`)".to_owned());
        self.problems.push(problem.help(help));
    }
}

fn kinds() -> impl Iterator<Item = &'static str> + Clone {
    Kind::ALL.iter().map(|kind| kind.name())
}

/// Where the standard library defines a block of that name.
fn in_library(name: &str) -> Option<String> {
    library::STD.iter().find_map(|(file, text)| {
        let defines = |line: &str| line.strip_prefix("block ").is_some_and(|rest| rest.split('(').next() == Some(name));
        text.lines().any(defines).then(|| format!("it is in the standard library: `use std.{file}.{{{name}}}`"))
    })
}

pub(super) fn unknown_type(name: &Name) -> Diagnostic {
    let problem =
        Diagnostic::error("name/unknown", format!("there is no type `{}`", name.text)).label(name.span, "not a type");
    let foreign = match &*name.text {
        "list" | "List" | "array" | "Array" | "tuple" | "vec" | "Vec" => Some("a list is written `[int]`"),
        "Tensor" | "tensor" | "ndarray" | "Array2" => {
            Some("the type of a tensor says what its axes mean: `image[C, H, W]`, `tokens[N, D]`, `vector[D]`")
        }
        "Module" | "module" | "Callable" | "function" | "fn" => {
            Some("a block or an operator as an argument is a `stage`")
        }
        "double" | "number" | "f32" | "f64" | "real" => Some("a number is a `float`"),
        "i32" | "i64" | "usize" | "uint" => Some("a whole number is an `int`"),
        _ => None,
    };
    let help =
        foreign.map(str::to_owned).or_else(|| did_you_mean(&name.text, kinds().chain(words::names(words::TYPES))));
    problem.help(
        help.unwrap_or_else(|| {
            format!("tensors are {}; others are {}", list(kinds()), list(words::names(words::TYPES)))
        }),
    )
}

/// A type with too many sizes or too few.
pub(crate) fn wrong_sizes(name: &str, axes: &[&str], found: usize, span: Span) -> Diagnostic {
    let count = match axes.len() {
        0 => "no sizes".to_owned(),
        1 => "one size".to_owned(),
        count => format!("{count} sizes"),
    };
    let form = if axes.is_empty() { name.to_owned() } else { format!("{name}[{}]", axes.join(", ")) };
    Diagnostic::error("type/axes", format!("`{name}` has {count}, found {found}"))
        .label(span, "wrong number of sizes")
        .help(format!("write `{form}`"))
}

pub(crate) fn unknown_initialiser(name: &str, span: Span) -> Diagnostic {
    let known = || words::names(words::INITIALISERS);
    let help = did_you_mean(name, known()).unwrap_or_else(|| format!("one of {}", list(known())));
    Diagnostic::error("init/unknown", format!("there is no initialiser `{name}`"))
        .label(span, "unknown distribution")
        .help(help)
}
