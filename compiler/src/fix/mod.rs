//! Fixes, applied until none is left: each round makes what does not overlap, checks the result, and takes nothing that
//! brings a new finding.

mod effect;
mod outlook;

use crate::compile::{Checked, Options, check};
use crate::elaborate::Settings;
use crate::source::{SourceError, SourceMap, Sources};
use archc_grammar::{Diagnostic, FileId, Fix, Safety, apply, format};
pub use effect::{Change, Effect};
pub use outlook::{Outlook, outlooks};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// The most rounds. A repair needs as many as there are findings in one place.
const ROUNDS: usize = 64;

/// A file that is different after a repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    pub name: String,
    /// What was read, and what the file has to hold still when it is replaced.
    pub before: String,
    pub after: String,
}

/// A fix that was made.
#[derive(Clone, Debug)]
pub struct Applied {
    pub id: Cow<'static, str>,
    pub title: String,
    pub safety: Safety,
    /// `file:line:column` of the finding, in the text as it was in that round.
    pub place: String,
    /// Mean square of the value there, before and after, where it is predicted.
    pub squares: Option<(f64, f64)>,
}

/// A fix that was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub id: Cow<'static, str>,
    pub title: String,
    pub place: String,
    pub why: String,
}

/// What a repair comes to.
#[derive(Debug)]
pub struct Repair {
    pub files: Vec<Repaired>,
    pub applied: Vec<Applied>,
    pub refused: Vec<Refused>,
    /// What is found afterwards.
    pub checked: Checked,
    /// Every model and preset before and after.
    pub outlooks: Vec<(Outlook, Outlook)>,
    /// What all of it does to the networks.
    pub effect: Effect,
}

/// Sources of which some have been changed.
struct Changed<'a, S: ?Sized> {
    base: &'a S,
    texts: BTreeMap<String, String>,
}

impl<S: Sources + ?Sized> Sources for Changed<'_, S> {
    fn read(&self, name: &str) -> Result<String, SourceError> {
        self.texts.get(name).cloned().map_or_else(|| self.base.read(name), Ok)
    }
}

/// Applies fixes up to `allowed` to a source and the files that it uses, where `may_change` says that they may be changed.
/// Nothing is written.
pub fn repair(
    source: &str,
    settings: &Settings,
    sources: &(impl Sources + ?Sized),
    options: &Options,
    allowed: Safety,
    may_change: &dyn Fn(&str) -> bool,
) -> Result<Repair, SourceError> {
    let mut texts = Changed { base: sources, texts: BTreeMap::new() };
    let mut originals: BTreeMap<String, String> = BTreeMap::new();
    let (mut applied, mut refused): (Vec<Applied>, Vec<Refused>) = (vec![], vec![]);
    let mut banned: BTreeSet<String> = BTreeSet::new();
    let mut checked = check(source, settings, &texts, options)?;
    let inputs = options.given.inputs.statistics();
    let first = outlooks(&checked.program, settings, options);
    let mut known = first.clone();
    for _ in 0..ROUNDS {
        let map = checked.program.sources.clone();
        let mut wanted: Vec<(&Diagnostic, &Fix)> = vec![];
        for problem in &checked.diagnostics {
            let usable = |fix: &&Fix| {
                fix.safety <= allowed
                    && !banned.contains(&key(problem, fix, &map))
                    && changes_only(fix, &map, may_change)
            };
            let fix = problem.fixes.iter().find(usable);
            wanted.extend(fix.filter(|fix| !wanted.iter().any(|(_, own)| own.overlaps(fix))).map(|fix| (problem, fix)));
        }
        if wanted.is_empty() {
            break;
        }
        // All at once, or the first by itself if together they bring something new.
        let attempts = [wanted.as_slice(), wanted.get(..1).unwrap_or(&[])];
        let mut taken = None;
        let mut why = String::new();
        for attempt in attempts {
            let Some(new) = edited(&map, attempt) else {
                why = "its edits do not fit the text".to_owned();
                continue;
            };
            let next = Changed { base: sources, texts: texts.texts.clone().into_iter().chain(new.clone()).collect() };
            let result = check(source, settings, &next, options)?;
            match introduced(&checked.diagnostics, &result.diagnostics) {
                None => {
                    taken = Some((attempt, next, new, result));
                    break;
                }
                Some(id) => why = format!("it would bring `{id}`"),
            }
        }
        let Some((attempt, next, new, result)) = taken else {
            let Some((problem, fix)) = wanted.first() else { break };
            banned.insert(key(problem, fix, &map));
            refused.push(Refused {
                id: problem.id.clone(),
                title: fix.title.clone(),
                place: place(problem, &map),
                why,
            });
            continue;
        };
        let after = outlooks(&result.program, settings, options);
        let edits: Vec<_> = attempt.iter().flat_map(|(_, fix)| fix.edits.clone()).collect();
        for (problem, fix) in attempt {
            let squares = problem.span().and_then(|span| outlook::squares(&known, &after, &inputs, span, &edits));
            applied.push(Applied {
                id: problem.id.clone(),
                title: fix.title.clone(),
                safety: fix.safety,
                place: place(problem, &map),
                squares,
            });
        }
        for name in new.keys() {
            let text = map.iter().find(|(_, own)| *own.name == **name).map(|(_, own)| own.text.to_string());
            originals.entry(name.clone()).or_insert(text.unwrap_or_default());
        }
        (texts, known, checked) = (next, after, result);
    }
    let changed = originals.into_iter().filter_map(|(name, before)| {
        let after = texts.texts.get(&name)?.clone();
        (after != before).then_some(Repaired { name, before, after })
    });
    let mut files: Vec<Repaired> = changed.collect();
    for file in &mut files {
        if let Some(formatted) = formatted_again(file) {
            texts.texts.insert(file.name.clone(), formatted.clone());
            file.after = formatted;
        }
    }
    // Places are those in the text that is handed out.
    let checked = check(source, settings, &texts, options)?;
    let nothing = Effect { change: Change::Nothing, breaks_weights: false };
    let pairs: Vec<(Outlook, Outlook)> = first.into_iter().zip(known).collect();
    let effect = pairs.iter().map(|(a, b)| Effect::between(&a.graph, &b.graph)).fold(nothing, Effect::and);
    Ok(Repair { files, applied, refused, checked, outlooks: pairs, effect })
}

