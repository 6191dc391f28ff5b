//! Rules about stability: each reads analyses, never syntax.
//!
//! A rule is one file: its documentation (which is its reference page), its declaration, what it finds. Findings hold
//! facts; their wording is made last. Registration is one line in [`for_each_rule`].

#![deny(clippy::wildcard_enum_match_arm, clippy::match_wildcard_for_single_variants)]

mod claims;
mod noise;
mod rules;
mod written;

use crate::analysis::liveness::Liveness;
use crate::analysis::precision::{Precision, precision};
use crate::analysis::ranges::Ranges;
use crate::analysis::signal::Signal;
use crate::analysis::stacks::Stacks;
use crate::analysis::streams::Streams;
use crate::ir::{Graph, NodeId, ScopeId, ScopeKind};
use crate::program::list;
use crate::settings::{FILE, Inputs, Settings};
use crate::source::SourceMap;
use crate::suggest::{did_you_mean, nearest};
use archc_grammar::{Diagnostic, Fix, Level, Span};
use indexmap::IndexMap;
pub(crate) use noise::process_node;
use rustc_hash::FxHashSet;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
pub(crate) use written::{Call, PLAIN_NORM, Stage, plain_norm};

/// How much values may grow in training before they overflow.
const MARGIN: f64 = 8.0;

/// What is fixed about a rule.
#[derive(Clone, Copy, Debug)]
pub struct RuleInfo {
    /// `group/name`
    pub id: &'static str,
    pub level: Level,
    /// Markdown with the headings *What it does*, *Why is this bad*, *Example*, *Use instead*, *Fix*, *Evidence*,
    /// *References*, *Threads*, *To confirm*.
    pub doc: &'static str,
    /// Whether it has fixes; its page says under *Fix* what they do, or why there are none.
    pub fixable: bool,
    run: fn(&Context<'_>) -> Vec<(NodeId, Diagnostic)>,
}

impl RuleInfo {
    /// The reference page: a title, then the doc comment of the rule.
    pub fn page(&self) -> String {
        let lines: Vec<&str> = self.doc.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
        format!("# {} ({})\n\n{}\n", self.id, self.level.name(), lines.join("\n").trim())
    }

