//! Whether the configuration in the folder of a part says what the pipeline says of it.

use super::Part;
use crate::elaborate::{Budget, elaborate};
use crate::import::import;
use crate::ops::attribute::Shown;
use crate::program::Program;
use serde_json::Value;

/// Factors of latents, which configurations name but which are no layers: key of the configuration, hyperparameter.
const FACTORS: [(&str, &str); 2] = [("scaling_factor", "scale"), ("shift_factor", "shift")];

/// What the name of a model ends in that is one half of the network of a configuration.
const HALVES: [&str; 2] = ["Decoder", "Encoder"];

impl Part {
    /// Differences from a `config.json`, a sentence for each. A network that stands in no file of `std.models` is known by
    /// its weights alone.
    #[must_use]
    pub fn contradictions(&self, file: &str, text: &str) -> Vec<String> {
        if self.family.is_none() {
            return vec![];
        }
        let imported = import(file, text, "imported");
        let Some(spec) = imported.spec else {
            return imported.diagnostics.into_iter().map(|problem| problem.message).collect();
        };
        let name = "imported.arch";
        let loaded = Program::load(name, &[(name, spec.text.as_str())]).ok();
        let target = loaded.and_then(|(program, _)| Some((program.target(Some(&spec.preset)).ok()?, program)));
        let graph = target.and_then(|(target, program)| elaborate(&program, &target, &[], Budget::default()).graph);
        // An imported spec compiles, or there is none.
        let Some(graph) = graph else { return vec![] };
        let whole = HALVES.iter().find_map(|half| self.model.strip_suffix(half)).unwrap_or(&self.model);
        if ![whole, &*self.model].contains(&&*graph.model) {
            return vec![format!("it is a `{}`, the pipeline has a `{}` there", graph.model, self.model)];
        }
        self.differences(&graph.hyperparameters, text)
    }

    fn differences(&self, theirs: &[(std::sync::Arc<str>, Shown)], text: &str) -> Vec<String> {
        let config: Value = serde_json::from_str(text).unwrap_or_default();
        let factors = FACTORS.iter().filter_map(|(key, name)| Some((*name, config.get(key)?.as_f64()?)));
        let factors = factors.map(|(name, value)| (name, Shown::Float(value)));
        let theirs = theirs.iter().map(|(name, value)| (&**name, value.clone()));
        let mut differences = vec![];
        for (name, theirs) in theirs.chain(factors) {
            let Some((_, ours)) = self.hyperparameters.iter().find(|(own, _)| **own == *name) else { continue };
            if !is_same(ours, &theirs) {
                differences.push(format!("`{name}` is {theirs} there, and {ours} in the pipeline"));
            }
        }
        differences
    }
}

/// Whether two values mean the same; whole numbers may be written as others.
fn is_same(one: &Shown, other: &Shown) -> bool {
    let number = |value: &Shown| match value {
        Shown::Int(value) => Some(*value as f64),
        Shown::Float(value) => Some(*value),
        Shown::Bool(_) | Shown::Text(_) | Shown::List(_) => None,
    };
    match (number(one), number(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}
