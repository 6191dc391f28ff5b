//! The command line.

use archc_compiler::analysis::precision::Format;
use archc_compiler::settings::Setting;
use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

#[cfg(feature = "run")]
mod running;

#[cfg(feature = "run")]
pub use running::{
    Bench, Device, Perceptual, PerceptualKind, Precision, Probe, Run, Sample, Sensitivity, Train, Verify,
};

/// Checks, explains and runs specifications of diffusion architectures.
#[derive(Debug, Parser)]
#[command(name = "archc", version, about, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure the speed and the memory of a model
    #[cfg(feature = "run")]
    Bench(Bench),
    /// Write a model as a Rust crate or as a PyTorch package
    Build(Build),
    /// Report everything that is wrong with specs
    Check(Check),
    /// Show what archc.yaml declares for a folder, or what it may declare
    Config(Config),
    /// Show the page of a rule
    Explain(Explain),
    /// Bring specs into the one layout
    Fmt(Fmt),
    /// Turn a config.json of diffusers or transformers into a spec
    Import(Import),
    /// Print the graph of a model
    Ir(Ir),
    /// List models and presets with their inputs and hyperparameters
    Models(Models),
    /// List the parameters of a model in checkpoint order
    Params(Params),
    /// Predict signal and gradients at initialisation, without running anything
    Predict(Predict),
    /// Measure what `predict` predicts; fails where it does not hold
    #[cfg(feature = "run")]
    Probe(Probe),
    /// Run a model and report on its output
    #[cfg(feature = "run")]
    Run(Run),
    /// Draw samples from a trained model
    #[cfg(feature = "run")]
    Sample(Sample),
    /// Measure how strongly a decoder answers to errors in each channel of its latents, as weights of a loss
    #[cfg(feature = "run")]
    Sensitivity(Sensitivity),
    /// Train a model by its process
    #[cfg(feature = "run")]
    Train(Train),
    /// Compare what a device computes with a reference, operator by operator
    #[cfg(feature = "run")]
    Verify(Verify),
}

/// A model, and what is set about it.
#[derive(Debug, Args)]
pub struct Target {
    /// `FILE`, or `FILE#name` for a model or preset of that name; without a name the first model
    pub spec: String,
    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Debug, Args)]
pub struct Settings {
    /// Set a hyperparameter or a size: `--set depth=4`, `--set "widths=[64, 128]"`
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// The most operations a model may unroll to
    #[arg(long, value_name = "NODES")]
    pub budget: Option<usize>,
    /// Levels of rules and declared statistics; without it the nearest archc.yaml in the folder of the spec or above it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Build {
    #[command(flatten)]
    pub target: Target,
    /// What to write: a Rust crate on Burn, or a Python package on PyTorch
    #[arg(long = "target", value_enum, value_name = "TARGET", default_value_t = Emitted::Burn)]
    pub emitted: Emitted,
    /// The folder to write; what archc wrote there before is replaced
    #[arg(short, long, value_name = "DIR", required_unless_present = "stdout", conflicts_with = "stdout")]
    pub out: Option<PathBuf>,
    /// Print one file for reading and piping instead
    #[arg(long)]
    pub stdout: bool,
    /// The version of Burn to write for
    #[arg(long, value_name = "VERSION", default_value = "0.21")]
    pub burn: String,
    /// Add a program that runs the model
    #[arg(long, conflicts_with = "stdout")]
    pub bin: bool,
    /// Run layers on kernels for the CPU that are written with the crate, instead of on Burn's operations
    #[arg(long, conflicts_with = "stdout")]
    pub kernels: bool,
    /// Replace a folder that archc did not write
    #[arg(long, conflicts_with = "stdout")]
    pub force: bool,
}

/// The library that emitted code is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Emitted {
    Burn,
    Pytorch,
}

#[derive(Debug, Args)]
pub struct Check {
    /// Specs, or folders with specs; `FILE#name` for one model, preset or pipeline alone
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    #[arg(long, value_enum, default_value_t = CheckFormat::Pretty)]
    pub format: CheckFormat,
    #[command(flatten)]
    pub levels: LevelFlags,
    /// The numbers that models run in
    #[arg(long, value_enum)]
    pub dtype: Option<FloatFormat>,
    /// Show remarks as well: what is of interest and no reason to change anything. They never fail the check
    #[arg(long)]
    pub remarks: bool,
    /// Make the fixes that leave the graph as it is
    #[arg(long)]
    pub fix: bool,
    /// With `--fix` or `--diff`: also fixes that change what a network computes, or what it starts as
    #[arg(long)]
    pub unsafe_fixes: bool,
    /// Show what `--fix` would do, and write nothing
    #[arg(long)]
    pub diff: bool,
    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    Pretty,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    Pretty,
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// Annotations of GitHub's workflows
    Github,
}

impl CheckFormat {
    /// Whether it is text to be read rather than one for programs.
    pub fn is_for_people(self) -> bool {
        self == CheckFormat::Pretty
    }
}

