//! The corpus of real cases and of mutated networks, and how often each rule is right about it.

use crate::case::{Case, MAIN, cases};
use crate::corpus;
use crate::markdown::arch_blocks;
use crate::run;
use archc_compiler::fix::{Change, Effect};
use archc_compiler::lint;
use archc_compiler::{Options, compile};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// A case with the verdict that it ought to get.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The thread, the section, or the mutation.
    pub title: String,
    pub rule: String,
    /// Whether the rule ought to fire.
    pub positive: bool,
    /// The rules that fire.
    pub found: BTreeSet<String>,
}

impl Verdict {
    pub fn is_right(&self) -> bool {
        self.found.contains(&self.rule) == self.positive
    }
}

/// A heading: `+ init/dead-product: yz93/LAVT-RIS#25`.
fn marked(case: &Case) -> Option<(bool, String, String)> {
    let heading = case.heading.rsplit(" > ").next()?;
    let (mark, rest) = heading.split_at_checked(2)?;
    let (rule, title) = rest.split_once(": ")?;
    match mark {
        "+ " => Some((true, rule.to_owned(), title.to_owned())),
        "- " => Some((false, rule.to_owned(), title.to_owned())),
        _ => None,
    }
}

/// Verdicts about the files of `tests/corpus`; the error says what cannot be read of them.
pub fn threads() -> Result<Vec<Verdict>, String> {
    let mut verdicts = vec![];
    for file in corpus::files("tests/corpus", "md") {
        for case in cases(&file, arch_blocks(&corpus::read(&file))) {
            let place = format!("{file}:{}", case.line());
            let Some((positive, rule, title)) = marked(&case) else { return Err(format!("{place}: no verdict")) };
            let (problems, _) = run::diagnostics(&case)?;
            if let Some(problem) = problems.iter().find(|problem| !lint::is_rule(&problem.id)) {
                return Err(format!("{place}: [{}] {}", problem.id, problem.message));
            }
            let found = problems.iter().map(|problem| problem.id.to_string()).collect();
            verdicts.push(Verdict { title, rule, positive, found });
        }
    }
    Ok(verdicts)
}

/// A way to break a published network: what is written, what is written instead, what ought to be found.
struct Mutation {
    name: &'static str,
    from: &'static str,
    to: &'static str,
    rule: &'static str,
}

const fn mutation(name: &'static str, from: &'static str, to: &'static str, rule: &'static str) -> Mutation {
    Mutation { name, from, to, rule }
}

/// Networks that are mutated.
const MUTATED: &[(&str, &str)] = &[
    ("specs/dit.arch", "dit_s_2"),
    ("specs/edm.arch", "edm_ddpmpp_cifar10"),
    ("specs/pixart.arch", "pixart_alpha"),
    ("specs/sd3.arch", "sd3_medium"),
    ("specs/uvit.arch", "uvit_small"),
];

/// Each is made at every place where its text stands.
const MUTATIONS: &[Mutation] = &[
    mutation("drop a zero start", ", init: zero)", ")", "init/missing-zero"),
    mutation(
        "modulate by the scale alone",
        "-> modulate(shift1, scale1)",
        "-> { y => y * scale1 + shift1 }",
        "condition/modulation-without-one",
    ),
    mutation(
        "modulate by the scale alone",
        "-> modulate(shift2, scale2)",
        "-> { y => y * scale2 + shift2 }",
        "condition/modulation-without-one",
    ),
    mutation(
        "modulate by the scale alone",
        "-> modulate(shift, scale)",
        "-> { y => y * scale + shift }",
        "condition/modulation-without-one",
    ),
    mutation("swap heads and their width", "heads: 16", "heads: 128", "attention/heads"),
    mutation("swap heads and their width", "heads: 6", "heads: 48", "attention/heads"),
    mutation(
        "predict the noise where none of the data is left",
        "schedule: linear",
        "schedule: linear(zero_terminal_snr: true)",
        "process/eps-at-zero-snr",
    ),
    mutation(
        "weigh all levels alike",
        "weighting: edm(sigma_data: sigma_data)",
        "weighting: uniform",
        "process/preconditioning-identity",
    ),
    mutation("assume other data", "data_std: 0.5", "data_std: 1", "process/sigma-data-mismatch"),
];

/// Verdicts about published specs with one mistake made in each; those that do not compile any more, or are the
/// same network, are left out.
pub fn mutants() -> Vec<Verdict> {
    let mut verdicts = vec![];
    for (name, target) in MUTATED {
        let text = corpus::read(name);
        let network = |text: &str| compile(MAIN, Some(target), &[], &[(MAIN, text)], &Options::default());
        let Ok(Some(published)) = network(&text).map(|compiled| compiled.graph) else { continue };
        for mutation in MUTATIONS {
            for (at, _) in text.match_indices(mutation.from) {
                let (before, after) = text.split_at(at);
                let mutant = format!("{before}{}{}", mutation.to, after.get(mutation.from.len()..).unwrap_or(""));
                let Ok(checked) = compile(MAIN, Some(target), &[], &[(MAIN, mutant.as_str())], &Options::default())
                else {
                    continue;
                };
                // What another preset says changes nothing here.
                let changed = checked.graph.as_ref().map(|graph| Effect::between(&published, graph).change);
                if changed.is_none_or(|change| change == Change::Nothing) {
                    continue;
                }
                if checked.diagnostics.iter().any(|problem| !lint::is_rule(&problem.id)) {
                    continue;
                }
                let line = before.matches('\n').count() + 1;
                let found = checked.diagnostics.iter().map(|problem| problem.id.to_string()).collect();
                let title = format!("{}, {name}:{line}", mutation.name);
                verdicts.push(Verdict { title, rule: mutation.rule.to_owned(), positive: true, found });
            }
        }
    }
    verdicts
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
         cases that are about another rule. The cases were chosen by the authors of the rules: read it as a regression\ntest, \
         not as an estimate for other networks.\n"
    );
    for (title, verdicts) in [("Threads and the article", &threads), ("Mutated published networks", &mutants)] {
        let _ = write!(page, "\n## {title}\n\n{}", table(verdicts));
        let wrong: Vec<&Verdict> = verdicts.iter().filter(|verdict| !verdict.is_right()).collect();
        if !wrong.is_empty() {
            page.push_str("\nWrong:\n\n");
        }
        for verdict in wrong {
            let what = match (verdict.positive, lint::is_rule(&verdict.rule)) {
                (true, true) => "missed",
                (true, false) => "missed, there is no such rule yet",
                (false, _) => "false alarm",
            };
            let _ = writeln!(page, "* `{}`: {} ({what})", verdict.rule, verdict.title);
        }
    }
    page
}

fn table(verdicts: &[Verdict]) -> String {
    let mut scores: BTreeMap<&str, Score> = BTreeMap::new();
    for verdict in verdicts {
        let own = scores.entry(&verdict.rule).or_default();
        let fires = verdict.found.contains(&verdict.rule);
        match verdict.positive {
            true => (own.positive, own.hit) = (own.positive + 1, own.hit + usize::from(fires)),
            false => (own.negative, own.alarm) = (own.negative + 1, own.alarm + usize::from(fires)),
        }
        for other in verdict.found.iter().filter(|id| **id != verdict.rule) {
            scores.entry(other).or_default().alarm += 1;
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
