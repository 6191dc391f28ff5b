//! `process { .. }`: how a model is trained, as a typed description.

use super::Elaborator;
use super::bind::named_arguments;
use super::value::Value;
use crate::ir::{Declared, ROOT};
use crate::program::list;
use crate::suggest::did_you_mean;
use crate::words::{self, Word};
use archc_grammar::ast::{Argument, Expr, ExprKind, Name};
use archc_grammar::{Diagnostic, Span};
use archc_process::{Curve, Precondition, Prediction, Process, ProcessError, Schedule, Times, Variance, Weighting};
use std::sync::Arc;

/// A word with numbers: `flow(shift: 3)`.
struct Choice {
    word: &'static str,
    /// In the order of the word's parameters.
    numbers: Vec<Option<(Value, Span)>>,
    span: Span,
}

/// What has been said so far.
#[derive(Default)]
struct Entries {
    schedule: Option<Schedule>,
    prediction: Option<Prediction>,
    precondition: Option<Precondition>,
    weighting: Option<Weighting>,
    channel_weights: Vec<f64>,
    times: Option<Times>,
    variance: Option<Variance>,
    data_std: Option<f64>,
    places: Vec<(Arc<str>, Span)>,
}

impl Elaborator<'_> {
    /// `process { schedule: cosine; prediction: v }`
    pub(super) fn process(&mut self, entries: &[Argument], span: Span) {
        let head = Span { end: span.start + "process".len() as u32, ..span };
        if self.scope != ROOT {
            let problem = Diagnostic::error("process/place", "a process is that of a whole model")
                .label(head, "stands in a part of one")
                .help("put it into the body of the model, before its first layer");
            self.report(problem);
            return;
        }
        if let Some(first) = self.graph.process.as_ref().map(|declared| declared.span) {
            let problem = Diagnostic::error("process/given-twice", "a model has one process")
                .label(head, "again here")
                .label(first, "first here");
            self.report(problem);
            return;
        }
        let mut said = Entries::default();
        let mut complete = true;
        for entry in entries {
            let Some(name) = &entry.name else { continue };
            if said.places.iter().any(|(own, _)| *own == name.text) {
                self.given_twice("process", entry);
                complete = false;
                continue;
            }
            said.places.push((name.text.clone(), entry.value.span));
            complete &= self.entry(name, &entry.value, &mut said).is_some();
        }
        let missing = ["schedule", "prediction"].into_iter();
        let missing: Vec<&str> = missing.filter(|entry| !said.places.iter().any(|(own, _)| **own == **entry)).collect();
        if !missing.is_empty() {
            let problem = Diagnostic::error("process/incomplete", format!("a process lacks its {}", list(missing)))
                .label(head, "says how noise is added, and what the network predicts")
                .help("the least is `process { schedule: linear; prediction: eps }`");
            self.report(problem);
            return;
        }
        if complete {
            self.declare(said, head);
        }
    }

    fn declare(&mut self, said: Entries, span: Span) {
        let (Some(schedule), Some(prediction)) = (said.schedule, said.prediction) else { return };
        let least = Process::of(schedule, prediction);
        let declared = Declared {
            process: Process {
                precondition: said.precondition.unwrap_or(least.precondition),
                weighting: said.weighting.unwrap_or(least.weighting),
                channel_weights: said.channel_weights,
                times: said.times.unwrap_or(least.times),
                variance: said.variance.unwrap_or(least.variance),
                data_std: said.data_std,
                ..least
            },
            span,
            entries: said.places,
            allow: self.allow,
        };
        if let Err(error) = declared.process.validate() {
            let entry = if said.times.is_some() { "times" } else { "schedule" };
            let problem = Diagnostic::error("process/value", error.to_string())
                .label(declared.place(entry), "does not go with the rest")
                .label(declared.place("schedule"), "the schedule");
            self.report(problem);
            return;
        }
        self.graph.process = Some(declared);
    }

    /// One entry; none where something is wrong with it.
    fn entry(&mut self, name: &Name, value: &Expr, said: &mut Entries) -> Option<()> {
        match &*name.text {
            "schedule" => said.schedule = Some(self.schedule(value)?),
            "prediction" => {
                let choice = self.word_of(value, "prediction", words::PREDICTIONS)?;
                said.prediction = self.made(Prediction::named(choice.word), choice.span);
            }
            "precondition" => said.precondition = Some(self.precondition(value)?),
            "weighting" => said.weighting = Some(self.weighting(value)?),
            "channel_weights" => said.channel_weights = self.channel_weights(value)?,
            "times" => said.times = Some(self.times(value)?),
            "variance" => {
                let choice = self.word_of(value, "variance", words::VARIANCES)?;
                said.variance = self.made(Variance::named(choice.word), choice.span);
            }
            "data_std" => {
                let given = self.eval(value);
                let std = self.process_number(&given, value.span, "data_std")?;
                let positive = std.is_finite() && std > 0.0;
                let error = ProcessError::OutOfRange { name: "data_std", value: std, expected: "a positive number" };
                said.data_std = self.made(if positive { Ok(std) } else { Err(error) }, value.span);
                said.data_std?;
            }
            _ => {
                let known = words::names(words::PROCESS_ENTRIES);
                let help = did_you_mean(&name.text, known.clone()).unwrap_or_else(|| format!("it has {}", list(known)));
                let problem =
                    Diagnostic::error("process/unknown-entry", format!("a process has no entry `{}`", name.text));
                self.report(problem.label(name.span, "unknown entry").help(help));
                return None;
            }
        }
        Some(())
    }

    fn schedule(&mut self, value: &Expr) -> Option<Schedule> {
        let choice = self.word_of(value, "schedule", words::SCHEDULES)?;
        let chain = |elaborator: &mut Self, curve: Curve| {
            Some(Schedule::Steps {
                curve,
                steps: elaborator.count(&choice, 2, "steps", 1000)?,
                zero_terminal_snr: elaborator.flag(&choice, 3, "zero_terminal_snr")?,
            })
        };
        let schedule = match choice.word {
            "linear" => {
                let (start, end) = self.pair(&choice, [("start", 1e-4), ("end", 0.02)])?;
                chain(self, Curve::Linear { start, end })?
            }
            "scaled_linear" => {
                let (start, end) = self.pair(&choice, [("start", 0.000_85), ("end", 0.012)])?;
                chain(self, Curve::ScaledLinear { start, end })?
            }
            "cosine" => {
                let (offset, largest) = self.pair(&choice, [("offset", 0.008), ("largest", 0.999)])?;
                chain(self, Curve::Cosine { offset, largest })?
            }
            "ve" => {
                let (sigma_min, sigma_max) = self.pair(&choice, [("sigma_min", 0.01), ("sigma_max", 50.0)])?;
                Schedule::Ve { sigma_min, sigma_max }
            }
            "edm" => {
                let (sigma_min, sigma_max) = self.pair(&choice, [("sigma_min", 0.002), ("sigma_max", 80.0)])?;
                Schedule::Edm { sigma_min, sigma_max, rho: self.number_of(&choice, 2, "rho", 7.0)? }
            }
            _ => Schedule::Flow {
                shift: self.number_of(&choice, 0, "shift", 1.0)?,
                steps: self.count(&choice, 1, "steps", 1000)?,
            },
        };
        self.made(schedule.validate().map(|()| schedule), choice.span)
    }

    fn precondition(&mut self, value: &Expr) -> Option<Precondition> {
        let choice = self.word_of(value, "precondition", words::PRECONDITIONS)?;
        let precondition = match choice.word {
            "none" => Precondition::None,
            _ => Precondition::Edm { sigma_data: self.number_of(&choice, 0, "sigma_data", 0.5)? },
        };
        self.made(precondition.validate().map(|()| precondition), choice.span)
    }

    fn weighting(&mut self, value: &Expr) -> Option<Weighting> {
        let choice = self.word_of(value, "weighting", words::WEIGHTINGS)?;
        let weighting = match choice.word {
            "uniform" => Weighting::Uniform,
            "min_snr" => Weighting::MinSnr { gamma: self.number_of(&choice, 0, "gamma", 5.0)? },
            "p2" => {
                let (k, gamma) = self.pair(&choice, [("k", 1.0), ("gamma", 1.0)])?;
                Weighting::P2 { k, gamma }
            }
            "edm" => Weighting::Edm { sigma_data: self.number_of(&choice, 0, "sigma_data", 0.5)? },
            "sigma_sqrt" => Weighting::SigmaSqrt,
            _ => Weighting::Cosmap,
        };
        self.made(weighting.validate().map(|()| weighting), choice.span)
    }

    /// `[1.2, 0.8]`: as many numbers as what noise is added to has channels.
    fn channel_weights(&mut self, value: &Expr) -> Option<Vec<f64>> {
        let list = match self.eval(value) {
            Value::List(list) => list,
            Value::Poison => return None,
            other => {
                let found = format!("this is {}", other.describe());
                self.error("process/value", "`channel_weights` is a list of numbers", value.span, &found);
                return None;
            }
        };
        let weights: Option<Vec<f64>> =
            list.items.iter().map(|item| self.process_number(item, value.span, "channel_weights")).collect();
        let weights = weights?;
        let channels = self.graph.noisy_input().and_then(|input| self.graph.node(input).ty.channels());
        if let Some(channels) = channels.filter(|channels| *channels != weights.len() as u64) {
            let noisy = self.graph.inputs.iter().find(|input| Some(input.node) == self.graph.noisy_input());
            let noisy = noisy.map_or_else(String::new, |input| input.name.to_string());
            let problem =
                format!("`channel_weights` has {} numbers, for the {channels} channels of `{noisy}`", weights.len());
            self.error("process/value", problem, value.span, "makes no process");
            return None;
        }
        Some(weights)
    }

    fn times(&mut self, value: &Expr) -> Option<Times> {
        let choice = self.word_of(value, "times", words::TIMES)?;
        let times = match choice.word {
            "uniform" => Times::Uniform,
            "log_normal" => {
                let (mean, std) = self.pair(&choice, [("mean", -1.2), ("std", 1.2)])?;
                Times::LogNormal { mean, std }
            }
            _ => {
                let (mean, std) = self.pair(&choice, [("mean", 0.0), ("std", 1.0)])?;
                Times::LogitNormal { mean, std }
            }
        };
        self.made(times.validate().map(|()| times), choice.span)
    }

    /// What the arithmetic accepts.
    fn made<T>(&mut self, made: Result<T, ProcessError>, span: Span) -> Option<T> {
        made.map_err(|error| self.error("process/value", error.to_string(), span, "makes no process")).ok()
    }

    /// A word of a table with its numbers. A variable that holds a text stands for that word.
    fn word_of(&mut self, value: &Expr, entry: &str, table: &'static [Word]) -> Option<Choice> {
        let (name, arguments): (Arc<str>, &[Argument]) = match &value.kind {
            ExprKind::Name(name) => (self.text_of(name).unwrap_or_else(|| name.clone()), &[]),
            ExprKind::Call { callee, arguments } => match &callee.kind {
                ExprKind::Name(name) => (self.text_of(name).unwrap_or_else(|| name.clone()), arguments),
                _ => return self.no_choice(entry, table, "this", value.span),
            },
            ExprKind::Invalid => return None,
            _ => match self.eval(value) {
                Value::Text(text) => (text, &[]),
                Value::Poison => return None,
                other => return self.no_choice(entry, table, &other.describe(), value.span),
            },
        };
        let Some(word) = words::find(table, &name) else {
            let known = words::names(table);
            let help = did_you_mean(&name, known.clone()).unwrap_or_else(|| format!("there are {}", list(known)));
            let problem = Diagnostic::error("process/unknown-word", format!("there is no {entry} `{name}`"));
            self.report(problem.label(value.span, "unknown").help(help));
            return None;
        };
        let names: Vec<&str> = parameters(word).collect();
        let numbers = named_arguments(self, word.name, &names, arguments, value.span)?;
        Some(Choice { word: word.name, numbers, span: value.span })
    }

    fn text_of(&self, name: &str) -> Option<Arc<str>> {
        match self.variable(name) {
            Some(Value::Text(text)) => Some(text.clone()),
            Some(_) | None => None,
        }
    }

    fn no_choice(&mut self, entry: &str, table: &'static [Word], found: &str, span: Span) -> Option<Choice> {
        let problem = Diagnostic::error("process/unknown-word", format!("`{entry}` is one of a few words"))
            .label(span, format!("{found} is none of them"))
            .help(format!("there are {}", list(words::names(table))));
        self.report(problem);
        None
    }

    fn pair(&mut self, choice: &Choice, names: [(&str, f64); 2]) -> Option<(f64, f64)> {
        let [(first, low), (second, high)] = names;
        Some((self.number_of(choice, 0, first, low)?, self.number_of(choice, 1, second, high)?))
    }

    fn number_of(&mut self, choice: &Choice, at: usize, name: &str, default: f64) -> Option<f64> {
        match choice.numbers.get(at) {
            Some(Some((value, span))) => self.process_number(value, *span, name),
            Some(None) | None => Some(default),
        }
    }

    fn process_number(&mut self, value: &Value, span: Span, name: &str) -> Option<f64> {
        let number = value.number();
        if number.is_none() && !value.is_poison() {
            let found = format!("this is {}", value.describe());
            self.error("process/value", format!("`{name}` is a number"), span, &found);
        }
        number
    }

    fn count(&mut self, choice: &Choice, at: usize, name: &str, default: usize) -> Option<usize> {
        let Some(Some((value, span))) = choice.numbers.get(at) else { return Some(default) };
        let whole = value.whole().and_then(|whole| usize::try_from(whole).ok());
        if whole.is_none() && !value.is_poison() {
            let found = format!("this is {}", value.describe());
            self.error("process/value", format!("`{name}` is a whole number above zero"), *span, &found);
        }
        whole
    }

    fn flag(&mut self, choice: &Choice, at: usize, name: &str) -> Option<bool> {
        match choice.numbers.get(at) {
            Some(Some((Value::Bool(flag), _))) => Some(*flag),
            Some(Some((Value::Poison, _))) => None,
            Some(Some((other, span))) => {
                let found = format!("this is {}", other.describe());
                self.error("process/value", format!("`{name}` is `true` or `false`"), *span, &found);
                None
            }
            Some(None) | None => Some(false),
        }
    }
}

/// Names of a word's numbers, as its form lists them.
fn parameters(word: &'static Word) -> impl Iterator<Item = &'static str> {
    let inside = word.form.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or("");
    inside.split(", ").filter(|name| !name.is_empty())
}
