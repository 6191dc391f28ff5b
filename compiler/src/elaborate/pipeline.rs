//! Pipelines: the pieces of their bodies as models, and what stands between them.

use super::value::Value;
use super::{Budget, Elaborator, Frame, Settings, elaborate};
use crate::dim::{Dim, Sizes};
use crate::ir::{Graph, ROOT, Scope, ScopeKind};
use crate::pipeline::{Condition, Denoise, Described, GUIDED, Network, Part, Pipeline, Settings as Sampling, Stage};
use crate::program::{DefinitionRef, Program, Target, list};
use crate::types::{Axis, Kind, Type};
use crate::words;
use archc_grammar::ast::{
    Argument, Body, Definition, DefinitionKind, Expr, ExprKind, Name, Parameter, ParameterPath, PathPart, Pattern,
    Statement, StatementKind, TypeExpr,
};
use archc_grammar::{Diagnostic, FileId, Level, Span, parse_expression};
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

/// A stage before its conditions are known.
struct Draft<'p> {
    path: Arc<str>,
    target: Target,
    graph: Graph,
    sizes: Sizes,
    settings: Sampling,
    /// The input and what it is given.
    conditions: Vec<(Arc<str>, &'p Expr)>,
}

impl<'p> Cutter<'p> {
    fn error(&mut self, id: &'static str, message: impl Into<String>, span: Span, label: &str) -> Option<()> {
        self.report(Diagnostic::error(id, message).label(span, label))
    }

    /// Reports a problem, and gives none, so that it can be the way out.
    fn report(&mut self, problem: Diagnostic) -> Option<()> {
        self.diagnostics.push(problem);
        None
    }

    fn pipeline(&mut self) -> Option<Pipeline> {
        let definition = &self.found.definition;
        self.check_parameters()?;
        let pieces = self.pieces()?;
        let drafts: Vec<Option<Draft<'p>>> = pieces.stages.iter().map(|(_, denoise)| self.draft(denoise)).collect();
        let mut drafts: Vec<Draft<'p>> = drafts.into_iter().collect::<Option<_>>()?;
        self.hand_over(&pieces, &mut drafts)?;
        let (encoder, stages) = self.encoder(&pieces, drafts)?;
        let decoder = self.decoder(&pieces, &stages)?;
        Some(Pipeline {
            name: definition.name.text.to_string(),
            docs: definition.docs.clone(),
            encoder,
            stages,
            decoder,
        })
    }

    /// Parameters are what is given from outside: texts as ids, and other tensors.
    fn check_parameters(&mut self) -> Option<()> {
        let definition = &self.found.definition;
        for parameter in &definition.parameters {
            let is_tensor =
                matches!(&parameter.kind, TypeExpr::Plain { name, .. } if Kind::from_name(&name.text).is_some());
            if !is_tensor || parameter.default.is_some() {
                let help = "write `tokenizer: ids[77, 49408]`: the text in ids of the tokenizer in that folder";
                let message = format!("`{}` is no tensor without a default", parameter.name.text);
                let problem = Diagnostic::error("pipeline/parameter", message)
                    .label(parameter.span, "a pipeline is given tensors alone");
                return self.report(problem.help(help));
            }
        }
        if definition.results.is_some() {
            let message = "the result of a pipeline is what its body gives";
            return self.error("pipeline/result", message, definition.header, "leave out its type");
        }
        Some(())
    }

    fn pieces(&mut self) -> Option<Pieces<'p>> {
        let definition = &self.found.definition;
        let statements = definition.body.statements.as_slice();
        let mut stages: Vec<(&Name, Denoise<'_>)> = vec![];
        let (mut first, mut end) = (None, 0);
        for (at, statement) in statements.iter().enumerate() {
            let StatementKind::Let { pattern, value } = &statement.kind else { continue };
            let Some(denoise) = Denoise::of(value) else { continue };
            let Pattern::Name(name) = pattern else {
                self.error("pipeline/denoise", "`denoise` gives one tensor", statement.span, "bind it to one name");
                return None;
            };
            if first.is_some() && at != end {
                let message = "nothing stands between two `denoise`";
                self.error("pipeline/denoise", message, denoise.span, "takes over from the one above");
                return None;
            }
            first.get_or_insert(at);
            end = at + 1;
            stages.push((name, denoise));
        }
        let (Some(first), Some(behind)) = (first, statements.get(end..)) else {
            let message = format!("`{}` takes no noise away", definition.name.text);
            let problem = Diagnostic::error("pipeline/denoise", message)
                .label(definition.header, "there is no `denoise` in its body")
                .help("write `let latents = denoise(MODEL, ..) @FOLDER`");
            self.report(problem);
            return None;
        };
        Some(Pieces { before: statements.get(..first).unwrap_or_default(), stages, behind })
    }

