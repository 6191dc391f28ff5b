//! Initialisers as values, `init` statements, and which of them is in force for a parameter.

use super::Elaborator;
use super::bind::named_arguments;
use super::value::{InitValue, Value};
use crate::init::{GivenFans, Init};
use crate::ir::InitOrigin;
use crate::ops::ParameterSpec;
use crate::program::list;
use crate::program::unknown_initialiser;
use crate::sincos::SinCosGrid;
use crate::words::{self, INITIALISERS};
use archc_grammar::ast::{Argument, Expr, ExprKind, InitRule};
use archc_grammar::{Diagnostic, Span};
use std::cell::Cell;
use std::sync::Arc;

/// `init` statements in force, innermost last.
#[derive(Default)]
pub(super) struct InitRules {
    rules: Vec<Rule>,
    /// Where those of the innermost body begin.
    own: usize,
}

struct Rule {
    /// `linear`, `bias`, `linear.bias`.
    target: Arc<str>,
    init: Init,
    /// The statement.
    span: Span,
    place: Span,
    /// Whether any parameter has started by it.
    used: Cell<bool>,
}

impl InitRules {
    /// Begins a body; what comes back begins the one around it again.
    pub fn begin(&mut self) -> usize {
        std::mem::replace(&mut self.own, self.rules.len())
    }

    /// Ends a body.
    pub fn end(&mut self, outer: usize) {
        self.rules.truncate(self.own);
        self.own = outer;
    }

    /// A rule of the same body for the same parameters, by which none of them starts.
    fn idle(&self, target: &str) -> Option<Span> {
        let own = self.rules.get(self.own..)?;
        own.iter().find(|rule| *rule.target == *target && !rule.used.get()).map(|rule| rule.place)
    }

    /// The rule for a parameter: the innermost scope that says anything, in it the most specific target.
    fn find(&self, operator: &str, spec: &ParameterSpec) -> Option<(&Init, Span)> {
        // A bias is meant only where it is named: `init linear = xavier_uniform` is about weights.
        let own = |target: &str| match target.split_once('.') {
            Some((owner, parameter)) => owner == operator && parameter == spec.name,
            None if target == operator => spec.name != "bias",
            None => target == spec.name,
        };
        let specific = |target: &str| (target.contains('.'), target == operator);
        let innermost = self.rules.iter().rev().find(|rule| own(&rule.target))?;
        // Rules of one statement share a place in the source; among them the most specific wins.
        self.rules
            .iter()
            .filter(|rule| rule.span == innermost.span && own(&rule.target))
            .max_by_key(|rule| specific(&rule.target))
            .map(|rule| {
                rule.used.set(true);
                (&rule.init, rule.span)
            })
    }
}

