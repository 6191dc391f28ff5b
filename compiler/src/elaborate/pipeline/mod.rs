//! Pipelines: the pieces of their bodies as models, and what stands between them.

mod conditions;
mod draft;
mod network;
mod settings;

use super::{Budget, Settings};
use crate::pipeline::{Denoise, NOISE, Pipeline};
use crate::program::{DefinitionRef, Program};
use crate::types::Kind;
use archc_grammar::ast::{ExprKind, Name, Parameter, Pattern, Statement, StatementKind, TypeExpr};
use archc_grammar::{Diagnostic, Level, Span};
use draft::Draft;
use std::sync::Arc;

/// A pipeline, unless errors prevented one, and everything there is to say about the way to it.
#[derive(Debug)]
pub struct ElaboratedPipeline {
    pub pipeline: Option<Pipeline>,
    pub diagnostics: Vec<Diagnostic>,
}

/// Elaborates all networks of a pipeline. `settings` are sizes of the networks that take noise away.
pub fn elaborate_pipeline(
    program: &Program,
    found: &DefinitionRef,
    settings: &Settings,
    budget: Budget,
) -> ElaboratedPipeline {
    let mut cutter = Cutter { program, found, settings, budget, diagnostics: vec![] };
    let pipeline = cutter.pipeline();
    let diagnostics = cutter.diagnostics;
    let failed = diagnostics.iter().any(|problem| problem.level == Level::Error);
    ElaboratedPipeline { pipeline: pipeline.filter(|_| !failed), diagnostics }
}

/// Ids of what is wrong with a pipeline; others are said once.
const DENOISE: &str = "pipeline/denoise";
const CONDITION: &str = "pipeline/condition";
const FOLDER: &str = "pipeline/folder";
const PARAMETER: &str = "pipeline/parameter";

struct Cutter<'p> {
    program: &'p Program,
    found: &'p DefinitionRef,
    settings: &'p Settings,
    budget: Budget,
    diagnostics: Vec<Diagnostic>,
}

/// The body of a pipeline, cut at its `denoise` statements.
struct Pieces<'p> {
    before: &'p [Statement],
    stages: Vec<(&'p Name, Denoise<'p>)>,
    behind: &'p [Statement],
}

impl<'p> Cutter<'p> {
    fn error<T>(&mut self, id: &'static str, message: impl Into<String>, span: Span, label: &str) -> Option<T> {
        self.report(Diagnostic::error(id, message).label(span, label))
    }

    /// Reports a problem, and gives none, so that it can be the way out.
    fn report<T>(&mut self, problem: Diagnostic) -> Option<T> {
        self.diagnostics.push(problem);
        None
    }

    fn pipeline(&mut self) -> Option<Pipeline> {
        let definition = &self.found.definition;
        let noise = self.noise()?;
        let pieces = self.pieces()?;
        let drafts: Vec<Option<Draft<'p>>> = pieces.stages.iter().map(|(_, denoise)| self.draft(denoise)).collect();
        let mut drafts: Vec<Draft<'p>> = drafts.into_iter().collect::<Option<_>>()?;
        self.hand_over(&pieces, &mut drafts)?;
        let (encoder, stages) = self.encoder(&pieces, drafts)?;
        let decoder = self.decoder(&pieces, &stages)?;
        Some(Pipeline {
            name: definition.name.text.to_string(),
            docs: definition.docs.clone(),
            noise,
            encoder,
            stages,
            decoder,
        })
    }

