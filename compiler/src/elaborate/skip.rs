//! `skip`, `<-` and `join`: features that are saved here and return there.

use super::Elaborator;
use super::renorm::Renorm;
use super::take::Takes;
use super::value::{Stage, StageKind, Value};
use crate::ir::{NodeId, Role};
use crate::ops::attribute::Rate;
use crate::ops::concat::JoinAxis;
use crate::ops::dropout::MaskUnit;
use crate::ops::{Add, Affine, Concat, Dropout, Multiply, Op};
use crate::types::{Axis, Kind};
use crate::words;
use archc_grammar::ast::{Argument, Expr, ExprKind, Name};
use archc_grammar::{Diagnostic, Label, Span};
use std::sync::Arc;

/// A skip of the model: how saved features come back, and which are waiting.
pub(super) struct SkipState {
    name: Arc<str>,
    span: Span,
    /// None where something is wrong with it, which has been reported.
    policy: Option<Policy>,
    saved: Vec<Saved>,
    /// Reported as unbalanced already.
    broken: bool,
}

#[derive(Clone, Default)]
struct Policy {
    norm: Option<Arc<Stage>>,
    filter: Option<Arc<Stage>>,
    scale: Option<(Value, Span)>,
    gate: Option<(Value, Span)>,
    drop: Option<(f64, Span)>,
    fuse: Option<Arc<Stage>>,
    renorm: Renorm,
}

struct Saved {
    node: NodeId,
    span: Span,
}