/// What was formatted before is formatted afterwards: an edit may leave brackets, blanks or an empty line behind.
fn formatted_again(file: &Repaired) -> Option<String> {
    let formatted = |text: &str| format(text, FileId(0)).ok();
    formatted(&file.before).filter(|text| *text == file.before)?;
    formatted(&file.after)
}

/// What tells a fix from others, whatever happens to the lines above it.
fn key(problem: &Diagnostic, fix: &Fix, map: &SourceMap) -> String {
    let text = problem.span().map_or("", |span| map.text(span));
    format!("{} {} {text}", problem.id, fix.title)
}

fn place(problem: &Diagnostic, map: &SourceMap) -> String {
    problem.span().map_or_else(String::new, |span| map.place(span))
}

fn changes_only(fix: &Fix, map: &SourceMap, may_change: &dyn Fn(&str) -> bool) -> bool {
    let mut files = fix.edits.iter().map(|edit| map.get(edit.span.file));
    files.all(|source| source.is_some_and(|source| may_change(&source.name)))
}

/// The texts after some fixes; none where their edits cannot be made.
fn edited(map: &SourceMap, fixes: &[(&Diagnostic, &Fix)]) -> Option<BTreeMap<String, String>> {
    let edits: Vec<_> = fixes.iter().flat_map(|(_, fix)| fix.edits.clone()).collect();
    let mut texts = BTreeMap::new();
    for (file, source) in map.iter().filter(|(file, _)| edits.iter().any(|edit| edit.span.file == *file)) {
        texts.insert(source.name.to_string(), apply(&source.text, file, &edits)?);
    }
    Some(texts)
}

/// An id that is found more often than before.
fn introduced(before: &[Diagnostic], after: &[Diagnostic]) -> Option<String> {
    let count = |problems: &[Diagnostic], id: &str| problems.iter().filter(|problem| problem.id == id).count();
    let more = after.iter().find(|problem| count(after, &problem.id) > count(before, &problem.id));
    more.map(|problem| problem.id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEAD: &str = "model M(x: tokens[16, 32], c: vector[8]) -> tokens[16, 32] {
    let gate = c -> linear(32, init: zero) @gate
    x -> residual(gate: gate) { layer_norm() @norm -> linear(32, init: zero) @proj }
}
";

    fn repaired(text: &str, allowed: Safety) -> Repair {
        repair("m.arch", &[], &[("m.arch", text)], &Options::default(), allowed, &|_| true).expect("a source")
    }

    #[test]
    fn what_is_unsafe_is_made_only_where_it_may_be() {
        assert!(repaired(DEAD, Safety::Safe).files.is_empty());
        let repair = repaired(DEAD, Safety::Unsafe);
        let after = repair.files.first().map(|file| file.after.clone());
        assert_eq!(after, Some(DEAD.replace("linear(32, init: zero) @proj", "linear(32) @proj")));
        assert!(repair.checked.diagnostics.is_empty());
        assert_eq!(repair.effect, Effect { change: Change::Start, breaks_weights: false });
        let never = |outlook: &Outlook| outlook.never;
        assert_eq!(repair.outlooks.iter().map(|(a, b)| (never(a), never(b))).collect::<Vec<_>>(), [(6, 0)]);
    }

    #[test]
    fn two_findings_in_one_place_take_two_rounds() {
        let source = "model M(x: image[4, H, W]) -> image[4, H, W] {
    let down = x -> conv2d(4, kernel: 3, stride: 2) @down
    concat(x, down -> upsample(2)) -> conv2d(4, kernel: 3) @out
}
";
        let repair = repaired(source, Safety::Safe);
        assert_eq!(repair.applied.len(), 2, "{:?}", repair.applied);
        assert!(repair.checked.diagnostics.is_empty());
        assert_eq!(repair.effect.change, Change::Nothing);
    }

    #[test]
    fn the_mean_square_of_the_place_is_shown() {
        let source = "model M(x: tokens[16, 32], c: vector[8]) -> tokens[16, 32] {
    let [shift, scale] = c -> linear(64) @modulation -> chunk(2)
    (x -> layer_norm(affine: false)) * scale + shift
}
";
        let repair = repaired(source, Safety::Unsafe);
        let (before, after) = repair.applied.first().and_then(|fix| fix.squares).expect("both are predicted");
        // The norm adds its epsilon to the variance.
        assert!((after - before - 1.0).abs() < 1e-3, "{before} {after}");
        assert_eq!(repair.effect.change, Change::Function);
    }

    #[test]
    fn files_that_may_not_change_stay_as_they_are() {
        let none = repair("m.arch", &[], &[("m.arch", DEAD)], &Options::default(), Safety::Unsafe, &|_| false);
        assert!(none.expect("a source").files.is_empty());
    }
}