    /// What it does, in a sentence or two.
    pub fn summary(&self) -> String {
        let after = self.doc.split("What it does").nth(1).unwrap_or(self.doc);
        let paragraph = after.trim().split("\n\n").next().unwrap_or("");
        paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// One thing that a rule found: facts, and how to say them.
pub(crate) trait Rule: Sized {
    const ID: &'static str;
    const LEVEL: Level;
    const DOC: &'static str;
    const FIXABLE: bool;

    /// Findings with the node at which `#[allow]` may excuse them.
    fn check(context: &Context<'_>) -> Vec<(NodeId, Self)>;

    /// Message, labels and help; id, level and chain are added.
    fn report(&self, context: &Context<'_>) -> Report;

    /// Changes of the source after which the finding is gone, the best one first.
    fn fixes(&self, context: &Context<'_>) -> Vec<Fix>;
}

/// The wording of a finding.
pub(crate) struct Report {
    pub message: String,
    pub labels: Vec<(Span, String)>,
    pub notes: Vec<String>,
    pub help: Option<String>,
}

/// What rules look at. Analyses that only some rules need are made when first asked for.
pub(crate) struct Context<'g> {
    pub graph: &'g Graph,
    pub sources: &'g SourceMap,
    /// What the user has declared.
    pub given: &'g Settings,
    streams: OnceCell<Streams>,
    stacks: OnceCell<Stacks>,
    reached: OnceCell<FxHashSet<NodeId>>,
    liveness: OnceCell<Liveness>,
    signal: OnceCell<Signal>,
    ranges: OnceCell<Ranges>,
    precision: OnceCell<Option<Precision>>,
}

impl<'g> Context<'g> {
    fn new(graph: &'g Graph, sources: &'g SourceMap, given: &'g Settings) -> Self {
        Self {
            graph,
            sources,
            given,
            streams: OnceCell::new(),
            stacks: OnceCell::new(),
            reached: OnceCell::new(),
            liveness: OnceCell::new(),
            signal: OnceCell::new(),
            ranges: OnceCell::new(),
            precision: OnceCell::new(),
        }
    }

    pub fn streams(&self) -> &Streams {
        self.streams.get_or_init(|| Streams::of(self.graph))
    }

    pub fn stacks(&self) -> &Stacks {
        self.stacks.get_or_init(|| Stacks::of(self.graph, self.streams()))
    }

    pub fn liveness(&self) -> &Liveness {
        self.liveness.get_or_init(|| Liveness::of(self.graph))
    }

    pub fn signal(&self) -> &Signal {
        self.signal.get_or_init(|| Signal::with(self.graph, &self.given.inputs.statistics()))
    }

    pub fn ranges(&self) -> &Ranges {
        self.ranges.get_or_init(|| Ranges::of(self.graph))
    }

    /// What the declared numbers do not hold, with room for values to grow; nothing where none are declared.
    pub fn precision(&self) -> Option<&Precision> {
        let of = |format| precision(self.graph, self.signal(), format, MARGIN);
        self.precision.get_or_init(|| self.given.dtype.map(of)).as_ref()
    }

    /// Where a user would look for a node: the expression that made it, or the call of the library block around it.
    pub fn place(&self, node: NodeId) -> Span {
        let node = self.graph.node(node);
        if !self.is_library(node.span) {
            return node.span;
        }
        self.place_of_scope(node.scope).unwrap_or(node.span)
    }

    /// The innermost call around a scope that is written outside of the standard library.
    pub fn place_of_scope(&self, scope: ScopeId) -> Option<Span> {
        let scopes = self.graph.enclosing(scope).map(|id| self.graph.scope(id));
        scopes
            .filter(|scope| scope.kind == ScopeKind::Block)
            .map(|scope| scope.call)
            .find(|call| !self.is_library(*call))
    }

    /// Everything an output depends on.
    pub fn reached(&self) -> &FxHashSet<NodeId> {
        self.reached.get_or_init(|| {
            let mut reached = FxHashSet::default();
            let mut open: Vec<NodeId> = self.graph.outputs.iter().map(|output| output.node).collect();
            while let Some(at) = open.pop() {
                if reached.insert(at) {
                    open.extend(self.graph.operands(at));
                }
            }
            reached
        })
    }

    fn is_library(&self, span: Span) -> bool {
        self.sources.is_library(span.file)
    }
}

/// The one list of rules, by id.
macro_rules! for_each_rule {
    ($apply:ident) => {
        $apply! {
            additive_time => AdditiveTime,
            assumes_independence => AssumesIndependence,
            attenuates => Attenuates,
            attention_drops_trunk => AttentionDropsTrunk,
            attention_heads => AttentionHeads,
            coarse_timestep => CoarseTimestep,
            concat_imbalance => ConcatImbalance,
            constant_scale => ConstantScale,
            context_scale => ContextScale,
            dead_node => DeadNode,
            dead_product => DeadProduct,
            deep_post_norm => DeepPostNorm,
            dilution => Dilution,
            degenerate_time_embedding => DegenerateTimeEmbedding,
            energy_imbalance => EnergyImbalance,
            does_not_arrive => DoesNotArrive,
            eps_at_zero_snr => EpsAtZeroSnr,
            eps_dominates => EpsDominates,
            half_reduction => HalfReduction,
            late_wake_up => LateWakeUp,
            logit_scale => LogitScale,
            missing_bypass => MissingBypass,
            missing_final_norm => MissingFinalNorm,
            missing_zero => MissingZero,
            monotone_impossible => MonotoneImpossible,
            monotone_unproved => MonotoneUnproved,
            modulation_without_one => ModulationWithoutOne,
            nan_noise_embedding => NanNoiseEmbedding,
            no_qk_norm => NoQkNorm,
            nonzero_head => NonzeroHead,
            overflow => Overflow,
            preconditioning_identity => PreconditioningIdentity,
            raw_numbers => RawNumbers,
            redundant_affine => RedundantAffine,
            residual_growth => ResidualGrowth,
            sigma_data_mismatch => SigmaDataMismatch,
            single_element_norm => SingleElementNorm,
            saturated_gate => SaturatedGate,
            softmax_as_gates => SoftmaxAsGates,
            softmax_singleton => SoftmaxSingleton,
            spatial_divisibility => SpatialDivisibility,
            straddling_norm => StraddlingNorm,
            token_collapse => TokenCollapse,
            unbounded_gate => UnboundedGate,
            unnormalized_add => UnnormalizedAdd,
            unnormalized_glu => UnnormalizedGlu,
            unnormalized_projection => UnnormalizedProjection,
            unscaled_drop_path => UnscaledDropPath,
            unscaled_stack => UnscaledStack,
            unscaled_ve_input => UnscaledVeInput,
            unused_input => UnusedInput,
            vector_norm_renorm => VectorNormRenorm,
            zero_in_name_only => ZeroInNameOnly,
        }
    };
}
pub(crate) use for_each_rule;

/// All rules, by id.
pub fn rules() -> &'static [RuleInfo] {
    rules::TABLE
}

/// The rule of that id.
pub fn rule(id: &str) -> Option<&'static RuleInfo> {
    rules().iter().find(|rule| rule.id == id)
}

/// Whether an id belongs to a rule rather than to an error of the language.
pub fn is_rule(id: &str) -> bool {
    rule(id).is_some()
}

/// Findings of one rule that come with fixes, at most: each reads its part of the source again, and whoever applies fixes
/// checks again.
const MAX_FIXED: usize = 32;

const fn info<R: Rule>() -> RuleInfo {
    RuleInfo {
        id: R::ID,
        level: R::LEVEL,
        doc: R::DOC,
        fixable: R::FIXABLE,
        run: |context| {
            let found = R::check(context).into_iter().enumerate();
            found
                .map(|(at, (node, finding))| (node, diagnostic::<R>(context, node, &finding, at < MAX_FIXED)))
                .collect()
        },
    }
}

fn diagnostic<R: Rule>(context: &Context<'_>, node: NodeId, finding: &R, fixed: bool) -> Diagnostic {
    let Report { message, labels, notes, help } = finding.report(context);
    let mut problem = Diagnostic::new(R::LEVEL, R::ID, message);
    for (span, text) in labels {
        problem = problem.label(span, text);
    }
    problem.notes = notes;
    problem.help = help;
    if fixed {
        problem.fixes = finding.fixes(context);
    }
    problem.chain = context.graph.chain(context.graph.node(node).scope);
    problem
}

/// Levels that differ from those of the rules; `None` switches a rule off. Remarks ([`Level::Info`]) are off unless they
/// are named here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Levels(pub BTreeMap<String, Option<Level>>);

impl Levels {
    /// With rules whose findings are of interest and no reason to change anything; they run only where someone asks.
    #[must_use]
    pub fn with_remarks(mut self) -> Self {
        for rule in rules().iter().filter(|rule| rule.level == Level::Info) {
            self.0.entry(rule.id.to_owned()).or_insert(Some(Level::Info));
        }
        self
    }

    fn of(&self, rule: &RuleInfo) -> Option<Level> {
        let default = (rule.level != Level::Info).then_some(rule.level);
        self.0.get(rule.id).copied().unwrap_or(default)
    }
}

/// What linting a graph gives.
#[derive(Debug, Default)]
pub struct Findings {
    pub diagnostics: Vec<Diagnostic>,
    /// `#[allow]`s that excuse nothing in this graph.
    pub unused_allows: Vec<Diagnostic>,
    /// Those that do.
    pub used_allows: BTreeSet<Span>,
}

impl Findings {
    /// With those of another graph.
    pub fn extend(&mut self, other: Self) {
        self.diagnostics.extend(other.diagnostics);
        self.unused_allows.extend(other.unused_allows);
        self.used_allows.extend(other.used_allows);
    }

    /// `#[allow]`s that excuse nothing in any of the graphs that they are part of.
    #[must_use]
    pub fn useless_allows(self) -> Vec<Diagnostic> {
        let is_useless = |allow: &Diagnostic| allow.span().is_none_or(|span| !self.used_allows.contains(&span));
        self.unused_allows.into_iter().filter(is_useless).collect()
    }
}

/// Findings of one rule that say the same of the same place.
type Key = (Cow<'static, str>, Option<Span>, String);

/// Runs all rules that are not switched off.
pub fn lint(graph: &Graph, sources: &SourceMap, given: &Settings) -> Findings {
    let context = Context::new(graph, sources, given);
    let levels = &given.levels;
    let mut found: IndexMap<Key, (Diagnostic, usize)> = IndexMap::new();
    let mut used: BTreeSet<Span> = BTreeSet::new();
    for rule in rules() {
        let Some(level) = levels.of(rule) else { continue };
        for (node, mut problem) in (rule.run)(&context) {
            // What is found in a process is excused at the process, or around it.
            let of_process = if rule.id.starts_with("process/") { graph.allowed_in_process(rule.id) } else { None };
            if let Some(allow) = of_process.or_else(|| graph.allowed(node, rule.id)) {
                used.extend(graph.allows.get(allow as usize).map(|entry| entry.span));
                continue;
            }
            problem.level = level;
            let key = (problem.id.clone(), problem.span(), problem.message.clone());
            found.entry(key).or_insert((problem, 0)).1 += 1;
        }
    }
    let diagnostics = found.into_values().map(|(mut problem, count)| {
        problem.notes.extend(crate::compile::more_places(count));
        problem
    });
    let mut findings = Findings { diagnostics: diagnostics.collect(), unused_allows: vec![], used_allows: used };
    findings.diagnostics.extend(misspelt_statistics(graph, sources, &given.inputs));
    check_allows(graph, sources, levels, &mut findings);
    findings
}

/// Inputs of which nothing is declared, while archc.yaml declares something of what is called nearly so. It may hold names
/// of other models, so that a name which is like none says nothing.
fn misspelt_statistics(graph: &Graph, sources: &SourceMap, declared: &Inputs) -> Vec<Diagnostic> {
    let inputs = || graph.inputs.iter().map(|input| &*input.name);
    let strangers = declared.inputs.keys().filter(|name| inputs().all(|input| input != name.as_str()));
    let misspelt = strangers.filter_map(|name| {
        let undeclared = inputs().filter(|input| !declared.inputs.contains_key(*input));
        let meant = nearest(name, undeclared)?;
        let input = graph.inputs.iter().find(|input| *input.name == *meant)?;
        let message = format!("`{FILE}` declares statistics of `{name}`, which is no input of this model");
        let span = graph.node(input.node).span;
        let problem = Diagnostic::new(Level::Warning, "settings/unknown-input", message)
            .help(format!("did you mean `{meant}`? It is taken as white noise of unit variance"));
        Some(if sources.is_library(span.file) {
            problem
        } else {
            problem.label(span, "nothing is declared of this one")
        })
    });
    misspelt.collect()
}

fn check_allows(graph: &Graph, sources: &SourceMap, levels: &Levels, findings: &mut Findings) {
    let mut seen: BTreeSet<Span> = BTreeSet::new();
    // What did not run may still need its excuses.
    let runs = |id: &str| rule(id).is_some_and(|rule| levels.of(rule).is_some());
    for entry in &graph.allows {
        if !seen.insert(entry.span) {
            continue;
        }
        if !is_rule(&entry.rule) {
            let known = rules().iter().map(|rule| rule.id);
            let help = did_you_mean(&entry.rule, known.clone())
                .unwrap_or_else(|| format!("there are {}", list(known.clone())));
            let mut problem = Diagnostic::error("lint/unknown-rule", format!("there is no rule `{}`", entry.rule))
                .label(entry.span, "allows nothing")
                .help(help);
            problem
                .fixes
                .extend(nearest(&entry.rule, known).and_then(|rule| written::renamed_allow(sources, entry, rule)));
            findings.diagnostics.push(problem);
        } else if !findings.used_allows.contains(&entry.span)
            && runs(&entry.rule)
            && !sources.is_library(entry.span.file)
        {
            // A block of the library is excused for all who use it, whatever their hyperparameters.
            let message = format!("nothing here needs an `allow` for `{}`", entry.rule);
            let problem = Diagnostic::new(Level::Warning, "lint/unused-allow", message)
                .label(entry.span, "suppresses nothing")
                .help("remove it");
            let problem = match written::without_allow(sources, entry) {
                Some(fix) => problem.fix(fix),
                None => problem,
            };
            findings.unused_allows.push(problem);
        }
    }
}
