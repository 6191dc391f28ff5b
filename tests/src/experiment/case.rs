//! A case: a flagged network, its repair, and what the rule predicts about the difference.

use super::metric::Metric;
use super::outcome::Expect;
use crate::case::MAIN;
use crate::corpus;
use archc_compiler::analysis::precision::Format;
use archc_compiler::ir::Graph;
use archc_compiler::lint::Levels;
use archc_compiler::settings::Settings;
use archc_compiler::{Compiled, Options, compile};
use archc_runtime::train::{Precision, Recipe};
use serde::Deserialize;

/// A file of `tests/evidence/cases`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub rule: String,
    /// What the rule predicts, in words.
    pub predicts: String,
    /// What tells this case from another of the same rule.
    #[serde(default)]
    pub setting: Option<String>,
    /// Why the case measures something else than it first did, after a first outcome was known.
    #[serde(default)]
    pub revised: Option<String>,
    /// What is measured of it.
    pub metric: Metric,
    /// How the flagged network compares with the fixed one.
    pub expect: Expect,
    /// Whether both variants minimise the same loss.
    #[serde(default = "yes")]
    pub losses_compare: bool,
    /// Whether the flagged network takes over what the fixed one was trained to, as if its checkpoint were loaded; both are
    /// then measured over a last tenth of the updates.
    #[serde(default)]
    pub takes_over: bool,
    /// What every value is rounded to, for rules about numbers of 16 bits. The repair keeps in f32 what archc would keep.
    #[serde(default)]
    pub dtype: Option<Format>,
    /// Updates.
    #[serde(default = "steps")]
    pub steps: u64,
    /// Learning rate, the same from first to last.
    #[serde(default = "rate")]
    pub rate: f64,
    /// The flagged network.
    pub spec: String,
    /// What makes the fixed one of it.
    #[serde(default)]
    pub repair: Vec<Replacement>,
}

/// A text of the spec and what is written instead, wherever it stands.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replacement {
    pub from: String,
    pub to: String,
}

fn yes() -> bool {
    true
}

fn steps() -> u64 {
    200
}

fn rate() -> f64 {
    1e-3
}

/// One of the two networks of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    Flagged,
    Fixed,
}

/// All cases, in the order of their rules; the error says what cannot be read.
pub fn all() -> Result<Vec<Case>, String> {
    let read = |file: String| serde_yaml::from_str(&corpus::read(&file)).map_err(|error| format!("{file}: {error}"));
    let mut cases: Vec<Case> =
        corpus::files("tests/evidence/cases", "yaml").into_iter().map(read).collect::<Result<_, _>>()?;
    cases.sort_by(|a, b| (&a.rule, &a.setting).cmp(&(&b.rule, &b.setting)));
    Ok(cases)
}

impl Case {
    /// The rule, and the setting if there are several.
    pub fn title(&self) -> String {
        let setting = self.setting.as_ref().map(|setting| format!(", {setting}"));
        format!("{}{}", self.rule, setting.unwrap_or_default())
    }

    /// The spec of a variant. A repair that replaces nothing is an error.
    pub fn spec(&self, variant: Variant) -> Result<String, String> {
        let mut text = self.spec.clone();
        if variant == Variant::Fixed {
            for Replacement { from, to } in &self.repair {
                if !text.contains(from) {
                    return Err(format!("{}: there is no `{from}` to be repaired", self.rule));
                }
                text = text.replace(from, to);
            }
        }
        Ok(text)
    }

    /// What the compiler makes of a variant, and says of it, remarks too.
    pub fn compiled(&self, variant: Variant) -> Result<Compiled, String> {
        let text = self.spec(variant)?;
        let dtype = self.dtype.filter(|_| variant == Variant::Flagged);
        let given = Settings { levels: Levels::default().with_remarks(), dtype, ..Settings::default() };
        let options = Options { given, ..Options::default() };
        compile(MAIN, None, &[], &[(MAIN, text.as_str())], &options).map_err(|error| format!("{}: {error}", self.rule))
    }

    /// The network of a variant.
    pub fn graph(&self, variant: Variant) -> Result<Graph, String> {
        let compiled = self.compiled(variant)?;
        let messages =
            || compiled.diagnostics.iter().map(|problem| problem.message.clone()).collect::<Vec<_>>().join("; ");
        compiled.graph.clone().ok_or_else(|| format!("{}, {variant:?}: {}", self.rule, messages()))
    }

    /// How a variant is trained with a seed: AdamW without clipping, which would hide what diverges.
    pub fn recipe(&self, variant: Variant, seed: u64) -> Recipe {
        Recipe {
            steps: self.steps,
            batch: 32,
            rate: self.rate,
            warmup: 0,
            final_rate: 1.0,
            clip: None,
            seed,
            // The first update alone.
            watch_every: self.steps,
            precision: match (self.dtype, variant) {
                (None, _) => Precision::F32,
                (Some(format), Variant::Flagged) => Precision::Throughout(format),
                (Some(format), Variant::Fixed) => Precision::Islands(format),
            },
            ..Recipe::default()
        }
    }
}
