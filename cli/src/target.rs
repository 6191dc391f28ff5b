//! `FILE#name` and `--set name=value`.

use crate::args::{Settings, Target};
use crate::files;
use crate::render;
use archc_compiler::elaborate::Budget;
use archc_compiler::ir::Graph;
use archc_compiler::settings::Settings as Declared;
use archc_compiler::source::Files;
use archc_compiler::{Compiled, FileId, Options, compile};
use archc_grammar::ast::Expr;
use archc_grammar::parse_expression;
use std::path::Path;
use std::sync::Arc;

/// Hyperparameters from the command line.
pub fn settings(settings: &Settings) -> Result<Vec<(Arc<str>, Expr)>, String> {
    let parse = |text: &String| {
        let (name, value) = text.split_once('=').ok_or_else(|| format!("`--set {text}`: write `--set name=value`"))?;
        let expr = parse_expression(value, FileId(u32::MAX))
            .map_err(|problem| format!("`--set {text}`: {}", problem.message))?;
        Ok((Arc::from(name.trim()), expr))
    };
    settings.set.iter().map(parse).collect()
}

/// Options of the compiler for a spec, from the command line and from the nearest archc.yaml.
pub fn options(settings: &Settings, spec: &Path) -> Result<Options, String> {
    let given = crate::settings::load(settings.config.as_deref(), spec)?;
    let mut options = Options { given, ..Options::default() };
    if let Some(nodes) = settings.budget {
        options.budget = Budget { nodes, ..options.budget };
    }
    Ok(options)
}

/// The file and the name of a target.
pub fn split(spec: &str) -> (&str, Option<&str>) {
    match spec.rsplit_once('#') {
        Some((file, name)) => (file, Some(name)),
        None => (spec, None),
    }
}

/// Compiles a target.
pub fn compiled(target: &Target) -> Result<Compiled, String> {
    let (file, _) = split(&target.spec);
    compiled_with(target, &options(&target.settings, Path::new(file))?)
}

/// Compiles a target with what is declared.
pub fn compiled_with(target: &Target, options: &Options) -> Result<Compiled, String> {
    let (file, name) = split(&target.spec);
    let settings_given = settings(&target.settings)?;
    let file_name = files::name(Path::new(file));
    compile(&file_name, name, &settings_given, &Files::default(), options).map_err(|error| format!("{file}: {error}"))
}

/// The graph of a target, or its errors on standard error.
pub fn graph(target: &Target) -> Result<Option<(Compiled, Graph)>, String> {
    Ok(or_errors(compiled(target)?))
}

/// The graph with what is declared of its inputs.
pub fn declared_graph(target: &Target) -> Result<Option<(Compiled, Graph, Declared)>, String> {
    let options = options(&target.settings, Path::new(split(&target.spec).0))?;
    let compiled = compiled_with(target, &options)?;
    Ok(or_errors(compiled).map(|(compiled, graph)| (compiled, graph, options.given)))
}

fn or_errors(mut compiled: Compiled) -> Option<(Compiled, Graph)> {
    match compiled.graph.take() {
        Some(graph) => Some((compiled, graph)),
        None => {
            let errors: Vec<_> =
                compiled.diagnostics.iter().filter(|d| d.level == archc_compiler::Level::Error).cloned().collect();
            render::pretty_to_stderr(&errors, &compiled.program.sources);
            None
        }
    }
}
