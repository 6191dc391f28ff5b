//! Configurations of diffusers and transformers to specs.
//!
//! A `config.json` becomes a short spec that uses a published family of `std.models` and declares a preset. Each class of
//! network is a table of its keys and a function for what a table cannot say. A key is either a hyperparameter of the
//! family, or known to have nothing to do with the network, or reported; nothing is guessed without saying so in the
//! spec. All problems are reported in one run, and then there is no spec.

mod classes;
mod config;
mod json;
mod key;
mod levels;
mod preset;
mod residual;

use crate::compile::{Options, compile, has_errors};
use crate::elaborate::Budget;
use crate::program::is_reserved;
use crate::source::SourceMap;
use crate::suggest::did_you_mean;
use archc_grammar::{Diagnostic, FileId, Span};
use config::{Config, shown};
use json::Entry;
use key::Class;
use preset::Preset;
use serde_json::Value;

/// The most operations of an imported network: ten times those of the largest that is published, so that a slip in a
/// number of layers is reported at once.
const MAX_NODES: usize = 40_000;

/// What became of a configuration.
#[derive(Debug)]
pub struct Import {
    /// What the diagnostics speak about.
    pub sources: SourceMap,
    /// Errors; there are none where there is a spec.
    pub diagnostics: Vec<Diagnostic>,
    pub spec: Option<ImportedSpec>,
}

/// A spec made from a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedSpec {
    /// The source, formatted.
    pub text: String,
    /// The name of its preset.
    pub preset: String,
}

/// The classes that can be imported.
pub fn classes() -> impl Iterator<Item = &'static str> + Clone {
    classes::ALL.iter().map(|class| class.name)
}

/// Turns a configuration into a spec whose preset has that name.
///
/// ```
/// use archc_compiler::import::import;
///
/// let config = r#"{ "_class_name": "SD3Transformer2DModel", "num_layers": 24, "num_attention_heads": 24,
///     "caption_projection_dim": 1536, "pos_embed_max_size": 192 }"#;
/// let spec = import("config.json", config, "mine").spec.expect("an SD3");
/// assert!(spec.text.contains("preset mine = SD3()"));
/// ```
pub fn import(file: &str, text: &str, preset: &str) -> Import {
    let mut sources = SourceMap::default();
    let id = sources.add(file, text);
    let fails = |sources, diagnostics| Import { sources, diagnostics, spec: None };
    let entries = match json::entries(text, id) {
        Ok(entries) => entries,
        Err(problem) => return fails(sources, vec![*problem]),
    };
    let (class, place) = match class(&entries, Span::new(id, 0, text.find('{').map_or(0, |at| at + 1))) {
        Ok(found) => found,
        Err(problem) => return fails(sources, vec![*problem]),
    };
    let mut config = Config::read(class, &entries, place);
    let mut preset = Preset::new(&preset_name(preset), class.family);
    preset.docs = docs(&config);
    config.hyperparameters(&mut preset);
    (class.translate)(&mut config, &mut preset);
    if !config.problems.is_empty() {
        let mut problems = config.problems;
        problems.sort_by_key(Diagnostic::span);
        return fails(sources, problems);
    }
    verified(ImportedSpec { text: preset.spec(), preset: preset.name }, sources)
}

/// A spec that compiles, or what its family has against it.
fn verified(spec: ImportedSpec, sources: SourceMap) -> Import {
    let name = "imported.arch";
    let budget = Budget { nodes: MAX_NODES, ..Budget::default() };
    let options = Options { budget, ..Options::default() };
    let compiled = compile(name, Some(&spec.preset), &[], &[(name, spec.text.as_str())], &options);
    match compiled {
        Ok(compiled) if compiled.graph.is_some() => Import { sources, diagnostics: vec![], spec: Some(spec) },
        Ok(compiled) => {
            let mut diagnostics = compiled.diagnostics;
            diagnostics.retain(|problem| has_errors(std::slice::from_ref(problem)));
            Import { sources: compiled.program.sources, diagnostics, spec: None }
        }
        Err(error) => {
            let problem = Diagnostic::error("config/unsupported", format!("the imported spec cannot be read: {error}"));
            Import { sources, diagnostics: vec![problem], spec: None }
        }
    }
}

