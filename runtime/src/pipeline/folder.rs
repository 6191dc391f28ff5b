//! The folder of a published pipeline: what each part of a pipeline finds there.

use super::scheduler;
use crate::error::RunError;
use crate::tensors::TensorFile;
use crate::weights::PartWeights;
use archc_compiler::ir::Graph;
use archc_compiler::pipeline::{Network, Part};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Names of a file of weights, the usual one first; those of networks of diffusers, then of transformers.
const WEIGHTS: [&str; 4] = [
    "diffusion_pytorch_model.safetensors",
    "model.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
    "model.fp16.safetensors",
];

const SCHEDULER: &str = "scheduler_config.json";

/// A folder with everything that is wrong with it.
pub(super) struct Folder<'p> {
    root: &'p Path,
    pub problems: Vec<String>,
}

impl<'p> Folder<'p> {
    pub fn new(root: &'p Path) -> Self {
        let mut problems = vec![];
        if !root.is_dir() {
            problems.push("there is no such folder".to_owned());
        }
        Self { root, problems }
    }

    /// Fails with all problems there are.
    pub fn sound(&self) -> Result<(), RunError> {
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(RunError::Folder { path: self.root.to_owned(), problems: self.problems.clone() })
    }

    /// The folder of a part: `unet`, or `refiner/unet` for `refiner.unet`.
    pub fn of(&self, path: &str) -> PathBuf {
        path.split('.').fold(self.root.to_owned(), |folder, name| folder.join(name))
    }

    pub fn report(&mut self, part: &str, problem: impl std::fmt::Display) {
        self.problems.push(format!("  {}: {problem}", part.replace('.', "/")));
    }

    /// Compares the configuration of every part of a network with what the pipeline says.
    pub fn compare(&mut self, network: &Network) {
        for part in &network.parts {
            let path = self.of(&part.path).join("config.json");
            match std::fs::read_to_string(&path) {
                Ok(text) => {
                    for problem in part.contradictions(&path.to_string_lossy(), &text) {
                        self.report(&part.path, format!("config.json: {problem}"));
                    }
                }
                Err(error) => self.report(&part.path, format!("config.json: {error}")),
            }
            if let Err(problem) = self.weights(part) {
                self.report(&part.path, problem);
            }
        }
    }

    /// Compares what is said of the noise beside a network.
    pub fn compare_process(&mut self, part: &Part, graph: &Graph) {
        let Some(declared) = &graph.process else { return };
        let problems = match self.scheduler(part) {
            Ok(Some(config)) => scheduler::contradictions(&config, &declared.process),
            Ok(None) => vec![],
            Err(problem) => vec![problem],
        };
        self.report_scheduler(part, &problems);
    }

    pub fn report_scheduler(&mut self, part: &Part, problems: &[String]) {
        for problem in problems {
            self.report(&scheduler_of(part), format!("{SCHEDULER}: {problem}"));
        }
    }

    /// What is said beside a network of the noise and of how to sample, if anything is.
    pub fn scheduler(&self, part: &Part) -> Result<Option<Value>, String> {
        let Ok(text) = std::fs::read_to_string(self.of(&scheduler_of(part)).join(SCHEDULER)) else { return Ok(None) };
        // Python writes a number that JSON does not have, of which only this one is in published files.
        let text = text.replace(": -Infinity", ": null");
        serde_json::from_str(&text).map(Some).map_err(|error| error.to_string())
    }

    /// The weights of a part.
    pub fn weights(&self, part: &Part) -> Result<PartWeights, String> {
        let folder = self.of(&part.path);
        let open = |name: &str| TensorFile::open(&folder.join(name)).map_err(|error| error.to_string());
        let files = match WEIGHTS.iter().find(|name| folder.join(name).is_file()) {
            Some(name) => vec![open(name)?],
            None => {
                let shards = shards(&folder)?;
                let none = || format!("there are no weights: no `{}` and no `{}`", WEIGHTS[0], WEIGHTS[1]);
                shards.ok_or_else(none)?.iter().map(|name| open(name)).collect::<Result<_, _>>()?
            }
        };
        Ok(PartWeights { prefix: part.prefix.clone(), files })
    }
}

/// The folder of the scheduler beside a part.
fn scheduler_of(part: &Part) -> String {
    part.path.rsplit_once('.').map_or_else(|| "scheduler".to_owned(), |(before, _)| format!("{before}.scheduler"))
}

/// The files that an index names, where weights are in several.
fn shards(folder: &Path) -> Result<Option<BTreeSet<String>>, String> {
    let indices = WEIGHTS.iter().map(|name| format!("{name}.index.json"));
    let Some(name) = indices.into_iter().find(|name| folder.join(name).is_file()) else { return Ok(None) };
    let text = std::fs::read_to_string(folder.join(&name)).map_err(|error| format!("{name}: {error}"))?;
    let index: Value = serde_json::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
    let files = index.get("weight_map").and_then(Value::as_object).into_iter().flat_map(|map| map.values());
    let files: Option<BTreeSet<String>> = files.map(|file| file.as_str().map(str::to_owned)).collect();
    match files.filter(|files| !files.is_empty()) {
        // A file of another folder is none of this part.
        Some(files) if files.iter().all(|file| Path::new(file).components().count() == 1) => Ok(Some(files)),
        _ => Err(format!("{name}: this is no index of weights")),
    }
}
