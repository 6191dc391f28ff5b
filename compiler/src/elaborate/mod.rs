//! A definition to a graph: evaluates compile-time code, unrolls loops, instantiates blocks, infers types.
//!
//! An interpreter over the syntax tree whose side effect is the graph. Mistakes become diagnostics and
//! [`Value::Poison`], which everything that touches it passes on in silence, so that one run reports all mistakes
//! that can be told apart and none of their echoes. A budget turns a runaway spec into a diagnostic.

mod arithmetic;
mod bind;
mod block;
mod expression;
mod extent;
mod functions;
mod initialisers;
mod lost_rows;
mod model;
mod naming;
mod operator;
mod pipeline;
mod process;
mod renorm;
mod residual;
mod skip;
mod stage;
mod stage_words;
mod statement;
mod take;
mod value;

use crate::ir::{AllowEntry, Graph, NodeId, ParameterId, Scope, ScopeId};
use crate::program::{ModuleId, Program, Target};
pub(crate) use bind::INIT_ARGUMENTS;
pub use pipeline::{ElaboratedPipeline, elaborate_pipeline};
pub(crate) use take::FEATURES;

use archc_grammar::ast::{Allow, Expr};
use archc_grammar::{Diagnostic, Label, Level, Span};
use initialisers::InitRules;
use naming::Naming;
use rustc_hash::FxHashMap;
use skip::SkipState;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};
use value::Value;

/// How much a spec may ask of the compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub nodes: usize,
    pub iterations: usize,
    /// Blocks within blocks.
    pub depth: usize,
    pub time: Duration,
}

impl Default for Budget {
    /// The largest published network has 20 000 nodes.
    fn default() -> Self {
        Self { nodes: 2_000_000, iterations: 10_000_000, depth: 64, time: Duration::from_secs(60) }
    }
}

/// Hyperparameters given from outside, by name.
pub type Settings = [(Arc<str>, Expr)];

/// A graph, unless errors prevented one, and everything there is to say about the way to it.
#[derive(Debug)]
pub struct Elaborated {
    pub graph: Option<Graph>,
    pub diagnostics: Vec<Diagnostic>,
}

/// Elaborates a model or preset with the given hyperparameters in place of its own.
pub fn elaborate(program: &Program, target: &Target, settings: &Settings, budget: Budget) -> Elaborated {
    let mut elaborator = Elaborator::new(program, target, budget);
    elaborator.model(target, settings);
    let failed = elaborator.diagnostics.iter().any(|problem| problem.level == Level::Error);
    let mut diagnostics = std::mem::take(&mut elaborator.diagnostics);
    for (problem, count) in diagnostics.iter_mut().zip(&elaborator.repeats) {
        problem.notes.extend(crate::compile::more_places(*count));
    }
    Elaborated { graph: (!failed).then(|| elaborator.finish()), diagnostics }
}

/// More mistakes than anyone reads.
const MAX_DIAGNOSTICS: usize = 100;

/// The id of assertions that do not hold.
const UNMET: &str = "assert/failed";

/// Variables of a block instance.
struct Frame {
    module: ModuleId,
    variables: Vec<(Arc<str>, Value)>,
    /// Variables before this one belong to the code around a stage and cannot be assigned.
    assignable_from: usize,
    /// An assertion did not hold: whatever else goes wrong from here on may be its echo.
    unmet: bool,
}

struct Elaborator<'p> {
    program: &'p Program,
    graph: Graph,
    /// Names of parameters that are taken, with the node that owns them.
    taken: FxHashMap<Arc<str>, NodeId>,
    diagnostics: Vec<Diagnostic>,
    /// How often each diagnostic occurred.
    repeats: Vec<usize>,
    seen: FxHashMap<(Cow<'static, str>, Option<Span>, String), usize>,
    frames: Vec<Frame>,
    scope: ScopeId,
    naming: Naming,
    init_rules: InitRules,
    allow: Option<u32>,
    skips: Vec<SkipState>,
    /// How many tensors the call that is evaluated next may lack as a stage.
    lacking: usize,
    budget: Budget,
    iterations: usize,
    depth: usize,
    deadline: Instant,
    /// The budget is spent; nothing more is evaluated.
    halted: bool,
}

impl<'p> Elaborator<'p> {
    fn new(program: &'p Program, target: &Target, budget: Budget) -> Self {
        let definition = &target.model.definition;
        let root = Scope {
            kind: crate::ir::ScopeKind::Model,
            name: definition.name.text.clone(),
            parent: None,
            path: Arc::from(""),
            call: definition.header,
            definition: definition.header,
            hyperparameters: vec![],
            inputs: vec![],
            outputs: vec![],
        };
        Self {
            program,
            graph: Graph::new(definition.name.text.clone(), root),
            taken: FxHashMap::default(),
            diagnostics: vec![],
            repeats: vec![],
            seen: FxHashMap::default(),
            frames: vec![],
            scope: crate::ir::ROOT,
            naming: Naming::default(),
            init_rules: InitRules::default(),
            allow: None,
            skips: vec![],
            lacking: 1,
            budget,
            iterations: 0,
            depth: 0,
            deadline: Instant::now() + budget.time,
            halted: false,
        }
    }

