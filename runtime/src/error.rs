//! What can go wrong between a graph and its numbers.

use crate::memory::Need;
use std::path::PathBuf;
use thiserror::Error;

/// Why a model could not be run. Every message is for the user.
#[derive(Debug, Error)]
pub enum RunError {
    #[error("{}: {reason}", .path.display())]
    File { path: PathBuf, reason: String },

    /// Names, shapes and dtypes that do not fit, all of them at once.
    #[error("{}: the weights do not fit the model\n{}", .path.display(), .problems.join("\n"))]
    Weights { path: PathBuf, problems: Vec<String> },

    /// Everything about the folder of a pipeline that does not fit.
    #[error("{}: this folder does not fit the pipeline\n{}", .path.display(), .problems.join("\n"))]
    Folder { path: PathBuf, problems: Vec<String> },

    #[error("the inputs do not fit the model\n{}", .problems.join("\n"))]
    Inputs { problems: Vec<String> },

    #[error("{0}")]
    Device(String),

    /// Said before anything is allocated.
    #[error(
        "this needs about {} of memory, {} for parameters and {} for values; {} are available. A smaller `--batch` needs \
         less",
        gibibytes(need.total()),
        gibibytes(need.parameters),
        gibibytes(need.values),
        gibibytes(*available)
    )]
    Memory { need: Need, available: u64 },

    #[error("there is no value `{path}` in this model{hint}")]
    UnknownPath { path: String, hint: String },

    #[error("{0}")]
    Unsupported(String),

    /// Training stopped: a number is infinite or none at all.
    #[error("update {step}: {what} is no longer finite; the first place is {place}")]
    NotFinite { step: u64, what: &'static str, place: String },

    #[error(transparent)]
    Process(#[from] archc_process::ProcessError),
}

impl RunError {
    pub(crate) fn file(path: impl Into<PathBuf>, reason: impl ToString) -> Self {
        RunError::File { path: path.into(), reason: reason.to_string() }
    }
}

fn gibibytes(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}