    /// Parameters are what is given from outside, texts as ids and other tensors, and what is drawn unless it is given. Gives
    /// the names of those.
    fn noise(&mut self) -> Option<Vec<Arc<str>>> {
        let definition = &self.found.definition;
        let mut noise = vec![];
        for parameter in &definition.parameters {
            let Some(kind) = kind(parameter) else {
                let help = "write `tokenizer: ids[77, 49408]`: the text in ids of the tokenizer in that folder";
                let problem = Diagnostic::error(PARAMETER, format!("`{}` is no tensor", parameter.name.text))
                    .label(parameter.span, "a pipeline is given tensors alone");
                return self.report(problem.help(help));
            };
            let Some(default) = &parameter.default else { continue };
            let is_noise = matches!(&default.kind, ExprKind::Name(word) if **word == *NOISE);
            if !is_noise || !kind.has_positions() && kind != Kind::Vector || kind.is_index() {
                let message = format!("`{}` has a default that pipelines do not have", parameter.name.text);
                let problem = Diagnostic::error(PARAMETER, message).label(default.span, "not known");
                let help = "leave it out; images, videos, tokens and vectors can be `noise`, which the seed draws";
                return self.report(problem.help(help));
            }
            noise.push(parameter.name.text.clone());
        }
        if definition.results.is_some() {
            let message = "the result of a pipeline is what its body gives";
            return self.error("pipeline/result", message, definition.header, "leave out its type");
        }
        Some(noise)
    }

    /// Where the body is cut.
    fn pieces(&mut self) -> Option<Pieces<'p>> {
        let definition = &self.found.definition;
        let statements = definition.body.statements.as_slice();
        let mut stages: Vec<(&Name, Denoise<'_>)> = vec![];
        let (mut first, mut end) = (None, 0);
        for (at, statement) in statements.iter().enumerate() {
            let StatementKind::Let { pattern, value } = &statement.kind else { continue };
            let Some(denoise) = Denoise::of(value) else { continue };
            let Pattern::Name(name) = pattern else {
                return self.error(DENOISE, "`denoise` gives one tensor", statement.span, "bind it to one name");
            };
            if first.is_some() && at != end {
                let message = "nothing stands between two `denoise`";
                return self.error(DENOISE, message, denoise.span, "takes over from the one above");
            }
            first.get_or_insert(at);
            end = at + 1;
            stages.push((name, denoise));
        }
        let (Some(first), Some(behind)) = (first, statements.get(end..)) else {
            let message = format!("`{}` takes no noise away", definition.name.text);
            let problem = Diagnostic::error(DENOISE, message)
                .label(definition.header, "there is no `denoise` in its body")
                .help("write `let latents = denoise(MODEL, ..) @FOLDER`");
            return self.report(problem);
        };
        Some(Pieces { before: statements.get(..first).unwrap_or_default(), stages, behind })
    }

    /// Each stage but the first takes what the one before it leaves, which says where it ends.
    fn hand_over(&mut self, pieces: &Pieces<'_>, drafts: &mut [Draft<'_>]) -> Option<()> {
        let mut before: Option<&Name> = None;
        let mut from: Option<f64> = None;
        let last = drafts.len().saturating_sub(1);
        for (at, ((name, denoise), draft)) in pieces.stages.iter().zip(drafts).enumerate() {
            let given = denoise.before.map(|head| &head.kind);
            let fits = match (before, given) {
                (None, None) => true,
                (Some(name), Some(ExprKind::Name(head))) => name.text == *head,
                _ => false,
            };
            if !fits {
                let label = match before {
                    None => "starts from noise".to_owned(),
                    Some(name) => format!("write `{} -> denoise(..)`", name.text),
                };
                let message = "a `denoise` goes on where the one before it ends";
                return self.error(DENOISE, message, denoise.span, &label);
            }
            let until = draft.settings.until.unwrap_or(1.0);
            if from.is_some_and(|from| from >= until) {
                let message = "a `denoise` ends behind where it begins";
                return self.error(DENOISE, message, denoise.span, "`until` does not rise");
            }
            if (at < last) != draft.settings.until.is_some() {
                let message = "`until` says where the next `denoise` takes over";
                let label = if at < last { "give `until: 0.8`" } else { "nothing takes over from this one" };
                return self.error(DENOISE, message, denoise.span, label);
            }
            draft.settings.from = from;
            (before, from) = (Some(*name), draft.settings.until);
        }
        Some(())
    }
}

/// What kind of tensor a parameter is, if it is one.
fn kind(parameter: &Parameter) -> Option<Kind> {
    match &parameter.kind {
        TypeExpr::Plain { name, .. } => Kind::from_name(&name.text),
        TypeExpr::List { .. } => None,
    }
}
