//! The `archc` program: arguments, files, colours, exit codes. Everything it knows comes from the libraries.
//!
//! Exit codes: 0 clean; 1 findings at or above the failing level, or a spec that does not compile; 2 bad usage,
//! unreadable input or a run that failed.

mod args;
mod commands;
mod files;
mod github;
mod output;
mod render;
#[cfg(feature = "run")]
mod run_folder;
mod sarif;
mod settings;
mod target;

use args::{Arguments, Command};
use clap::Parser;
use std::process::ExitCode;

// Tensors come and go in megabytes; the system allocator returns them to the kernel each time.
#[cfg(feature = "run")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Clean,
    Findings,
    Failure,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        ExitCode::from(match outcome {
            Outcome::Clean => 0,
            Outcome::Findings => 1,
            Outcome::Failure => 2,
        })
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        #[cfg(feature = "run")]
        Command::Bench(options) => commands::bench::run(&options),
        Command::Build(options) => commands::build::run(&options),
        Command::Check(options) => commands::check::run(&options),
        Command::Config(options) => commands::config::run(&options),
        Command::Explain(options) => commands::explain::run(&options),
        Command::Fmt(options) => commands::fmt::run(&options),
        Command::Import(options) => commands::import::run(&options),
        Command::Ir(options) => commands::ir::run(&options),
        Command::Models(options) => commands::models::run(&options),
        Command::Params(options) => commands::params::run(&options),
        Command::Predict(options) => commands::predict::run(&options),
        #[cfg(feature = "run")]
        Command::Probe(options) => commands::probe::run(&options),
        #[cfg(feature = "run")]
        Command::Run(options) => commands::run::run(&options),
        #[cfg(feature = "run")]
        Command::Sample(options) => commands::sample::run(&options),
        #[cfg(feature = "run")]
        Command::Sensitivity(options) => commands::sensitivity::run(&options),
        #[cfg(feature = "run")]
        Command::Train(options) => commands::train::run(&options),
        #[cfg(feature = "run")]
        Command::Verify(options) => commands::verify::run(&options),
    };
    match result {
        Ok(outcome) => outcome.into(),
        Err(message) => {
            output::error(&message);
            Outcome::Failure.into()
        }
    }
}
