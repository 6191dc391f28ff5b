//! What the networks of a pipeline are given: outputs of one graph, the encoder, and numbers.

use super::draft::Draft;
use super::{CONDITION, Cutter, Pieces};
use crate::dim::Dim;
use crate::elaborate::value::Value;
use crate::elaborate::{Elaborator, Frame};
use crate::pipeline::{Condition, GUIDED, Network, Stage};
use crate::types::{Axis, Kind, Type};
use archc_grammar::Span;
use archc_grammar::ast::{Expr, ExprKind, Parameter, Statement, StatementKind};
use std::sync::Arc;

impl<'p> Cutter<'p> {
    /// The graph of all conditions, and the stages with theirs.
    pub(super) fn encoder(
        &mut self,
        pieces: &Pieces<'p>,
        drafts: Vec<Draft<'p>>,
    ) -> Option<(Option<Network>, Vec<Stage>)> {
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
            finished.push(Stage {
                network,
                call: draft.call,
                conditions,
                sizes: draft.sizes,
                settings: draft.settings,
            });
        }
        Some((encoder, finished))
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
        let known = self.diagnostics.len();
        let given = |own: &Parameter| Parameter { default: None, ..own.clone() };
        let network = self.model(self.found.definition.parameters.iter().map(given).collect(), statements);
        for problem in self.diagnostics.iter_mut().skip(known).filter(|problem| problem.id == "model/no-output") {
            problem.id = CONDITION.into();
            problem.message = "a condition is a tensor, or a list of numbers".to_owned();
            problem.help = None;
        }
        let network = network?;
        if network.graph.outputs.len() != count {
            return self.error(CONDITION, "a condition is one tensor", span, "one of these is a list");
        }
        Some(network)
    }

    /// Numbers of a vector, with the condition and without it.
    fn numbers(&mut self, value: &Expr, draft: &Draft<'_>) -> Option<Condition> {
        let guided = self.evaluated(value, draft, true)?;
        let free = self.evaluated(value, draft, false)?;
        Some(Condition::Numbers { guided, free })
    }

    /// A list, evaluated with the sizes of the network.
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
            return self.error(CONDITION, "a list holds numbers here", value.span, "not all of these are known");
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
            return self.error(CONDITION, message, span, "is given to nothing");
        };
        if !draft.is_condition(name) {
            let message = format!("`{name}` of `{}` is no condition", draft.target.name);
            return self.error(CONDITION, message, span, "`denoise` gives it itself");
        }
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
        self.error(CONDITION, message, span, &format!("this is {found}"))
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
