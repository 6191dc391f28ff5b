//! The corpus of real cases and of mutated networks, and how often each rule is right about it.

use crate::case::{Case, MAIN, cases};
use crate::corpus;
use crate::markdown::arch_blocks;
use crate::run;
use archc_compiler::fix::{Change, Effect};
use archc_compiler::lint::{self, Levels};
use archc_compiler::settings::Settings;
use archc_compiler::{Diagnostic, Level, Options, compile};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// A case with what ought to be found in it.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The thread, the section, or the mutation.
    pub title: String,
    /// The rules that ought to fire, and no others.
    pub expected: BTreeSet<String>,
    /// Of the others, those that the case is about.
    pub silent: BTreeSet<String>,
    /// The rules that fire.
    pub found: BTreeSet<String>,
}

impl Verdict {
    /// Rules that ought to fire and do not.
    pub fn missed(&self) -> impl Iterator<Item = &String> {
        self.expected.difference(&self.found)
    }

    /// Rules that fire and ought not to.
    pub fn alarms(&self) -> impl Iterator<Item = &String> {
        self.found.difference(&self.expected)
    }
}

fn set<'a>(rules: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    rules.into_iter().map(str::to_owned).collect()
}

/// What a case ought to show of its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Finding,
    /// A remark that explains.
    Remark,
    Silence,
}

/// A heading: `+ init/dead-product: yz93/LAVT-RIS#25`, or several rules with commas between.
fn marked(case: &Case) -> Option<(Mark, BTreeSet<String>, String)> {
    let heading = case.heading.rsplit(" > ").next()?;
    let (mark, rest) = heading.split_at_checked(2)?;
    let (rules, title) = rest.split_once(": ")?;
    let rules = set(rules.split(", "));
    let mark = match mark {
        "+ " => Mark::Finding,
        "i " => Mark::Remark,
        "- " => Mark::Silence,
        _ => return None,
    };
    Some((mark, rules, title.to_owned()))
}

/// Verdicts about the files of `tests/corpus`; the error says what cannot be read of them.
pub fn threads() -> Result<Vec<Verdict>, String> {
    let mut verdicts = vec![];
    for file in corpus::files("tests/corpus", "md") {
        for case in cases(&file, arch_blocks(&corpus::read(&file))) {
            let place = format!("{file}:{}", case.line());
            let Some((mark, rules, title)) = marked(&case) else { return Err(format!("{place}: no verdict")) };
            if let Some(mistake) = case.mistakes.first() {
                return Err(format!("{place}: {mistake}"));
            }
            let remarked = |id: &String| lint::rule(id).is_some_and(|rule| rule.level == Level::Info);
            if mark == Mark::Remark && !rules.iter().all(remarked) {
                return Err(format!("{place}: a rule that explains nothing"));
            }
            let (problems, _) = run::diagnostics_with(&case, remarks(&rules))?;
            if let Some(problem) = problems.iter().find(|own| !lint::is_rule(&own.id) && !rules.contains(&*own.id)) {
                return Err(format!("{place}: [{}] {}", problem.id, problem.message));
            }
            let found = problems.iter().map(|problem| problem.id.to_string()).collect();
            let (expected, silent) = match mark {
                Mark::Finding | Mark::Remark => (rules, BTreeSet::new()),
                Mark::Silence => (BTreeSet::new(), rules),
            };
            verdicts.push(Verdict { title, expected, silent, found });
        }
    }
    Ok(verdicts)
}

/// Levels under which those of the rules that are remarks are run as well.
fn remarks(rules: &BTreeSet<String>) -> Levels {
    let known = rules.iter().filter_map(|id| lint::rule(id));
    Levels(known.map(|rule| (rule.id.to_owned(), Some(rule.level))).collect())
}

/// A way to break a published network.
struct Mutation {
    name: &'static str,
    /// The specs it is made in; all if there is none.
    specs: &'static [&'static str],
    /// What is written, and what is written instead.
    from: &'static str,
    to: &'static str,
    /// What ought to be found.
    expected: &'static [&'static str],
    /// What ought not to be.
    silent: &'static [&'static str],
}