/// `SD3Transformer2DModel of stabilityai/stable-diffusion-3-medium.`
fn docs(config: &Config<'_>) -> String {
    let name = config.remark("_name_or_path").filter(|name| !name.is_empty());
    let of = name.map(|name| format!(" of {name}")).unwrap_or_default();
    format!("Imported from a configuration of {}{of}.", config.class.name)
}

/// A name that the language takes for a preset, as near as can be to the one that is asked for.
fn preset_name(wanted: &str) -> String {
    let lower = wanted.to_lowercase();
    let parts: Vec<&str> = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty()).collect();
    let name = parts.join("_");
    let name = if name.starts_with(|c: char| c.is_ascii_lowercase()) { name } else { format!("imported_{name}") };
    let name = name.trim_end_matches('_').to_owned();
    if is_reserved(&name) || archc_grammar::parse_expression(&name, FileId(0)).is_err() {
        return format!("{name}_imported");
    }
    name
}

/// The class of a configuration, and where it is named.
fn class(entries: &[Entry], start: Span) -> Result<(&'static Class, Span), Box<Diagnostic>> {
    let entry = |key: &str| entries.iter().find(|entry| entry.key == key && !entry.value.is_null());
    let named: Vec<(String, Span)> = ["_class_name", "architectures", "model_type"]
        .iter()
        .filter_map(|key| entry(key))
        .filter_map(|entry| Some((class_name(entry)?, entry.value_span)))
        .collect();
    let Some((name, span)) = named.first() else {
        let problem = Diagnostic::error("config/class", "this configuration does not say of which class it is")
            .label(start, "there is no `_class_name`, and no `architectures`")
            .help(format!("known classes: {}", list_of_classes()));
        return Err(Box::new(problem));
    };
    let today = classes::today(name, entry("norm_type").and_then(|entry| entry.value.as_str()));
    let Some(class) = classes::ALL.iter().find(|class| class.name == today) else {
        let help = classes::hint(name).map(str::to_owned).or_else(|| did_you_mean(name, classes()));
        let help = help.unwrap_or_else(|| format!("known classes: {}", list_of_classes()));
        let problem = Diagnostic::error("config/class", format!("`{name}` cannot be imported"));
        return Err(Box::new(problem.label(*span, "no class that archc knows").help(help)));
    };
    if let Some((other, place)) = named.iter().find(|(other, _)| !agrees(name, other)) {
        let problem = Diagnostic::error("config/contradiction", format!("this is a `{name}` and a `{other}`"))
            .label(*span, "here")
            .label(*place, "and here");
        return Err(Box::new(problem));
    }
    Ok((class, *span))
}

/// The class that an entry names.
fn class_name(entry: &Entry) -> Option<String> {
    match (entry.key.as_str(), &entry.value) {
        ("architectures", Value::Array(items)) => match items.as_slice() {
            [] => None,
            [Value::String(name)] => Some(name.clone()),
            _ => Some(shown(&entry.value)),
        },
        ("model_type", Value::String(name)) => Some(match name.as_str() {
            "clip_text_model" => "CLIPTextModel".to_owned(),
            "clip_vision_model" => "CLIPVisionModel".to_owned(),
            "t5" => "T5EncoderModel".to_owned(),
            other => other.to_owned(),
        }),
        (_, Value::String(name)) => Some(name.clone()),
        (_, value) => Some(shown(value)),
    }
}

/// Whether two names can mean one class: the type of a model covers several.
fn agrees(name: &str, other: &str) -> bool {
    name == other || ["CLIPTextModel", "CLIPVisionModel"].contains(&other) && name.starts_with(other)
}

fn list_of_classes() -> String {
    classes().collect::<Vec<_>>().join(", ")
}
