//! Names in `denoise(..)`, the one statement that pipelines have of their own.

use super::{Callee, Checker};
use crate::pipeline::{Denoise, GUIDED};
use crate::program::list;
use crate::suggest::did_you_mean;
use crate::words;
use archc_grammar::Diagnostic;
use archc_grammar::ast::{Argument, Definition, ExprKind, TypeExpr};
use std::sync::Arc;

impl Checker<'_> {
    /// The network, conditions by the names of its inputs, and settings of the sampler. Conditions may use the sizes of the
    /// network, and [`GUIDED`].
    pub(super) fn denoise(&mut self, denoise: &Denoise<'_>, inside: &str) {
        if let Some(before) = denoise.before {
            self.expr(before, inside);
        }
        let depth = self.bound.stack.len();
        let mut network = None;
        for argument in denoise.arguments.iter().filter(|argument| argument.name.is_none()) {
            self.expr(&argument.value, inside);
            if let ExprKind::Name(name) = &argument.value.kind {
                network = self.definition_of(name).map(|found| found.definition.clone());
            }
        }
        self.bound.push(Arc::from(GUIDED));
        for name in network.iter().flat_map(|network| sizes(network)) {
            self.bound.push(name);
        }
        for argument in denoise.arguments {
            self.denoise_argument(argument, network.as_deref(), inside);
        }
        self.bound.truncate(depth);
    }

    fn denoise_argument(&mut self, argument: &Argument, network: Option<&Definition>, inside: &str) {
        let Some(name) = &argument.name else { return };
        if words::find(words::DENOISE_SETTINGS, &name.text).is_some() {
            // A word stands for itself, and is looked at when it is evaluated.
            if !matches!(argument.value.kind, ExprKind::Name(_)) {
                self.expr(&argument.value, inside);
            }
            return;
        }
        self.argument(argument, &Callee::Plain, inside);
        let Some(network) = network else { return };
        let mut known: Vec<&str> = network.parameters.iter().map(|parameter| &*parameter.name.text).collect();
        if known.contains(&&*name.text) {
            return;
        }
        let settings = || words::names(words::DENOISE_SETTINGS);
        settings().for_each(|word| known.push(word));
        let help = did_you_mean(&name.text, known)
            .unwrap_or_else(|| format!("settings of the sampler are {}", list(settings())));
        let message = format!("`{}` has no input `{}`, and `denoise` no such setting", network.name.text, name.text);
        let problem = Diagnostic::error("call/unknown-argument", message).label(name.span, "not known");
        self.problems.push(problem.help(help));
    }
}

/// Names of the sizes of a network.
fn sizes(network: &Definition) -> Vec<Arc<str>> {
    let is_size = |kind: &TypeExpr| matches!(kind, TypeExpr::Plain { name, .. } if &*name.text == "dim");
    network.parameters.iter().filter(|own| is_size(&own.kind)).map(|own| own.name.text.clone()).collect()
}