/// Levels of rules, in the order in which they were given.
#[derive(Debug, Default)]
pub struct LevelFlags(pub Vec<(Setting, String)>);

const LEVEL_FLAGS: [(Setting, &str, &str); 3] = [
    (Setting::Deny, "deny", "Make findings of a rule errors: `group/name`, `group/*` or `*`; `warnings` fails on any"),
    (Setting::Warn, "warn", "Make findings of a rule warnings"),
    (Setting::Allow, "allow", "Ignore findings of a rule. Of several levels of a rule the last one counts"),
];

/// Derived arguments do not keep the order of different flags.
impl Args for LevelFlags {
    fn augment_args(command: clap::Command) -> clap::Command {
        let flag = |(_, name, help): (Setting, &'static str, &'static str)| {
            Arg::new(name).long(name).value_name("RULE").help(help).action(ArgAction::Append)
        };
        command.args(LEVEL_FLAGS.map(flag))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for LevelFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given: Vec<(usize, Setting, String)> = vec![];
        for (setting, name, _) in LEVEL_FLAGS {
            let places = matches.indices_of(name).into_iter().flatten();
            let patterns = matches.get_many::<String>(name).into_iter().flatten();
            given.extend(places.zip(patterns).map(|(at, pattern)| (at, setting, pattern.clone())));
        }
        given.sort_by_key(|(at, ..)| *at);
        Ok(Self(given.into_iter().map(|(_, setting, pattern)| (setting, pattern)).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Config {
    /// A spec, or a folder
    #[arg(required_unless_present = "schema")]
    pub path: Option<PathBuf>,
    /// Print the JSON schema of archc.yaml, for editors
    #[arg(long, conflicts_with = "path")]
    pub schema: bool,
}

#[derive(Debug, Args)]
pub struct Explain {
    /// `group/name`; without it all rules are listed
    pub rule: Option<String>,
}

#[derive(Debug, Args)]
pub struct Fmt {
    /// Specs, or folders with specs
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// Change nothing; fail if something would change
    #[arg(long)]
    pub check: bool,
}

#[derive(Debug, Args)]
pub struct Import {
    /// The configuration that lies beside the weights of a published model
    pub config: PathBuf,
    /// Where to write the spec; without it, it is printed
    #[arg(short, long, value_name = "SPEC")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Ir {
    #[command(flatten)]
    pub target: Target,
    #[arg(long, value_enum, default_value_t = IrFormat::Text)]
    pub format: IrFormat,
    /// Every operation by itself, without blocks
    #[arg(long)]
    pub flat: bool,
    /// The graph after the passes up to this one; `all` for what an evaluation runs
    #[arg(long, value_name = "PASS")]
    pub after: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IrFormat {
    Text,
    Json,
    Yaml,
    Dot,
}

/// What goes into a model whose signal is predicted, in place of what archc.yaml declares.
#[derive(Clone, Copy, Debug, Args)]
pub struct Images {
    /// Standard deviation of clean images, 0.5 if nothing is declared
    #[arg(long)]
    pub sigma_data: Option<f64>,
    /// Correlation of neighbouring pixels of clean images, 0 for white ones; 0.95 if nothing is declared
    #[arg(long)]
    pub correlation: Option<f64>,
}

#[derive(Debug, Args)]
pub struct Predict {
    #[command(flatten)]
    pub target: Target,
    /// Noise levels of the images that go in, which are scaled to unit variance; without any they are white noise
    #[arg(long, num_args = 1.., value_delimiter = ',')]
    pub sigma: Vec<f64>,
    #[command(flatten)]
    pub images: Images,
    /// Say what has to be kept in f32 when the rest runs in these numbers
    #[arg(long, value_enum)]
    pub dtype: Option<FloatFormat>,
    /// How much values may grow after initialisation before they overflow
    #[arg(long, default_value_t = 8.0)]
    pub margin: f64,
    #[arg(long, value_enum, default_value_t = PredictFormat::Table)]
    pub format: PredictFormat,
    /// Blocks within so many blocks are listed, 1 in tables; in pictures, without it, those that hold most of the model
    #[arg(long)]
    pub depth: Option<usize>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum FloatFormat {
    F16,
    Bf16,
    F32,
}

impl From<FloatFormat> for Format {
    fn from(format: FloatFormat) -> Self {
        match format {
            FloatFormat::F16 => Format::F16,
            FloatFormat::Bf16 => Format::Bf16,
            FloatFormat::F32 => Format::F32,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PredictFormat {
    /// By block
    Table,
    /// By line of the source
    Lines,
    /// A picture: the stream and the gradients by depth
    Svg,
    Json,
}

#[derive(Debug, Args)]
pub struct Models {
    /// Specs, or folders with specs
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub format: ListFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    Table,
    Json,
}

#[derive(Debug, Args)]
pub struct Params {
    #[command(flatten)]
    pub target: Target,
    #[arg(long, value_enum, default_value_t = ParamsFormat::Tsv)]
    pub format: ParamsFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ParamsFormat {
    /// `name<TAB>shape`
    Tsv,
    Json,
    Table,
}
