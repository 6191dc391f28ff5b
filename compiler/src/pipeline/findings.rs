//! What rules find in the networks of a pipeline, as seen from there.

use super::{Pipeline, Stage};
use crate::lint::{Findings, lint};
use crate::program::DefinitionRef;
use crate::settings::Settings;
use crate::source::SourceMap;
use archc_grammar::ast::Allow;
use archc_grammar::{Diagnostic, Frame, Label};

/// Findings in the networks of a pipeline, but for those that take noise away and `is_known` by name. What is found in a
/// network of the library stands at the `denoise` or the call that brings it in, where an `#[allow]` excuses it.
pub(crate) fn findings(
    pipeline: &Pipeline,
    found: &DefinitionRef,
    sources: &SourceMap,
    given: &Settings,
    is_known: impl Fn(&str) -> bool,
) -> Findings {
    let mut all = Findings::default();
    let pieces = pipeline.encoder.iter().chain([&pipeline.decoder]);
    pieces.for_each(|network| all.extend(lint(&network.graph, sources, given)));
    for stage in pipeline.stages.iter().filter(|stage| !is_known(stage.network.graph.name())) {
        let Findings { diagnostics, unused_allows, used_allows } = lint(&stage.network.graph, sources, given);
        let mut own = Findings { diagnostics: vec![], unused_allows, used_allows };
        for problem in diagnostics {
            match allows(found, stage).find(|allow| *allow.rule.text == *problem.id) {
                Some(allow) => {
                    own.used_allows.insert(allow.span);
                }
                None => own.diagnostics.push(at_call(problem, pipeline, stage, sources)),
            }
        }
        all.extend(own);
    }
    all
}

/// What is excused in a stage: before its statement, and before the pipeline.
fn allows<'d>(found: &'d DefinitionRef, stage: &Stage) -> impl Iterator<Item = &'d Allow> {
    let (definition, call) = (&found.definition, stage.call);
    let own = definition.body.statements.iter().filter(move |statement| statement.span.to(call) == statement.span);
    own.flat_map(|statement| &statement.allows).chain(&definition.allows)
}

/// The same with the way from the pipeline to it; at the call, where its own place is in the library.
fn at_call(mut problem: Diagnostic, pipeline: &Pipeline, stage: &Stage, sources: &SourceMap) -> Diagnostic {
    if problem.span().is_some_and(|span| sources.is_library(span.file)) {
        let text = problem.labels.first().map(|label| label.text.clone()).unwrap_or_default();
        problem.labels = vec![Label { span: stage.call, text }];
        // Who uses a network of the library cannot change it.
        problem.fixes.clear();
    }
    let callee = stage.network.graph.name().to_owned();
    problem.chain.push(Frame { inside: pipeline.name.clone(), callee, call: stage.call });
    problem
}
