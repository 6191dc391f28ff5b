//! The way from a source to a graph and everything there is to say about it, in one call.

use crate::elaborate::{Budget, Settings, elaborate, elaborate_pipeline};
use crate::ir::Graph;
use crate::lint::{self, Findings};
use crate::pipeline::{Pipeline, findings};
use crate::program::{Program, Target};
use crate::settings;
use crate::source::{SourceError, Sources};
use archc_grammar::{Diagnostic, Level};
use std::fmt;

/// What to compile with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub budget: Budget,
    /// What rules take as given.
    pub given: settings::Settings,
}

/// A model or preset of a source.
#[derive(Debug)]
pub struct Compiled {
    pub program: Program,
    /// What was compiled; none where the text of the source is too broken to tell.
    pub target: Option<Target>,
    /// There is one unless a diagnostic is an error of the language; findings of rules do not prevent it.
    pub graph: Option<Graph>,
    pub diagnostics: Vec<Diagnostic>,
}

/// A source with all its models and presets.
#[derive(Debug)]
pub struct Checked {
    pub program: Program,
    pub diagnostics: Vec<Diagnostic>,
    /// How many models, presets and pipelines were elaborated.
    pub targets: usize,
}

/// Why nothing could be compiled at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompileError {
    Source(SourceError),
    /// There is no such model or preset; a sentence for the user.
    Target(String),
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompileError::Source(SourceError::NotFound) => write!(f, "there is no such file"),
            CompileError::Source(SourceError::NotUtf8) => write!(f, "this is not UTF-8 text"),
            CompileError::Source(SourceError::Unreadable(why)) => write!(f, "it cannot be read: {why}"),
            CompileError::Target(message) => write!(f, "{message}"),
        }
    }
}

impl std::error::Error for CompileError {}

impl From<SourceError> for CompileError {
    fn from(error: SourceError) -> Self {
        CompileError::Source(error)
    }
}

/// Compiles one model or preset: the one of that name, or the first of the source.
///
/// An `#[allow]` that excuses nothing in this model may be needed in another one; [`check`] sees all of them and reports
/// those that are useless.
///
/// ```
/// use archc_compiler::{Options, compile};
///
/// let source = "model Tiny(x: vector[8]) -> vector[4] { x -> linear(4) @head }";
/// let compiled = compile("tiny.arch", None, &[], &[("tiny.arch", source)], &Options::default())?;
/// let graph = compiled.graph.expect("a graph, since nothing is wrong with it");
/// assert_eq!(graph.parameter_elements(), 8 * 4 + 4);
/// # Ok::<(), archc_compiler::CompileError>(())
/// ```
pub fn compile(
    source: &str,
    target: Option<&str>,
    settings: &Settings,
    sources: &(impl Sources + ?Sized),
    options: &Options,
) -> Result<Compiled, CompileError> {
    let (program, mut diagnostics) = Program::load(source, sources)?;
    let found = match program.target(target) {
        Ok(target) => target,
        // A file that cannot be read may well hold that model.
        Err(_) if target.is_none() && has_errors(&diagnostics) => {
            return Ok(Compiled { target: None, program, graph: None, diagnostics });
        }
        Err(message) => return Err(CompileError::Target(message)),
    };
    let elaborated = elaborate(&program, &found, settings, options.budget);
    merge(&mut diagnostics, elaborated.diagnostics);
    let mut graph = elaborated.graph;
    if let Some(graph) = &graph {
        let findings = lint::lint(graph, &program.sources, &options.given).diagnostics;
        let findings = without_echoes(findings, &diagnostics);
        merge(&mut diagnostics, findings);
    }
    if diagnostics.iter().any(|problem| problem.level == Level::Error && !lint::is_rule(&problem.id)) {
        graph = None;
    }
    tidy(&mut diagnostics);
    Ok(Compiled { program, target: Some(found), graph, diagnostics })
}

/// A pipeline of a source.
#[derive(Debug)]
pub struct CompiledPipeline {
    pub program: Program,
    /// There is one unless a diagnostic is an error of the language; findings of rules do not prevent it.
    pub pipeline: Option<Pipeline>,
    pub diagnostics: Vec<Diagnostic>,
}