impl Elaborator<'_> {
    /// `init linear = xavier_uniform, bias = zero`
    pub(super) fn init_statement(&mut self, rules: &[InitRule], span: Span) {
        for rule in rules {
            match self.eval_init(&rule.value) {
                Value::Init(InitValue::Given(init)) => {
                    let (target, place) = (rule.target.text.clone(), rule.value.span);
                    if let Some(first) = self.init_rules.idle(&target) {
                        self.overridden(&target, first, place);
                    }
                    self.init_rules.rules.push(Rule { target, init, span, place, used: Cell::new(false) });
                }
                Value::Init(InitValue::Default) | Value::Poison => {}
                other => {
                    self.not_an_initialiser(&other, rule.value.span);
                }
            }
        }
    }

    fn overridden(&mut self, target: &str, first: Span, second: Span) {
        let problem = Diagnostic::error(
            "init/overridden",
            format!("`{target}` is given two starts, and the first is never used"),
        )
        .label(second, "this one is in force")
        .label(first, "nothing starts so")
        .help("leave one of them");
        self.report(problem);
    }

    fn not_an_initialiser(&mut self, value: &Value, span: Span) -> Value {
        let problem = Diagnostic::error("init/value", "expected an initialiser")
            .label(span, format!("this is {}", value.describe()))
            .help(format!("one of {}", list(words::names(INITIALISERS))));
        self.report(problem)
    }

    /// An expression where an initialiser is expected: words mean distributions, unless a variable has that name.
    pub(super) fn eval_init(&mut self, expr: &Expr) -> Value {
        let (name, arguments): (&Arc<str>, &[Argument]) = match &expr.kind {
            ExprKind::Name(name) if self.variable(name).is_none() => (name, &[]),
            ExprKind::Call { callee, arguments } => match &callee.kind {
                ExprKind::Name(name) if self.variable(name).is_none() => (name, arguments),
                _ => return self.eval(expr),
            },
            _ => return self.eval(expr),
        };
        self.initialiser(name, arguments, expr.span)
    }

    pub(super) fn initialiser(&mut self, name: &str, arguments: &[Argument], span: Span) -> Value {
        if words::find(INITIALISERS, name).is_none() {
            return self.report(unknown_initialiser(name, span));
        }
        let names: &[&str] = match name {
            "constant" => &["value"],
            "values" => &["list"],
            "normal" => &["std", "mean"],
            "uniform" => &["low", "high"],
            "sincos_table" => &["height", "width", "base", "scale"],
            "zero" | "one" | "default" => &[],
            _ => &["gain", "fan_in", "fan_out"],
        };
        let Some(values) = named_arguments(self, name, names, arguments, span) else { return Value::Poison };
        let mut values = values.into_iter();
        let mut next = || values.next().flatten();
        let (first, second, third, fourth) = (next(), next(), next(), next());
        if [&first, &second, &third, &fourth].iter().any(|v| v.as_ref().is_some_and(|(value, _)| value.is_poison())) {
            return Value::Poison;
        }
        let number = |value: &Option<(Value, Span)>| value.as_ref().and_then(|(value, _)| value.number());
        let fan = |value: &Option<(Value, Span)>| {
            value.as_ref().and_then(|(value, _)| value.whole()).and_then(|fan| u64::try_from(fan).ok())
        };
        let fans = GivenFans { fan_in: fan(&second), fan_out: fan(&third) };
        let has_fans = second.is_some() == fans.fan_in.is_some() && third.is_some() == fans.fan_out.is_some();
        let gain = if first.is_some() { number(&first) } else { Some(1.0) }.filter(|_| has_fans);
        let init = match name {
            "zero" => Some(Init::ZERO),
            "one" => Some(Init::ONE),
            "default" => return Value::Init(InitValue::Default),
            "constant" => number(&first).map(Init::Constant),
            "values" => first.as_ref().and_then(|(value, _)| numbers(value)).map(Init::Values),
            "normal" => {
                let mean = if second.is_some() { number(&second) } else { Some(0.0) };
                let std = if first.is_some() { number(&first) } else { Some(1.0) };
                std.filter(|std| *std >= 0.0).zip(mean).map(|(std, mean)| Init::Normal { mean, std })
            }
            "uniform" => number(&first)
                .zip(number(&second))
                .filter(|(low, high)| low <= high)
                .map(|(low, high)| Init::Uniform { low, high }),
            "sincos_table" => {
                let dim = |value: &Option<(Value, Span)>| value.as_ref().and_then(|(value, _)| value.dim());
                let scale = if fourth.is_some() { number(&fourth) } else { Some(1.0) };
                let base = number(&third);
                let fits = |number: &f64| *number > 0.0;
                let has_base = third.is_some() == base.is_some() && base.as_ref().is_none_or(fits);
                let grid = |((height, width), scale)| SinCosGrid { height, width, base, scale };
                let sizes = dim(&first).zip(dim(&second)).filter(|_| has_base);
                sizes.zip(scale.filter(fits)).map(grid).map(Init::SinCos2d)
            }
            "xavier_uniform" => gain.map(|gain| Init::XavierUniform { gain, fans }),
            "xavier_normal" => gain.map(|gain| Init::XavierNormal { gain, fans }),
            "kaiming_uniform" => gain.map(|gain| Init::KaimingUniform { gain, fans }),
            _ => gain.map(|gain| Init::KaimingNormal { gain, fans }),
        };
        match init {
            Some(init) => Value::Init(InitValue::Given(init)),
            None => {
                let form = words::find(INITIALISERS, name).map_or(name, |word| word.form);
                let problem = Diagnostic::error("init/value", format!("`{name}` is not given what it needs"))
                    .label(span, "missing or wrong arguments")
                    .help(format!("it is written `{form}`, with numbers"));
                self.report(problem)
            }
        }
    }

    /// How a parameter starts: as its call says, else the innermost `init` statement, else the framework.
    pub(super) fn init_in_force(
        &self,
        operator: &str,
        spec: &ParameterSpec,
        given: Option<&(Init, Span)>,
    ) -> (Init, InitOrigin) {
        if let Some((init, span)) = given {
            return (init.clone(), InitOrigin::Call(*span));
        }
        match self.init_rules.find(operator, spec) {
            Some((init, span)) => (init.clone(), InitOrigin::Scope(span)),
            None => (spec.default.clone(), InitOrigin::Default),
        }
    }
}

/// The numbers of a list.
fn numbers(value: &Value) -> Option<Vec<f64>> {
    let Value::List(list) = value else { return None };
    list.items.iter().map(Value::number).collect()
}
