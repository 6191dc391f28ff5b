//! The corpus of real cases and of mutated networks, and how often each rule is right about it.

use crate::case::{Case, MAIN, cases};
use crate::corpus;
use crate::edits;
use crate::markdown::arch_blocks;
use crate::mistakes::{MUTATED, MUTATIONS, Mutation};
use crate::pages::{Page, generated};
use crate::parallel;
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
    let files = corpus::files("tests/corpus", "md");
    let all: Vec<Case> = files.iter().flat_map(|file| cases(file, arch_blocks(&corpus::read(file)))).collect();
    parallel::map(&all, thread).into_iter().collect()
}

fn thread(case: &Case) -> Result<Verdict, String> {
    let place = format!("{}:{}", case.suite, case.line());
    let Some((mark, rules, title)) = marked(case) else { return Err(format!("{place}: no verdict")) };
    if let Some(mistake) = case.mistakes.first() {
        return Err(format!("{place}: {mistake}"));
    }
    let remarked = |id: &String| lint::rule(id).is_some_and(|rule| rule.level == Level::Info);
    if mark == Mark::Remark && !rules.iter().all(remarked) {
        return Err(format!("{place}: a rule that explains nothing"));
    }
    let (problems, _) = run::diagnostics_with(case, remarks(&rules))?;
    if let Some(problem) = problems.iter().find(|own| !lint::is_rule(&own.id) && !rules.contains(&*own.id)) {
        return Err(format!("{place}: [{}] {}", problem.id, problem.message));
    }
    let found = problems.iter().map(|problem| problem.id.to_string()).collect();
    let (expected, silent) = match mark {
        Mark::Finding | Mark::Remark => (rules, BTreeSet::new()),
        Mark::Silence => (BTreeSet::new(), rules),
    };
    Ok(Verdict { title, expected, silent, found })
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
    parallel::map(MUTATED, |(name, target)| mutants_of(name, target)).concat()
}

/// Verdicts about a published network with each mistake in each place where it can be made.
fn mutants_of(name: &str, target: &str) -> Vec<Verdict> {
    let text = corpus::read(name);
    let given = Settings { levels: Levels::default().with_remarks(), ..Settings::default() };
    let options = Options { given, ..Options::default() };
    let network = |text: &str| compile(MAIN, Some(target), &[], &[(MAIN, text)], &options).ok();
    let Some(published) = network(&text) else { return vec![] };
    let Some(graph) = &published.graph else { return vec![] };
    let known = ids(&published.diagnostics);
    let of = |mutation: &Mutation, at: usize| {
        let (before, after) = text.split_at(at);
        let mutant = format!("{before}{}{}", mutation.to, after.get(mutation.from.len()..).unwrap_or(""));
        let checked = network(&mutant)?;
        // What another preset says changes nothing here.
        let is_changed = Effect::between(graph, checked.graph.as_ref()?).change != Change::Nothing;
        let is_network = checked.diagnostics.iter().all(|problem| lint::is_rule(&problem.id));
        let line = before.matches('\n').count() + 1;
        (is_changed && is_network).then(|| Verdict {
            title: format!("{}, {name}:{line}", mutation.name),
            expected: set(mutation.expected.iter().copied()),
            silent: set(mutation.silent.iter().copied()),
            // What is remarked on the published network is no news.
            found: ids(&checked.diagnostics).difference(&known).cloned().collect(),
        })
    };
    let own = MUTATIONS.iter().filter(|own| own.specs.is_empty() || own.specs.contains(&name));
    let places = own.flat_map(|own| text.match_indices(own.from).map(move |(at, _)| (own, at)));
    places.filter_map(|(mutation, at)| of(mutation, at)).collect()
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

/// All that archc is asked: threads and networks of the corpus, mutants, edits.
#[derive(Debug)]
pub struct Verdicts {
    pub threads: Vec<Verdict>,
    pub mutants: Vec<Verdict>,
    pub edits: Vec<Verdict>,
}

impl Verdicts {
    /// Asks; the error says what cannot be read.
    pub fn collect() -> Result<Self, String> {
        Ok(Self { threads: threads()?, mutants: mutants(), edits: edits::verdicts()? })
    }
}

/// The page of `specs/reference/evidence.md`.
pub fn page(verdicts: &Verdicts) -> Page {
    let mut text = format!("# Evidence\n\n{}\n\n{INTRODUCTION}", generated("evidence"));
    for (title, verdicts) in [
        ("Threads, the article, and networks of others", &verdicts.threads),
        ("Mutated published networks", &verdicts.mutants),
        ("Published networks, edited by others", &verdicts.edits),
    ] {
        let _ = write!(text, "\n## {title}\n\n{}", table(verdicts));
        let wrong: Vec<String> = verdicts.iter().flat_map(mistakes).collect();
        if !wrong.is_empty() {
            let _ = write!(text, "\nWrong:\n\n{}", wrong.concat());
        }
    }
    let _ = write!(text, "\n{}", corpus::read("tests/corpus/first_sight.md"));
    Page { path: PAGE, text }
}

/// Where the page stands.
pub const PAGE: &str = "specs/reference/evidence.md";

const INTRODUCTION: &str = "\
How often rules are right about `tests/corpus`, the smallest specs of public threads and of errors of
an article, about networks that others wrote for it without knowing what archc says of them, and about published specs
with one mistake made in each. *Found* are the cases in which the rule
fires of those in which it ought to; *false alarms* are the cases in which it fires and ought not to, among them
cases that are about another rule. Remarks count where a thread asks for what they say, or has to be without them. A
mistake that breaks two things is a case of both rules. A zero start that is dropped is a case of
`init/missing-zero` where it ends a residual branch that then starts at full strength, and a silent one where it ends
none, or where what takes its place is as good as zero. Rules were repaired after they had seen these cases: read the
tables as a regression test. What archc found at first sight stands below them.
";

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