/// Compiles one pipeline: the one of that name, or the first of the source; nothing where there is none. `settings` are
/// sizes of the networks that take noise away.
pub fn compile_pipeline(
    source: &str,
    name: Option<&str>,
    settings: &Settings,
    sources: &(impl Sources + ?Sized),
    options: &Options,
) -> Result<Option<CompiledPipeline>, SourceError> {
    let (program, mut diagnostics) = Program::load(source, sources)?;
    let mut pipelines = program.pipelines().into_iter();
    let found = pipelines.find(|own| name.is_none_or(|name| *own.definition.name.text == *name));
    let Some(found) = found else { return Ok(None) };
    let elaborated = elaborate_pipeline(&program, &found, settings, options.budget);
    merge(&mut diagnostics, elaborated.diagnostics);
    let pipeline = elaborated.pipeline.filter(|_| !has_errors(&diagnostics));
    if let Some(pipeline) = &pipeline {
        merge(&mut diagnostics, findings(pipeline, &found, &program.sources, &options.given, |_| false).diagnostics);
    }
    tidy(&mut diagnostics);
    Ok(Some(CompiledPipeline { program, pipeline, diagnostics }))
}

/// Checks a source: its text, its names, and every model, preset and pipeline in it. Reports `#[allow]`s that none of
/// them needs.
pub fn check(
    source: &str,
    settings: &Settings,
    sources: &(impl Sources + ?Sized),
    options: &Options,
) -> Result<Checked, SourceError> {
    let (program, mut diagnostics) = Program::load(source, sources)?;
    let mut targets = program.targets();
    targets.retain(|target| !program.is_template(target, settings));
    let mut found = Findings::default();
    for target in &targets {
        let elaborated = elaborate(&program, target, settings, options.budget);
        merge(&mut diagnostics, elaborated.diagnostics);
        if let Some(graph) = &elaborated.graph {
            let own = lint::lint(graph, &program.sources, &options.given);
            found.extend(Findings { diagnostics: without_echoes(own.diagnostics, &diagnostics), ..own });
            merge(&mut diagnostics, std::mem::take(&mut found.diagnostics));
        }
    }
    let pipelines = program.pipelines();
    for pipeline in &pipelines {
        // Networks that others than pipelines are given settings for are checked without them.
        let elaborated = elaborate_pipeline(&program, pipeline, &[], options.budget);
        merge(&mut diagnostics, elaborated.diagnostics);
        if let Some(networks) = &elaborated.pipeline {
            // What this file defines has had its turn.
            let is_known = |name: &str| targets.iter().any(|target| *target.name == *name);
            found.extend(findings(networks, pipeline, &program.sources, &options.given, is_known));
            merge(&mut diagnostics, std::mem::take(&mut found.diagnostics));
        }
    }
    merge(&mut diagnostics, found.useless_allows());
    tidy(&mut diagnostics);
    Ok(Checked { program, diagnostics, targets: targets.len() + pipelines.len() })
}

/// Findings without those that come of an error: where a layer could not be made, what it should have read goes nowhere.
fn without_echoes(findings: Vec<Diagnostic>, known: &[Diagnostic]) -> Vec<Diagnostic> {
    let broken = known.iter().any(|problem| problem.level == Level::Error && !lint::is_rule(&problem.id));
    findings.into_iter().filter(|finding| !broken || !finding.id.starts_with("structure/")).collect()
}

/// Whether any of them is an error.
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|problem| problem.level == Level::Error)
}

/// What to say of a finding that stands in several places of the unrolled model and is shown once.
pub(crate) fn more_places(count: usize) -> Option<String> {
    match count {
        0 | 1 => None,
        2 => Some("the same in one more place of the unrolled model".to_owned()),
        count => Some(format!("the same in {} more places of the unrolled model", count - 1)),
    }
}

/// Adds what is new: different targets share blocks, and one report of a line is enough. A name that is not known has
/// often been reported already, and then with more to say.
fn merge(known: &mut Vec<Diagnostic>, new: Vec<Diagnostic>) {
    for problem in new {
        let is_name = problem.id == "name/unknown";
        let twin = known.iter().any(|own| {
            let is_same = own.id == problem.id && own.message == problem.message;
            own.span() == problem.span() && (is_same || is_name && own.level == Level::Error)
        });
        if !twin {
            known.push(problem);
        }
    }
}

/// Sorts diagnostics by place, without the echoes of those that stand for others.
fn tidy(diagnostics: &mut Vec<Diagnostic>) {
    // A block that uses itself nests without end.
    if diagnostics.iter().any(|problem| problem.id == "block/recursive") {
        diagnostics.retain(|problem| problem.id != "budget/exceeded");
    }
    diagnostics.sort_by(|a, b| (a.span(), &a.id, &a.message).cmp(&(b.span(), &b.id, &b.message)));
}
