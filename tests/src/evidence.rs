//! The corpus of real cases and of mutated networks, and how often each rule is right about it.

use crate::case::{Case, MAIN, cases};
use crate::corpus;
use crate::markdown::arch_blocks;
use crate::mistakes::{MUTATED, MUTATIONS, Mutation};
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

/// Mutations that change no network: their text stands nowhere, or does not compile.
pub fn idle(verdicts: &[Verdict]) -> Vec<&'static str> {
    let is_made = |own: &&Mutation| {
        verdicts.iter().any(|verdict| {
            let same = verdict.expected == set(own.expected.iter().copied());
            same && verdict.title.starts_with(own.name) && verdict.silent == set(own.silent.iter().copied())
        })
    };
    MUTATIONS.iter().filter(|own| !is_made(own)).map(|own| own.from).collect()
}

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