/// A mistake with what ought to be found of it.
const fn mutation(
    name: &'static str,
    specs: &'static [&'static str],
    from: &'static str,
    to: &'static str,
    expected: &'static [&'static str],
) -> Mutation {
    Mutation { name, specs, from, to, expected, silent: &[] }
}

/// A change of which those rules have to be silent.
const fn harmless(
    name: &'static str,
    from: &'static str,
    to: &'static str,
    rules: &'static [&'static str],
) -> Mutation {
    Mutation { name, specs: &[], from, to, expected: &[], silent: rules }
}

/// A head that no longer starts at zero, which is no branch.
const fn headless(from: &'static str, to: &'static str) -> Mutation {
    let (expected, silent) = (&["init/nonzero-head"], &[MISSING_ZERO]);
    Mutation { name: "drop the zero start of a head", specs: &[], from, to, expected, silent }
}

/// Networks that are mutated.
const MUTATED: &[(&str, &str)] = &[
    (DIT, "dit_s_2"),
    (EDM, "edm_ddpmpp_cifar10"),
    (PIXART, "pixart_alpha"),
    (SD3, "sd3_medium"),
    ("specs/uvit.arch", "uvit_small"),
];
const DIT: &str = "specs/dit.arch";
const EDM: &str = "specs/edm.arch";
const PIXART: &str = "specs/pixart.arch";
const SD3: &str = "specs/sd3.arch";

const WITHOUT_ONE: &str = "condition/modulation-without-one";
const MISSING_ZERO: &str = "init/missing-zero";
const SOFTMAX: &str = "gate by a softmax";
const ALONE: &str = "modulate by the scale alone";