    /// The network of a `denoise` with its settings.
    fn draft(&mut self, denoise: &Denoise<'p>) -> Option<Draft<'p>> {
        let path = self.path(denoise.label, denoise.span)?;
        let target = self.network(denoise)?;
        let elaborated = elaborate(self.program, &target, self.settings, self.budget);
        self.diagnostics.extend(elaborated.diagnostics);
        let graph = elaborated.graph?;
        let Some(noisy) = graph.noisy_input().filter(|_| graph.process.is_some()) else {
            let message = format!("`{}` takes no noise away", target.name);
            let label = "has no `process`, or no input that noise is added to";
            self.error("pipeline/denoise", message, denoise.span, label);
            return None;
        };
        let sizes = self.sizes(&graph);
        let mut draft = Draft { path, target, sizes, settings: Sampling::default(), conditions: vec![], graph };
        for argument in denoise.arguments {
            let Some(name) = &argument.name else { continue };
            if words::find(words::DENOISE_SETTINGS, &name.text).is_some() {
                self.setting(name, &argument.value, &mut draft.settings)?;
            } else if !is_parameter(&draft.target, name) {
                // Reported by the check of names.
                return None;
            } else {
                draft.conditions.push((name.text.clone(), &argument.value));
            }
        }
        let given = |name: &str| draft.conditions.iter().any(|(own, _)| **own == *name);
        let is_condition = |kind: Kind| !matches!(kind, Kind::Timestep | Kind::Sigma);
        let needed = draft.graph.inputs.iter().filter(|input| input.node != noisy);
        let needed = needed.filter(|input| is_condition(draft.graph.node(input.node).ty.kind));
        let missing: Vec<&str> = needed.map(|input| &*input.name).filter(|name| !given(name)).collect();
        if !missing.is_empty() {
            let message = format!("`{}` lacks {}", draft.target.name, list(missing));
            self.error("pipeline/condition", message, denoise.span, "give it by name");
            return None;
        }
        Some(draft)
    }

    /// The folder that a label names.
    fn path(&mut self, label: Option<&ParameterPath>, span: Span) -> Option<Arc<str>> {
        let text = |part: &PathPart| match part {
            PathPart::Text(text) => Some(text.to_string()),
            PathPart::Expr(_) => None,
        };
        let segment = |parts: &Vec<PathPart>| parts.iter().map(text).collect::<Option<String>>();
        let path = label.and_then(|label| label.segments.iter().map(segment).collect::<Option<Vec<_>>>());
        match path.filter(|path| !path.is_empty()) {
            Some(path) => Some(Arc::from(path.join("."))),
            None => {
                let message = "every network of a pipeline names the folder of its weights";
                self.error("pipeline/folder", message, span, "label it: `@unet`");
                None
            }
        }
    }

    /// The model or preset that a `denoise` names.
    fn network(&mut self, denoise: &Denoise<'_>) -> Option<Target> {
        let unnamed: Vec<&Argument> = denoise.arguments.iter().filter(|argument| argument.name.is_none()).collect();
        let [only] = unnamed.as_slice() else {
            let message = "`denoise` takes one network, and everything else by name";
            self.error("pipeline/denoise", message, denoise.span, "write `denoise(MODEL, input: .., steps: ..)`");
            return None;
        };
        let target = match &only.value.kind {
            ExprKind::Name(name) => self.program.target_named(name, only.value.span),
            _ => None,
        };
        if target.is_none() {
            self.error("pipeline/denoise", "this is no model and no preset", only.value.span, "which network?");
        }
        target
    }

    /// Open sizes of a graph, as they are set or else typical.
    fn sizes(&mut self, graph: &Graph) -> Sizes {
        let mut sizes = graph.typical.clone();
        for (name, value) in self.settings {
            if let (Some(size), ExprKind::Int(value)) = (sizes.get_mut(name), &value.kind) {
                *size = u64::try_from(*value).unwrap_or(*size);
            }
        }
        sizes
    }

    fn setting(&mut self, name: &Name, value: &Expr, settings: &mut Sampling) -> Option<()> {
        let wanted = match &*name.text {
            "sampler" | "spacing" => {
                let slot = if *name.text == *"sampler" { &mut settings.sampler } else { &mut settings.spacing };
                let ExprKind::Name(word) = &value.kind else { return self.wrong_setting(name, value, "a word") };
                *slot = Some(word.to_string());
                return Some(());
            }
            "negative" => match &value.kind {
                ExprKind::Name(word) if **word == *"zero" => {
                    settings.zero_without_negative = true;
                    return Some(());
                }
                _ => "`zero`",
            },
            "karras" => match &value.kind {
                ExprKind::Bool(value) => {
                    settings.karras = Some(*value);
                    return Some(());
                }
                _ => "`true` or `false`",
            },
            "steps" | "offset" => match &value.kind {
                ExprKind::Int(value) if *value >= 0 => {
                    let slot = if *name.text == *"steps" { &mut settings.steps } else { &mut settings.offset };
                    *slot = Some(value.unsigned_abs());
                    return Some(());
                }
                _ => "a whole number",
            },
            "until" => match number(value).filter(|share| *share > 0.0 && *share < 1.0) {
                Some(share) => {
                    settings.until = Some(share);
                    return Some(());
                }
                None => "a number between 0 and 1",
            },
            _ => match number(value) {
                Some(number) => {
                    let slot = match &*name.text {
                        "guidance" => &mut settings.guidance,
                        "first_guidance" => &mut settings.first_guidance,
                        _ => &mut settings.rescale,
                    };
                    *slot = Some(number);
                    return Some(());
                }
                None => "a number",
            },
        };
        self.wrong_setting(name, value, wanted)
    }

    fn wrong_setting(&mut self, name: &Name, value: &Expr, wanted: &str) -> Option<()> {
        self.error("pipeline/setting", format!("`{}` is {wanted}", name.text), value.span, "not that")
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
                return self.error("pipeline/denoise", message, denoise.span, &label);
            }
            let until = draft.settings.until.unwrap_or(1.0);
            if from.is_some_and(|from| from >= until) {
                let message = "a `denoise` ends behind where it begins";
                return self.error("pipeline/denoise", message, denoise.span, "`until` does not rise");
            }
            if (at < last) != draft.settings.until.is_some() {
                let message = "`until` says where the next `denoise` takes over";
                let label = if at < last { "give `until: 0.8`" } else { "nothing takes over from this one" };
                return self.error("pipeline/denoise", message, denoise.span, label);
            }
            draft.settings.from = from;
            (before, from) = (Some(*name), draft.settings.until);
        }
        Some(())
    }

    /// The graph of all conditions, and the stages with theirs.
    fn encoder(&mut self, pieces: &Pieces<'p>, drafts: Vec<Draft<'p>>) -> Option<(Option<Network>, Vec<Stage>)> {
        let mut outputs: Vec<Expr> = vec![];
        let mut stages = vec![];
        for draft in drafts {
            let mut conditions = vec![];
            for (name, value) in &draft.conditions {
                let condition = match &value.kind {
                    ExprKind::List(_) => self.numbers(value, &draft)?,
                    _ => {
                        outputs.push((*value).clone());
                        Condition::Encoded(outputs.len() - 1)
                    }
                };
                conditions.push((name.clone(), condition));
            }
            stages.push((draft, conditions));
        }
        let encoder = if outputs.is_empty() { None } else { Some(self.conditions(pieces, outputs)?) };
        let mut finished = vec![];
        for (draft, conditions) in stages {
            for ((name, condition), (_, value)) in conditions.iter().zip(&draft.conditions) {
                self.check_condition(&draft, name, condition, encoder.as_ref(), value.span)?;
            }
            let part = self.whole(&draft);
            let network = Network { graph: Arc::new(draft.graph), parts: vec![part] };
            finished.push(Stage { network, conditions, sizes: draft.sizes, settings: draft.settings });
        }
        Some((encoder, finished))
    }

    /// The part that is a whole network: that of the `denoise`, or a published one that it is only a frame around.
    fn whole(&self, draft: &Draft<'_>) -> Part {
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

    /// The statements before the first `denoise`, as a model whose outputs are conditions.
    fn conditions(&mut self, pieces: &Pieces<'_>, outputs: Vec<Expr>) -> Option<Network> {
        let count = outputs.len();
        let span = outputs.first().map_or(self.found.definition.header, |first| first.span);
        let kind = match <[Expr; 1]>::try_from(outputs) {
            Ok([only]) => only.kind,
            Err(several) => ExprKind::Tuple(several),
        };
        let result = Statement { allows: vec![], kind: StatementKind::Expr(Expr { kind, span }), span };
        let statements = pieces.before.iter().cloned().chain([result]).collect();
        let network = self.model(self.found.definition.parameters.clone(), statements)?;
        if network.graph.outputs.len() != count {
            self.error("pipeline/condition", "a condition is one tensor", span, "one of these is a list");
            return None;
        }
        Some(network)
    }

    /// The statements behind the last `denoise`, as a model of what it leaves.
    fn decoder(&mut self, pieces: &Pieces<'_>, stages: &[Stage]) -> Option<Network> {
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
    fn model(&mut self, parameters: Vec<Parameter>, statements: Vec<Statement>) -> Option<Network> {
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
            self.error("pipeline/folder", message, place, "only networks have parameters here: make it part of one");
            return None;
        }
        Some(network)
    }

    fn described(&self, file: FileId, model: &str) -> Described {
        let source = self.program.sources.get(file).map(|source| &*source.name).unwrap_or_default();
        let family = source.strip_prefix("std/models/").and_then(|name| name.strip_suffix(".arch"));
        let found = self.program.definitions().find(|own| own.name.span.file == file && *own.name.text == *model);
        Described { family: family.map(str::to_owned), idle: found.map(|own| idle(own)).unwrap_or_default() }
    }

    /// Numbers of a vector, with the condition and without it.
    fn numbers(&mut self, value: &Expr, draft: &Draft<'_>) -> Option<Condition> {
        let guided = self.evaluated(value, draft, true)?;
        let free = self.evaluated(value, draft, false)?;
        Some(Condition::Numbers { guided, free })
    }

    fn evaluated(&mut self, value: &Expr, draft: &Draft<'_>, guided: bool) -> Option<Vec<f64>> {
        let mut elaborator = Elaborator::new(self.program, &draft.target, self.budget);
        let sizes = draft.sizes.iter().map(|(name, size)| (name.clone(), Value::size(&Dim::Known(*size))));
        let variables = sizes.chain([(Arc::from(GUIDED), Value::Bool(guided))]).collect();
        elaborator.frames.push(Frame { module: self.found.module, variables, assignable_from: 0, unmet: false });
        let evaluated = elaborator.eval(value);
        let problems = elaborator.diagnostics;
        let numbers = match &evaluated {
            Value::List(list) => list.items.iter().map(Value::number).collect::<Option<Vec<f64>>>(),
            _ => None,
        };
        // A name that means nothing has been reported by the check of names.
        if numbers.is_none() && problems.is_empty() && !evaluated.is_poison() {
            self.error("pipeline/condition", "a list holds numbers here", value.span, "not all of these are known");
        }
        self.diagnostics.extend(problems);
        numbers
    }

    /// Whether what a condition is given has the type of the input.
    fn check_condition(
        &mut self,
        draft: &Draft<'_>,
        name: &Arc<str>,
        condition: &Condition,
        encoder: Option<&Network>,
        span: Span,
    ) -> Option<()> {
        let input = draft.graph.inputs.iter().find(|input| input.name == *name);
        let Some(wanted) = input.map(|input| draft.graph.node(input.node).ty.clone()) else {
            let message = format!("`{}` has no input `{name}` with these hyperparameters", draft.target.name);
            return self.error("pipeline/condition", message, span, "is given to nothing");
        };
        let found = match condition {
            Condition::Numbers { guided, .. } => Some(Type::new(Kind::Vector, vec![Dim::Known(guided.len() as u64)])),
            Condition::Encoded(at) => encoder.and_then(|encoder| {
                let output = encoder.graph.outputs.get(*at)?;
                Some(encoder.graph.node(output.node).ty.clone())
            }),
        }?;
        if fits(&found, &wanted) {
            return Some(());
        }
        let message = format!("`{}` takes {wanted} as `{name}`, found {found}", draft.target.name);
        self.error("pipeline/condition", message, span, &format!("this is {found}"))
    }
}

/// Whether a value can be given where a type is asked for. Sizes that are open are seen when the pipeline runs.
fn fits(found: &Type, wanted: &Type) -> bool {
    let same = |axis: &Axis| match (found.dim(*axis).and_then(Dim::known), wanted.dim(*axis).and_then(Dim::known)) {
        (Some(found), Some(wanted)) => found == wanted,
        _ => true,
    };
    found.kind == wanted.kind && found.kind.axes().iter().all(same)
}

fn is_parameter(target: &Target, name: &Name) -> bool {
    target.model.definition.parameters.iter().any(|own| own.name.text == name.text)
}

/// A number that is written as one.
fn number(value: &Expr) -> Option<f64> {
    match &value.kind {
        ExprKind::Int(value) => Some(*value as f64),
        ExprKind::Float(value) => Some(*value),
        _ => None,
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
