//! Graphs of the pieces of a pipeline, with the parts that they are made of.

use super::draft::Draft;
use super::{Cutter, FOLDER, Pieces};
use crate::dim::Dim;
use crate::elaborate::elaborate;
use crate::ir::{ROOT, Scope, ScopeKind};
use crate::pipeline::{Described, Network, Part, Stage};
use crate::program::{DefinitionRef, Target};
use crate::types::Type;
use archc_grammar::ast::{
    Body, Definition, DefinitionKind, Expr, ExprKind, Name, Parameter, Statement, StatementKind, TypeExpr,
};
use archc_grammar::{FileId, Span, parse_expression};
use std::sync::Arc;

impl Cutter<'_> {
    /// The statements behind the last `denoise`, as a model of what it leaves.
    pub(super) fn decoder(&mut self, pieces: &Pieces<'_>, stages: &[Stage]) -> Option<Network> {
        let (Some((name, denoise)), Some(stage)) = (pieces.stages.last(), stages.last()) else { return None };
        let graph = &stage.network.graph;
        let ty = graph.noisy_input().map(|node| graph.node(node).ty.clone())?;
        let parameter = Parameter {
            role: None,
            name: (*name).clone(),
            docs: String::new(),
            kind: type_expr(&ty, denoise.span),
            default: None,
            span: name.span,
        };
        self.model(vec![parameter], pieces.behind.to_vec())
    }

    /// A model made from a piece of the body.
    pub(super) fn model(&mut self, parameters: Vec<Parameter>, statements: Vec<Statement>) -> Option<Network> {
        let whole = &self.found.definition;
        let span = statements.last().map_or(whole.header, |last| last.span);
        let definition = Definition {
            kind: DefinitionKind::Model,
            allows: whole.allows.clone(),
            name: whole.name.clone(),
            docs: String::new(),
            parameters,
            results: None,
            body: Body { statements, span },
            header: whole.header,
        };
        let model = DefinitionRef { module: self.found.module, definition: Arc::new(definition) };
        let target = Target { name: whole.name.text.clone(), model, preset: None, span: whole.header };
        let elaborated = elaborate(self.program, &target, &[], self.budget);
        self.diagnostics.extend(elaborated.diagnostics);
        let graph = elaborated.graph?;
        let network = Network::of_calls(graph, |file, name| self.described(file, name));
        let is_owned = |path: &str| network.parts.iter().any(|part| path.starts_with(&part.prefix));
        let stray = network.graph.parameters.iter().find(|parameter| !is_owned(&parameter.path));
        if let Some(stray) = stray {
            let message = format!("`{}` is in no folder", stray.path);
            let place = network.graph.node(stray.node).span;
            return self.error(FOLDER, message, place, "only networks have parameters here: make it part of one");
        }
        Some(network)
    }

    /// The part that is a whole network: that of the `denoise`, or a published one that it is only a frame around.
    pub(super) fn whole(&self, draft: &Draft<'_>) -> Part {
        let graph = &draft.graph;
        let is_frame_of =
            |scope: &&Scope| scope.parent == Some(ROOT) && scope.kind == ScopeKind::Block && scope.path.is_empty();
        for scope in graph.scope_ids().map(|id| graph.scope(id)).filter(is_frame_of) {
            let described = self.described(scope.definition.file, &scope.name);
            if described.family.is_some() {
                return described.part(&draft.path, "", &scope.name, &scope.hyperparameters);
            }
        }
        let definition = &draft.target.model.definition;
        let described = self.described(definition.name.span.file, &definition.name.text);
        described.part(&draft.path, "", &definition.name.text, &graph.hyperparameters)
    }

    /// What is known of a definition in a file.
    fn described(&self, file: FileId, model: &str) -> Described {
        let library = self.program.sources.get(file).filter(|_| self.program.sources.is_library(file));
        let source = library.map(|source| &*source.name).unwrap_or_default();
        let family = source.strip_prefix("std/models/").and_then(|name| name.strip_suffix(".arch"));
        let found = self.program.definitions().find(|own| own.name.span.file == file && *own.name.text == *model);
        Described { family: family.map(str::to_owned), idle: found.map(|own| idle(own)).unwrap_or_default() }
    }
}

/// A type as it would be written at a place.
fn type_expr(ty: &Type, span: Span) -> TypeExpr {
    let size = |dim: &Dim| parse_expression(&dim.to_string(), span.file).map(|size| Expr { span, ..size });
    TypeExpr::Plain {
        name: Name { text: Arc::from(ty.kind.name()), span },
        arguments: ty.dims.iter().filter_map(|dim| size(dim).ok()).collect(),
        span,
    }
}

/// Hyperparameters that say how a network starts or is trained: initialisers, and what only the process uses.
fn idle(definition: &Definition) -> Vec<Arc<str>> {
    let starts = definition
        .parameters
        .iter()
        .filter(|own| matches!(&own.kind, TypeExpr::Plain { name, .. } if *name.text == *"init"));
    let mut names: Vec<Arc<str>> = starts.map(|own| own.name.text.clone()).collect();
    for statement in &definition.body.statements {
        let StatementKind::Process(entries) = &statement.kind else { continue };
        names.extend(entries.iter().filter_map(|entry| match &entry.value.kind {
            ExprKind::Name(name) => Some(name.clone()),
            _ => None,
        }));
    }
    names
}