/// Each is made at every place where its text stands.
const MUTATIONS: &[Mutation] = &[
    mutation("drop the zero start of a branch", &[], "kv_init: kv, init: zero)", "kv_init: kv)", &[MISSING_ZERO]),
    mutation("drop a gate that starts at zero", &[DIT], "residual(gate: gate1)", "residual", &[MISSING_ZERO]),
    mutation("drop a gate that starts at zero", &[DIT], "residual(gate: gate2)", "residual", &[MISSING_ZERO]),
    // The condition is so small that the gates are: all 24 branches together are predicted to add
    // 0.2 % to the stream.
    harmless("start gates near zero", "linear(6 * D, init: zero)", "linear(6 * D)", &[MISSING_ZERO]),
    // Neither ends a residual branch: 1 + a small scale in front of a head, and heads.
    harmless(
        "drop the zero start of a head's modulation",
        "linear(2 * D, init: zero)",
        "linear(2 * D)",
        &[MISSING_ZERO],
    ),
    headless("linear(features, init: zero)", "linear(features)"),
    headless("out, init: zero)", "out)"),
    // Scales that start at zero silence what is behind them, which in DiT ends at factors of zero as well.
    mutation(ALONE, &[DIT], "-> modulate(shift1, scale1)", "-> { y => y * scale1 + shift1 }", &[WITHOUT_ONE, DEAD]),
    mutation(ALONE, &[DIT], "-> modulate(shift2, scale2)", "-> { y => y * scale2 + shift2 }", &[WITHOUT_ONE, DEAD]),
    mutation(ALONE, &[DIT], "-> modulate(shift, scale)", "-> { y => y * scale + shift }", &[WITHOUT_ONE, DEAD]),
    mutation(ALONE, &[PIXART, SD3], "-> modulate(shift1, scale1)", "-> { y => y * scale1 + shift1 }", &[WITHOUT_ONE]),
    mutation(ALONE, &[PIXART, SD3], "-> modulate(shift2, scale2)", "-> { y => y * scale2 + shift2 }", &[WITHOUT_ONE]),
    mutation(ALONE, &[SD3], "-> modulate(shift, scale)", "-> { y => y * scale + shift }", &[WITHOUT_ONE]),
    mutation("swap heads and their width", &[], "heads: 16", "heads: 128", &["attention/heads"]),
    mutation("swap heads and their width", &[], "heads: 6", "heads: 48", &["attention/heads"]),
    mutation(
        "predict the noise where none of the data is left",
        &[],
        "schedule: linear",
        "schedule: linear(zero_terminal_snr: true)",
        &["process/eps-at-zero-snr"],
    ),
    mutation(
        "weigh all levels alike",
        &[],
        "weighting: edm(sigma_data: sigma_data)",
        "weighting: uniform",
        &[IDENTITY],
    ),
    mutation(
        "weigh as for other data",
        &[EDM],
        "weighting: edm(sigma_data: sigma_data)",
        "weighting: edm(sigma_data: 1)",
        &["process/sigma-data-mismatch", IDENTITY],
    ),
    mutation(
        "precondition as for other data",
        &[EDM],
        "edm_preconditioning(sigma_data)",
        "edm_preconditioning(1)",
        &[IDENTITY],
    ),
    mutation(
        "start both factors at zero",
        &[DIT],
        "Mlp(D * mlp_ratio, act: gelu_tanh)",
        "Mlp(D * mlp_ratio, act: gelu_tanh, out_init: zero)",
        &[DEAD],
    ),
    mutation(
        SOFTMAX,
        &[DIT],
        "residual(gate: gate1)",
        "residual(gate: gate1 -> softmax())",
        &["gate/softmax-as-gates"],
    ),
    mutation(
        SOFTMAX,
        &[DIT],
        "residual(gate: gate2)",
        "residual(gate: gate2 -> softmax())",
        &["gate/softmax-as-gates"],
    ),
    mutation(
        "add an epsilon of 1",
        &[DIT],
        "layer_norm(affine: false, eps: 1e-6)",
        "layer_norm(affine: false, eps: 1)",
        &["norm/eps-dominates"],
    ),
    // Branches start at zero, so that the stream keeps its variance without the factor.
    harmless(
        "do not scale the sums",
        "skip_scale: float = sqrt(0.5)",
        "skip_scale: float = 1",
        &[MISSING_ZERO, "residual/growth"],
    ),
    // 13 of 26 sums: fewer than the stacks that have been seen to diverge.
    harmless(
        "normalise behind the sum",
        "residual { layer_norm() @norm2 -> Mlp(D * mlp_ratio) @mlp }",
        "residual { Mlp(D * mlp_ratio) @mlp } -> layer_norm() @norm2",
        &["residual/deep-post-norm"],
    ),
    // Missed: a projection behind each skip ends a stack, and the last one is short.
    mutation(
        "drop the final norm",
        &["specs/uvit.arch"],
        "h -> layer_norm() @norm -> linear",
        "h -> linear",
        &["norm/missing-final"],
    ),
    // Coefficients and weight are those of other data, so that neither input nor target have unit variance.
    mutation("assume other data", &[], "data_std: 0.5", "data_std: 1", &["process/sigma-data-mismatch", IDENTITY]),
];
const DEAD: &str = "init/dead-product";
const IDENTITY: &str = "process/preconditioning-identity";

/// Verdicts about published specs with one mistake made in each; those that do not compile any more, or are the
/// same network, are left out.
pub fn mutants() -> Vec<Verdict> {
    let mut verdicts = vec![];
    for (name, target) in MUTATED {
        let text = corpus::read(name);
        let given = Settings { levels: Levels::default().with_remarks(), ..Settings::default() };
        let options = Options { given, ..Options::default() };
        let network = |text: &str| compile(MAIN, Some(target), &[], &[(MAIN, text)], &options);
        let Ok(published) = network(&text) else { continue };
        let Some(graph) = &published.graph else { continue };
        let known = ids(&published.diagnostics);
        for mutation in MUTATIONS.iter().filter(|own| own.specs.is_empty() || own.specs.contains(name)) {
            for (at, _) in text.match_indices(mutation.from) {
                let (before, after) = text.split_at(at);
                let mutant = format!("{before}{}{}", mutation.to, after.get(mutation.from.len()..).unwrap_or(""));
                let Ok(checked) = network(&mutant) else { continue };
                // What another preset says changes nothing here.
                let changed = checked.graph.as_ref().map(|mutant| Effect::between(graph, mutant).change);
                if changed.is_none_or(|change| change == Change::Nothing) {
                    continue;
                }
                if checked.diagnostics.iter().any(|problem| !lint::is_rule(&problem.id)) {
                    continue;
                }
                let line = before.matches('\n').count() + 1;
                verdicts.push(Verdict {
                    title: format!("{}, {name}:{line}", mutation.name),
                    expected: set(mutation.expected.iter().copied()),
                    silent: set(mutation.silent.iter().copied()),
                    // What is remarked on the published network is no news.
                    found: ids(&checked.diagnostics).difference(&known).cloned().collect(),
                });
            }
        }
    }
    verdicts
}

