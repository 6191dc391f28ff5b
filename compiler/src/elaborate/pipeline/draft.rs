//! A `denoise` by itself: its network, its folder, and what it is given.

use super::{CONDITION, Cutter, DENOISE, FOLDER};
use crate::dim::Sizes;
use crate::elaborate::elaborate;
use crate::ir::Graph;
use crate::pipeline::{Denoise, Settings};
use crate::program::{Target, list};
use crate::types::Kind;
use crate::words;
use archc_grammar::ast::{Argument, Expr, ExprKind, Name, ParameterPath, PathPart};
use archc_grammar::{Diagnostic, Span};
use std::sync::Arc;

/// A stage before its conditions are known.
pub(super) struct Draft<'p> {
    pub path: Arc<str>,
    pub target: Target,
    pub call: Span,
    pub graph: Graph,
    /// Sizes that are open in the graph.
    pub sizes: Sizes,
    pub settings: Settings,
    /// The input and what it is given.
    pub conditions: Vec<(Arc<str>, &'p Expr)>,
}

impl<'p> Cutter<'p> {
    /// The network of a `denoise` with its settings.
    pub(super) fn draft(&mut self, denoise: &Denoise<'p>) -> Option<Draft<'p>> {
        let path = self.path(denoise.label, denoise.span)?;
        let target = self.network(denoise)?;
        let elaborated = elaborate(self.program, &target, self.settings, self.budget);
        self.diagnostics.extend(elaborated.diagnostics);
        let graph = elaborated.graph?;
        if graph.noisy_input().is_none() || graph.process.is_none() {
            let message = format!("`{}` takes no noise away", target.name);
            let label = "has no `process`, or no input that noise is added to";
            return self.error(DENOISE, message, denoise.span, label);
        }
        let sizes = self.sizes(&graph);
        let (call, settings) = (denoise.span, Settings::default());
        let mut draft = Draft { path, target, call, sizes, settings, conditions: vec![], graph };
        self.arguments(denoise, &mut draft)?;
        let given = |name: &str| draft.conditions.iter().any(|(own, _)| **own == *name);
        let needed = draft.graph.inputs.iter().map(|input| &*input.name).filter(|name| draft.is_condition(name));
        let missing: Vec<&str> = needed.filter(|name| !given(name)).collect();
        if missing.is_empty() {
            return Some(draft);
        }
        let message = format!("`{}` lacks {}", draft.target.name, list(missing));
        self.error(CONDITION, message, denoise.span, "give it by name")
    }

    /// Conditions and settings, each by its name.
    fn arguments(&mut self, denoise: &Denoise<'p>, draft: &mut Draft<'p>) -> Option<()> {
        let mut names: Vec<&Name> = vec![];
        for argument in denoise.arguments {
            let Some(name) = &argument.name else { continue };
            if let Some(first) = names.iter().find(|own| own.text == name.text) {
                let message = format!("`{}` of `denoise` is given twice", name.text);
                let problem = Diagnostic::error("call/given-twice", message).label(name.span, "again here");
                return self.report(problem.label(first.span, "first here"));
            }
            names.push(name);
            if words::find(words::DENOISE_SETTINGS, &name.text).is_some() {
                self.setting(name, &argument.value, &mut draft.settings)?;
            } else if draft.is_parameter(name) {
                draft.conditions.push((name.text.clone(), &argument.value));
            } else {
                // Reported by the check of names.
                return None;
            }
        }
        Some(())
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
                self.error(FOLDER, message, span, "label it: `@unet`")
            }
        }
    }

    /// The model or preset that a `denoise` names.
    fn network(&mut self, denoise: &Denoise<'_>) -> Option<Target> {
        let unnamed: Vec<&Argument> = denoise.arguments.iter().filter(|argument| argument.name.is_none()).collect();
        let [only] = unnamed.as_slice() else {
            let message = "`denoise` takes one network, and everything else by name";
            return self.error(DENOISE, message, denoise.span, "write `denoise(MODEL, input: .., steps: ..)`");
        };
        let target = match &only.value.kind {
            ExprKind::Name(name) => self.program.target_named(name, only.value.span),
            _ => None,
        };
        target.or_else(|| self.error(DENOISE, "this is no model and no preset", only.value.span, "which network?"))
    }

    /// Open sizes of a graph, as they are set or else typical.
    fn sizes(&self, graph: &Graph) -> Sizes {
        let mut sizes = graph.typical.clone();
        for (name, value) in self.settings {
            if let (Some(size), ExprKind::Int(value)) = (sizes.get_mut(name), &value.kind) {
                *size = u64::try_from(*value).unwrap_or(*size);
            }
        }
        sizes
    }
}

impl Draft<'_> {
    fn is_parameter(&self, name: &Name) -> bool {
        self.target.model.definition.parameters.iter().any(|own| own.name.text == name.text)
    }

    /// Whether an input is one that the sampler does not give: neither noisy values nor their time.
    pub fn is_condition(&self, name: &str) -> bool {
        let noisy = self.graph.noisy_input();
        let input = self.graph.inputs.iter().find(|input| *input.name == *name && Some(input.node) != noisy);
        input.is_some_and(|input| !matches!(self.graph.node(input.node).ty.kind, Kind::Timestep | Kind::Sigma))
    }
}