    /// Reports a problem with the calls that led to it. The same problem in another instance is counted, not shown.
    fn report(&mut self, mut problem: Diagnostic) -> Value {
        if problem.id != UNMET && self.frames.iter().any(|frame| frame.unmet) {
            return Value::Poison;
        }
        problem.chain = self.graph.chain(self.scope);
        self.point_out_of_library(&mut problem);
        let key = (problem.id.clone(), problem.span(), problem.message.clone());
        if let Some(at) = self.seen.get(&key) {
            if let Some(count) = self.repeats.get_mut(*at) {
                *count += 1;
            }
            return Value::Poison;
        }
        if self.diagnostics.len() >= MAX_DIAGNOSTICS {
            self.halted = true;
            return Value::Poison;
        }
        self.seen.insert(key, self.diagnostics.len());
        self.diagnostics.push(problem);
        self.repeats.push(1);
        Value::Poison
    }

    /// A mistake that shows inside of the standard library was made where the library is called.
    fn point_out_of_library(&self, problem: &mut Diagnostic) {
        let sources = &self.program.sources;
        if problem.span().is_some_and(|span| sources.is_library(span.file)) {
            let call = problem.chain.iter().map(|frame| frame.call).find(|call| !sources.is_library(call.file));
            if let Some(span) = call {
                problem.labels.insert(0, Label { span, text: "in this call".to_owned() });
            }
        }
    }

    fn error(&mut self, id: &'static str, message: impl Into<String>, span: Span, label: &str) -> Value {
        self.report(Diagnostic::error(id, message).label(span, label))
    }

    /// Whether the budget allows one more round of a loop, or one more call.
    fn spend_iteration(&mut self, span: Span) -> bool {
        self.iterations += 1;
        if self.iterations > self.budget.iterations {
            self.exhausted(span, format!("loops and calls run more than {} times", self.budget.iterations));
        } else if self.iterations.is_multiple_of(1024) && Instant::now() > self.deadline {
            self.exhausted(span, format!("elaboration takes longer than {} s", self.budget.time.as_secs()));
        }
        !self.halted
    }

    /// Whether the budget allows one more node.
    fn spend_node(&mut self, span: Span) -> bool {
        if self.graph.node_count() >= self.budget.nodes {
            self.exhausted(span, format!("the model has more than {} operations", self.budget.nodes));
        } else if self.graph.node_count() % 1024 == 1023 && Instant::now() > self.deadline {
            self.exhausted(span, format!("elaboration takes longer than {} s", self.budget.time.as_secs()));
        }
        !self.halted
    }

    fn exhausted(&mut self, span: Span, message: String) {
        if !self.halted {
            let help = match self.graph.node_count() >= self.budget.nodes {
                true => "is a bound of a loop larger than meant? a larger budget can be given with `--budget`",
                false => "is a bound of a loop larger than meant?",
            };
            self.report(Diagnostic::error("budget/exceeded", message).label(span, "reached here").help(help));
            self.halted = true;
        }
    }

    fn module(&self) -> ModuleId {
        self.frames.last().map_or(self.program.entry(), |frame| frame.module)
    }

    fn variable(&self, name: &str) -> Option<&Value> {
        let frame = self.frames.last()?;
        frame.variables.iter().rev().find(|(own, _)| **own == *name).map(|(_, value)| value)
    }

    fn bind(&mut self, name: &Arc<str>, value: Value) {
        if let Some(frame) = self.frames.last_mut() {
            frame.variables.push((name.clone(), value));
        }
    }

    /// Number of variables, to return to with [`Self::unbind`].
    fn bound(&self) -> usize {
        self.frames.last().map_or(0, |frame| frame.variables.len())
    }

    fn unbind(&mut self, to: usize) {
        if let Some(frame) = self.frames.last_mut() {
            frame.variables.truncate(to);
        }
    }

    /// Runs `f` with some `#[allow]`s in force.
    fn allowing<T>(&mut self, allows: &[Allow], f: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.allow;
        for allow in allows {
            self.graph.allows.push(AllowEntry {
                rule: allow.rule.text.clone(),
                reason: allow.reason.clone(),
                span: allow.span,
                outer: self.allow,
            });
            self.allow = Some(self.graph.allows.len() as u32 - 1);
        }
        let result = f(self);
        self.allow = outer;
        result
    }

    /// The graph with its parameters in checkpoint order.
    fn finish(mut self) -> Graph {
        let order = self.naming.checkpoint_order(&self.graph);
        let mut parameters: Vec<Option<crate::ir::Parameter>> =
            std::mem::take(&mut self.graph.parameters).into_iter().map(Some).collect();
        for id in self.graph.node_ids() {
            self.graph.node_mut(id).parameters.clear();
        }
        for old in order {
            let Some(parameter) = parameters.get_mut(old).and_then(Option::take) else { continue };
            let node = parameter.node;
            self.graph.parameters.push(parameter);
            let id = ParameterId(self.graph.parameters.len() as u32 - 1);
            self.graph.node_mut(node).parameters.push(id);
        }
        // Operators expect their parameters in the order of their declaration.
        for id in self.graph.node_ids() {
            let mut own = self.graph.node(id).parameters.clone();
            if own.len() < 2 {
                continue;
            }
            let declared: Vec<&str> = {
                let types = self.graph.operand_types(id);
                let specs = self.graph.node(id).op().map(|op| op.as_operator().parameters(&types));
                specs.iter().flatten().map(|spec| spec.name).collect()
            };
            own.sort_by_key(|parameter| {
                declared.iter().position(|name| *name == self.graph.parameter(*parameter).name)
            });
            self.graph.node_mut(id).parameters = own;
        }
        self.graph
    }
}
