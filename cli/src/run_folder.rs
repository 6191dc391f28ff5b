//! The folder that `archc train` makes: the spec and the recipe, checkpoints, metrics, weights.

use crate::args::Settings;
use crate::commands::perceptual::Record;
use crate::{files, target};
use archc_compiler::source::{SourceError, SourceMap, Sources};
use archc_compiler::{Compiled, Options, compile};
use archc_runtime::train::Recipe;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a run was made from, so that it needs nothing but its folder: `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub spec: String,
    /// A model or preset, where it was named.
    pub model: Option<String>,
    /// Hyperparameters, as `name=value`.
    pub set: Vec<String>,
    pub recipe: Recipe,
    /// What became -1 and 1.
    pub range: Option<(f32, f32)>,
    /// Names of the classes, where they have names.
    pub classes: Vec<String>,
    /// The shape of one sample.
    pub shape: Vec<usize>,
    /// What tells the data from other data; runs of before have none.
    #[serde(default)]
    pub data: String,
    /// The network that errors are measured with, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perceptual: Option<Record>,
    /// The sources of the spec by name, without the standard library.
    pub sources: BTreeMap<String, String>,
}

impl Sources for Manifest {
    fn read(&self, name: &str) -> Result<String, SourceError> {
        self.sources.get(name).cloned().ok_or(SourceError::NotFound)
    }
}

impl Manifest {
    pub fn read(folder: &Path) -> Result<Self, String> {
        let path = manifest(folder);
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    pub fn write(&self, folder: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        files::write(&manifest(folder), &(text + "\n"))
    }

    /// The model that was trained.
    pub fn compiled(&self) -> Result<Compiled, String> {
        let settings = Settings { set: self.set.clone(), budget: None, config: None };
        let given = target::settings(&settings)?;
        compile(&self.spec, self.model.as_deref(), &given, self, &Options::default())
            .map_err(|error| format!("{}: {error}", self.spec))
    }
}

/// The sources of a spec that are not part of the standard library.
pub fn own_sources(sources: &SourceMap) -> BTreeMap<String, String> {
    let own = sources.iter().filter(|(id, _)| !sources.is_library(*id));
    own.map(|(_, source)| (source.name.to_string(), source.text.to_string())).collect()
}

pub fn manifest(folder: &Path) -> PathBuf {
    folder.join("run.json")
}

/// Where states of training are.
pub fn checkpoints(folder: &Path) -> PathBuf {
    folder.join("checkpoints")
}

/// Averages of the parameters by published name: what samples are drawn with.
pub fn weights(folder: &Path) -> PathBuf {
    folder.join("weights.safetensors")
}

/// One line for each update.
pub fn metrics(folder: &Path) -> PathBuf {
    folder.join("metrics.jsonl")
}