impl Elaborator<'_> {
    /// `skip long(fuse: add, norm: group_norm(groups: 32))`
    pub(super) fn skip_statement(&mut self, name: &Name, arguments: &[Argument], span: Span) {
        let policy = self.policy(arguments, span);
        let broken = policy.is_none();
        self.skips.push(SkipState { name: name.text.clone(), span, policy, saved: vec![], broken });
        self.bind(&name.text, Value::Skip(self.skips.len() - 1));
    }

    fn policy(&mut self, arguments: &[Argument], span: Span) -> Option<Policy> {
        let mut policy = Policy::default();
        for (at, argument) in arguments.iter().enumerate() {
            let name = self.option_name("skip", argument, words::SKIP_OPTIONS, span)?;
            if arguments.iter().take(at).any(|other| other.name.as_ref().is_some_and(|own| own.text == name.text)) {
                self.given_twice("skip", argument);
                return None;
            }
            let at = argument.value.span;
            let word = &*name.text;
            if word == "fuse" && self.fuses_by_attention(&argument.value) {
                return None;
            }
            // A fusion lacks the decoder feature and the skip; a gate may look at both.
            let value = match word {
                "fuse" => self.lacking(2, |elaborator| elaborator.eval_stage(&argument.value)),
                "gate" => self.lacking(2, |elaborator| elaborator.eval(&argument.value)),
                "norm" | "filter" => self.eval_stage(&argument.value),
                "renorm" => {
                    policy.renorm = self.renorm(&argument.value)?;
                    continue;
                }
                _ => self.eval(&argument.value),
            };
            match (word, value) {
                (_, Value::Poison) => return None,
                ("fuse", Value::Stage(stage)) => policy.fuse = Some(stage),
                ("norm", Value::Stage(stage)) => policy.norm = Some(stage),
                ("filter", Value::Stage(stage)) => policy.filter = Some(stage),
                ("scale", value) => policy.scale = Some((value, at)),
                ("gate", value @ (Value::Tensor(_) | Value::Stage(_))) => policy.gate = Some((value, at)),
                ("drop", value) if value.number().is_some_and(|rate| (0.0..1.0).contains(&rate)) => {
                    policy.drop = value.number().map(|rate| (rate, at));
                }
                (word, other) => {
                    let expected = match word {
                        "fuse" => "a stage of two tensors: `add`, `concat`, or a block",
                        "norm" | "filter" => "a stage",
                        "drop" => "a probability below 1",
                        _ => "a tensor or a stage",
                    };
                    let found = format!("this is {}", other.describe());
                    self.error("call/argument-type", format!("`{word}` of a skip expects {expected}"), at, &found);
                    return None;
                }
            }
        }
        Some(policy)
    }

    /// Reports `fuse: attention(..)`: the operator takes three tensors, and keeps nothing of the decoder feature.
    fn fuses_by_attention(&mut self, value: &Expr) -> bool {
        let callee = match &value.kind {
            ExprKind::Call { callee, .. } => &callee.kind,
            other => other,
        };
        let is_attention = matches!(callee, ExprKind::Name(name) if **name == *"attention");
        if is_attention {
            let problem = Diagnostic::error("skip/fuse", "`attention` alone does not fuse two features")
                .label(value.span, "it takes queries, keys and values")
                .help("`attention_fusion(heads: 8)` of `std.skip` attends from the decoder to the saved feature");
            self.report(problem);
        }
        is_attention
    }

    /// Runs `f`, in which the outermost call may lack that many tensors and still be a stage.
    pub(super) fn lacking<T>(&mut self, tensors: usize, f: impl FnOnce(&mut Self) -> T) -> T {
        self.lacking = tensors;
        let result = f(self);
        self.lacking = 1;
        result
    }

    /// `long <- h`
    pub(super) fn save(&mut self, skip: &Name, value: &Expr, span: Span) {
        let node = match self.eval(value) {
            Value::Tensor(node) => Some(node),
            Value::Poison => None,
            other => {
                let found = format!("this is {}", other.describe());
                self.error("skip/save", "only tensors can be saved", value.span, &found);
                None
            }
        };
        match self.variable(&skip.text).cloned() {
            Some(Value::Skip(at)) => {
                let Some(state) = self.skips.get_mut(at) else { return };
                match node {
                    Some(node) => state.saved.push(Saved { node, span }),
                    None => state.broken = true,
                }
            }
            Some(Value::Poison) | None => {}
            Some(other) => {
                let found = format!("it is {}", other.describe());
                let problem = Diagnostic::error("skip/save", format!("`{}` is not a skip", skip.text))
                    .label(skip.span, found)
                    .help("declare one first, `skip long(fuse: concat)`; a new value is given with `=`");
                self.report(problem);
            }
        }
    }

    /// Marks the skips of stages that were not reached: what they would have saved and joined cannot be counted.
    pub(super) fn lose_count(&mut self, value: &Value) {
        let Value::Stage(stage) = value else { return };
        let mut open = vec![stage.clone()];
        while let Some(stage) = open.pop() {
            match &stage.kind {
                StageKind::Join { skip } => self.cannot_count(*skip),
                StageKind::Chain(stages) => open.extend(stages.iter().cloned()),
                StageKind::Residual { body, .. } => open.push(body.clone()),
                StageKind::Block { arguments, .. } | StageKind::Operator { arguments, .. } => {
                    for (value, _) in arguments.iter().flatten() {
                        match value {
                            Value::Skip(skip) => self.cannot_count(*skip),
                            Value::Stage(stage) => open.push(stage.clone()),
                            _ => {}
                        }
                    }
                }
                StageKind::Body { captured, .. } => {
                    for (_, value) in &captured.variables {
                        if let Value::Skip(skip) = value {
                            self.cannot_count(*skip);
                        }
                    }
                }
                StageKind::Chunk { .. } | StageKind::Learned { .. } | StageKind::Claim { .. } => {}
            }
        }
    }

    fn cannot_count(&mut self, skip: usize) {
        if let Some(state) = self.skips.get_mut(skip) {
            state.broken = true;
        }
    }

    /// `join(long)`
    pub(super) fn join_stage(&mut self, arguments: &[Argument], span: Span) -> Option<StageKind> {
        let values = super::bind::named_arguments(self, "join", &["skip"], arguments, span)?;
        match values.into_iter().next().flatten() {
            Some((Value::Skip(skip), _)) => Some(StageKind::Join { skip }),
            Some((Value::Poison, _)) => None,
            Some((other, at)) => {
                self.error("skip/join", "`join` expects a skip", at, &format!("this is {}", other.describe()));
                None
            }
            None => {
                self.error("call/missing-argument", "`join` lacks its skip", span, "write `join(long)`");
                None
            }
        }
    }

    /// Restores the newest saved feature and fuses it with `decoder` by the policy.
    pub(super) fn join(&mut self, skip: usize, decoder: NodeId, span: Span) -> Value {
        let Some(state) = self.skips.get_mut(skip) else { return Value::Poison };
        let Some(saved) = state.saved.pop() else {
            let (name, declared) = (state.name.clone(), state.span);
            if std::mem::replace(&mut state.broken, true) {
                return Value::Poison;
            }
            let problem = Diagnostic::error("skip/nothing-saved", format!("nothing is left in `{name}` to join"))
                .label(span, "one join too many")
                .label(declared, "declared here")
                .help(format!("every `join({name})` needs a `{name} <- ..` before it"));
            return self.report(problem);
        };
        let Some(policy) = state.policy.clone() else { return Value::Poison };
        let known = self.diagnostics.len();
        let fused = self.fuse(&policy, &saved, decoder, span);
        // What is wrong with a stage of the policy shows in this join.
        for problem in self.diagnostics.iter_mut().skip(known) {
            for (span, text) in [(span, "in this join"), (saved.span, "of what was saved here")] {
                if problem.labels.iter().all(|label| label.span != span) {
                    problem.labels.push(Label { span, text: text.to_owned() });
                }
            }
        }
        fused.map_or(Value::Poison, Value::Tensor)
    }

    fn fuse(&mut self, policy: &Policy, saved: &Saved, decoder: NodeId, span: Span) -> Option<NodeId> {
        let mut feature = saved.node;
        for stage in [&policy.norm, &policy.filter].into_iter().flatten() {
            feature = self.invoke_tensor(stage, feature, span)?;
        }
        // The factor by which the skip is multiplied, where it is a tensor or a number, for `renorm`.
        let mut factor = Factor::Number(1.0);
        if let Some((value, at)) = &policy.scale {
            factor = self.factor(feature, value, *at)?;
            feature = match factor {
                Factor::Number(scale) => self.scaled(feature, "scale", &Value::Float(scale), *at)?,
                Factor::Tensor(scale) => self.emit(Multiply {}.into(), &[feature, scale], *at)?,
                Factor::Opaque => self.scaled(feature, "scale", value, *at)?,
            };
        }
        if let Some((value, at)) = &policy.gate {
            let gate = self.gate(value, feature, decoder, *at)?;
            feature = self.emit(Multiply {}.into(), &[feature, gate], *at)?;
            self.graph.node_mut(feature).role = Some(Role::Gate);
            factor = match factor {
                Factor::Number(1.0) => Factor::Tensor(gate),
                Factor::Number(scale) => {
                    Factor::Tensor(self.emit(Affine { scale, shift: 0.0 }.into(), &[gate], *at)?)
                }
                Factor::Tensor(scale) => Factor::Tensor(self.emit(Multiply {}.into(), &[scale, gate], *at)?),
                Factor::Opaque => Factor::Opaque,
            };
        }
        if let Some((rate, at)) = policy.drop
            && rate > 0.0
        {
            let op = Dropout { rate: Rate(rate), per: MaskUnit::Sample, rescale: true };
            feature = self.emit(op.into(), &[feature], at)?;
        }
        let fused = self.fused(policy, saved, feature, decoder, span)?;
        let role = &mut self.graph.node_mut(fused).role;
        role.get_or_insert(Role::Skip);
        self.renormalized(&policy.renorm, fused, factor, span)
    }

    pub(super) fn invoke_tensor(&mut self, stage: &Arc<Stage>, input: NodeId, span: Span) -> Option<NodeId> {
        match self.invoke(stage, input) {
            Value::Tensor(node) => Some(node),
            Value::Poison => None,
            other => {
                self.not_a_stage(&other, span);
                None
            }
        }
    }

    /// What a `scale:` multiplies by.
    fn factor(&mut self, feature: NodeId, value: &Value, span: Span) -> Option<Factor> {
        match value {
            Value::Tensor(node) => Some(Factor::Tensor(*node)),
            Value::Stage(stage) => match stage.kind {
                StageKind::Learned { value, per_channel } => self
                    .learned_factor(feature, value, per_channel, stage.label.as_ref(), stage.span)
                    .map(Factor::Tensor),
                _ => Some(Factor::Opaque),
            },
            other => match other.number() {
                Some(number) => Some(Factor::Number(number)),
                None => {
                    let found = format!("this is {}", other.describe());
                    let message = "`scale` of a skip expects a number, a tensor or a stage";
                    self.error("call/argument-type", message, span, &found);
                    None
                }
            },
        }
    }

    /// A feature times a gate, which is made from it, or from another one and it.
    pub(super) fn gated(&mut self, feature: NodeId, gate: &Value, other: NodeId, span: Span) -> Option<NodeId> {
        let gate = self.gate(gate, feature, other, span)?;
        self.emit(Multiply {}.into(), &[feature, gate], span)
    }

    /// A gate is a tensor, a learned number, or a stage of the saved feature, or of decoder and saved feature.
    fn gate(&mut self, value: &Value, feature: NodeId, decoder: NodeId, span: Span) -> Option<NodeId> {
        match value {
            Value::Tensor(node) => Some(*node),
            Value::Stage(stage) => {
                let stage = stage.clone();
                if let StageKind::Learned { value, per_channel } = stage.kind {
                    return self.learned_factor(feature, value, per_channel, stage.label.as_ref(), stage.span);
                }
                let result = if takes_two(&stage) {
                    self.invoke_with(&stage, [decoder, feature], span)
                } else {
                    self.invoke(&stage, feature)
                };
                match result {
                    Value::Tensor(node) => Some(node),
                    Value::Poison => None,
                    other => {
                        self.not_a_stage(&other, span);
                        None
                    }
                }
            }
            _ => None,
        }
    }

    fn fused(
        &mut self,
        policy: &Policy,
        saved: &Saved,
        feature: NodeId,
        decoder: NodeId,
        span: Span,
    ) -> Option<NodeId> {
        let fuses = policy.fuse.as_ref().map(|stage| stage.name());
        let adds = fuses.as_deref() == Some("add");
        let joins = policy.fuse.as_ref().is_none_or(|stage| is_plain_concat(stage));
        if adds && self.ty(feature) != self.ty(decoder) || joins && self.positions_differ(feature, decoder) {
            self.does_not_fit(saved, feature, decoder, span, if adds { "added to" } else { "joined with" });
            return None;
        }
        let result = match &policy.fuse {
            None => return self.emit(Op::Concat(Concat { along: JoinAxis::Channels }), &[decoder, feature], span),
            Some(_) if adds => return self.emit(Add {}.into(), &[decoder, feature], span),
            Some(stage) => self.invoke_with(&stage.clone(), [decoder, feature], span),
        };
        match result {
            Value::Tensor(node) => Some(node),
            Value::Poison => None,
            other => {
                self.not_a_stage(&other, span);
                None
            }
        }
    }

    fn positions_differ(&self, feature: NodeId, decoder: NodeId) -> bool {
        let (a, b) = (self.ty(feature), self.ty(decoder));
        a.kind != b.kind || a.kind != Kind::Vector && !a.positions().eq(b.positions())
    }

    fn does_not_fit(&mut self, saved: &Saved, feature: NodeId, decoder: NodeId, span: Span, verb: &str) {
        let (skip, own) = (self.ty(feature).clone(), self.ty(decoder).clone());
        let message = format!("the saved {skip} cannot be {verb} the decoder feature {own}");
        let mut problem = Diagnostic::error("shape/mismatch", message)
            .label(span, format!("decoder feature: {own}"))
            .label(saved.span, format!("saved: {skip}"));
        let same_place = !self.positions_differ(feature, decoder);
        problem.help = Some(match (own.kind, own.channels()) {
            (Kind::Image, Some(channels)) if same_place => {
                format!("project the skip first (`norm: conv2d({channels}, kernel: 1)`), or use `fuse: concat`")
            }
            (Kind::Tokens, Some(channels)) if same_place => {
                format!("project the skip first (`norm: linear({channels})`), or use `fuse: concat`")
            }
            _ if own.kind != skip.kind => {
                "bring both to one layout with `to_tokens()` or `to_image(height, width)`".to_owned()
            }
            _ => {
                let sizes = |ty: &crate::types::Type| {
                    let height = ty.dim(Axis::Height).map(|dim| dim.to_string());
                    let width = ty.dim(Axis::Width).map(|dim| dim.to_string());
                    height.zip(width).map_or(ty.to_string(), |(h, w)| format!("{h} x {w}"))
                };
                format!(
                    "the sizes differ, {} against {}: each level down needs one level up, and sizes that divide",
                    sizes(&skip),
                    sizes(&own)
                )
            }
        });
        self.show_lost_rows(&mut problem, feature, decoder);
        self.report(problem);
    }

    /// Reports what is still waiting in the skips that were declared in a body.
    pub(super) fn check_skips(&mut self, from: usize) {
        let Some(frame) = self.frames.last() else { return };
        let own = frame.variables.iter().skip(from).filter_map(|(name, value)| match value {
            Value::Skip(at) => Some((name.clone(), *at)),
            _ => None,
        });
        for (bound_as, at) in own.collect::<Vec<_>>() {
            let Some(state) = self.skips.get_mut(at) else { continue };
            // A skip by another name is checked where it was declared.
            if state.broken || state.name != bound_as {
                continue;
            }
            let Some(last) = state.saved.last() else { continue };
            let (name, count, span, declared) = (state.name.clone(), state.saved.len(), last.span, state.span);
            state.broken = true;
            let what = if count == 1 { "a saved feature is".to_owned() } else { format!("{count} saved features are") };
            let problem = Diagnostic::error("skip/never-joined", format!("{what} never joined"))
                .label(span, "saved here")
                .label(declared, format!("`{name}` is declared here"))
                .help(format!("restore each with `h -> join({name})`, or do not save it"));
            self.report(problem);
        }
    }
}

/// What a skip is multiplied by.
#[derive(Clone, Copy)]
pub(super) enum Factor {
    Number(f64),
    Tensor(NodeId),
    /// A stage that does more than multiply.
    Opaque,
}

/// Whether a stage joins along the channels, as skips do by themselves.
fn is_plain_concat(stage: &Stage) -> bool {
    match &stage.kind {
        StageKind::Operator { signature, arguments } => {
            signature.name == "concat" && arguments.iter().all(Option::is_none)
        }
        _ => false,
    }
}

/// Whether a stage still lacks two tensors.
fn takes_two(stage: &Stage) -> bool {
    match &stage.kind {
        StageKind::Block { definition, arguments } => {
            let tensors = definition.definition.parameters.iter().enumerate().filter(|(at, parameter)| {
                Takes::of(&parameter.kind) == Some(Takes::Tensor) && arguments.get(*at).is_none_or(Option::is_none)
            });
            tensors.count() == 2
        }
        _ => false,
    }
}