fn ids(problems: &[Diagnostic]) -> BTreeSet<String> {
    problems.iter().map(|problem| problem.id.to_string()).collect()
}

#[derive(Clone, Copy, Debug, Default)]
struct Score {
    positive: usize,
    hit: usize,
    negative: usize,
    alarm: usize,
}

/// The page of `specs/reference/evidence.md`.
pub fn page(generated: &str) -> String {
    let threads = threads().unwrap_or_default();
    let mutants = mutants();
    let mut page = format!(
        "# Evidence\n\n{generated}\n\nHow often rules are right about `tests/corpus`, the smallest specs of public threads and \
         of errors of\nan article, and about published specs with one mistake made in each. *Found* are the cases in which the \
         rule\nfires of those in which it ought to; *false alarms* are the cases in which it fires and ought not to, among them\n\
         cases that are about another rule. Remarks count where a thread asks for what they say, or has to be without them. A\n\
         mistake that breaks two things is a case of both rules. A zero start that is dropped is a case of\n\
         `init/missing-zero` where it ends a residual branch that then starts at full strength, and a silent one where it ends\n\
         none, or where what takes its place is as good as zero. The cases were chosen by the authors of the rules, and some\n\
         are close to the examples of their pages: read it as a regression test, not as an estimate for other networks.\n"
    );
    for (title, verdicts) in
        [("Threads, the article, and variations of them", &threads), ("Mutated published networks", &mutants)]
    {
        let _ = write!(page, "\n## {title}\n\n{}", table(verdicts));
        let wrong: Vec<String> = verdicts.iter().flat_map(mistakes).collect();
        if !wrong.is_empty() {
            let _ = write!(page, "\nWrong:\n\n{}", wrong.concat());
        }
    }
    page
}

/// What is wrong about a verdict, in lines of the page.
fn mistakes(verdict: &Verdict) -> Vec<String> {
    let missed = verdict.missed().map(|rule| (rule, "missed"));
    let wrong = missed.chain(verdict.alarms().map(|rule| (rule, "false alarm")));
    wrong.map(|(rule, what)| format!("* `{rule}`: {} ({what})\n", verdict.title)).collect()
}

fn table(verdicts: &[Verdict]) -> String {
    let mut scores: BTreeMap<&str, Score> = BTreeMap::new();
    for verdict in verdicts {
        for rule in &verdict.expected {
            let own = scores.entry(rule).or_default();
            (own.positive, own.hit) = (own.positive + 1, own.hit + usize::from(verdict.found.contains(rule)));
        }
        for rule in &verdict.silent {
            scores.entry(rule).or_default().negative += 1;
        }
        for rule in verdict.alarms() {
            scores.entry(rule).or_default().alarm += 1;
        }
    }
    let mut text =
        "| rule | cases | found | silent cases | false alarms | precision | recall |\n|---|--:|--:|--:|--:|--:|--:|\n"
            .to_owned();
    let share = |part: usize, whole: usize| match whole {
        0 => "-".to_owned(),
        whole => format!("{} %", (100 * part + whole / 2) / whole),
    };
    for (rule, Score { positive, hit, negative, alarm }) in scores {
        let (precision, recall) = (share(hit, hit + alarm), share(hit, positive));
        let _ = writeln!(text, "| `{rule}` | {positive} | {hit} | {negative} | {alarm} | {precision} | {recall} |");
    }
    text
}
