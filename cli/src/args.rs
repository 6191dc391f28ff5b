//! The command line.

use archc_compiler::analysis::precision::Format;
use archc_compiler::settings::Setting;
use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

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

#[cfg(feature = "run")]
#[derive(Debug, Args)]
pub struct Probe {
    #[command(flatten)]
    pub target: Target,
    /// Noise level of the images that go in, which are scaled to unit variance; without it they are white noise
    #[arg(long)]
    pub sigma: Option<f64>,
    #[command(flatten)]
    pub images: Images,
    /// Draws of parameters and inputs
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(2..))]
    pub seeds: u64,
    /// Samples in each draw
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
    /// Blocks within so many blocks are measured each by itself; without it, those that hold most of the model
    #[arg(long)]
    pub depth: Option<usize>,
    /// Measure when parameters first move instead: train for some steps in f64, on random targets
    #[arg(long, conflicts_with_all = ["sigma", "depth"])]
    pub wake_up: bool,
    /// How many steps
    #[arg(long, default_value_t = 7, requires = "wake_up", value_parser = clap::value_parser!(u32).range(1..=32))]
    pub steps: u32,
    #[arg(long, value_enum, default_value_t = ReportFormat::Pretty)]
    pub format: ReportFormat,
}

#[cfg(feature = "run")]
#[derive(Debug, Args)]
pub struct Bench {
    #[command(flatten)]
    pub target: Target,
    /// Time training steps (forward, backward, AdamW) instead of forward passes
    #[arg(long)]
    pub train: bool,
    /// Parameters by published name; without them the model is initialised as the spec says
    #[arg(long, value_name = "SAFETENSORS")]
    pub weights: Option<PathBuf>,
    /// Inputs by name; without them they are drawn
    #[arg(long, value_name = "SAFETENSORS")]
    pub inputs: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    pub device: Device,
    /// What products and convolutions compute with; where 16 bits could overflow, and everywhere else, it is f32
    #[arg(long, value_enum, default_value_t = FloatFormat::F32)]
    pub dtype: FloatFormat,
    /// Evaluate the graph as it is, without passes over it
    #[arg(long)]
    pub no_opt: bool,
    /// Samples in a drawn input
    #[arg(long, default_value_t = 1, conflicts_with = "inputs", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
    /// Runs that are not counted
    #[arg(long, default_value_t = 2)]
    pub warmup: u32,
    /// Runs that are
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeats: u32,
    /// Threads; without it as many as there are cores
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub threads: Option<u32>,
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    #[arg(long, value_enum, default_value_t = ReportFormat::Pretty)]
    pub format: ReportFormat,
}

#[cfg(feature = "run")]
#[derive(Debug, Args)]
pub struct Verify {
    #[command(flatten)]
    pub target: Target,
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    pub device: Device,
    /// Samples in a drawn operand
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    #[arg(long, value_enum, default_value_t = ReportFormat::Pretty)]
    pub format: ReportFormat,
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

#[cfg(feature = "run")]
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub target: Target,
    /// Parameters by published name; without them the model is initialised as the spec says
    #[arg(long, value_name = "SAFETENSORS")]
    pub weights: Option<PathBuf>,
    /// Inputs by name, with or without `in.` in front; without them they are drawn
    #[arg(long, value_name = "SAFETENSORS")]
    pub inputs: Option<PathBuf>,
    /// Where to write the outputs
    #[arg(long, value_name = "SAFETENSORS")]
    pub output: Option<PathBuf>,
    /// Also compute the gradients of the mean square of the output
    #[arg(long)]
    pub gradients: bool,
    /// Also write the value at this path as `mid.PATH`; `all` for every labelled one
    #[arg(long, value_name = "PATH")]
    pub mid: Vec<String>,
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    pub device: Device,
    /// What products and convolutions compute with; where 16 bits could overflow, and everywhere else, it is f32
    #[arg(long, value_enum, default_value_t = FloatFormat::F32)]
    pub dtype: FloatFormat,
    /// Evaluate the graph as it is, without passes over it
    #[arg(long)]
    pub no_opt: bool,
    /// For initialisers and drawn inputs
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Samples in a drawn input
    #[arg(long, default_value_t = 1, conflicts_with = "inputs", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
}

#[cfg(feature = "run")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Device {
    Cpu,
    Cuda,
}

#[cfg(feature = "run")]
impl From<Device> for archc_runtime::Device {
    fn from(device: Device) -> Self {
        match device {
            Device::Cpu => archc_runtime::Device::Cpu,
            Device::Cuda => archc_runtime::Device::Cuda,
        }
    }
}

#[cfg(feature = "run")]
#[derive(Debug, Args)]
pub struct Sample {
    /// The folder of a run, or a spec: `FILE#name`, or `FILE` for its first pipeline or else its first model
    #[arg(value_name = "RUN_OR_SPEC")]
    pub spec: String,
    /// Set a hyperparameter or a size of a spec
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Parameters by published name, those of a run unless given; for a pipeline, the folder of its networks
    #[arg(long, value_name = "PATH")]
    pub weights: Option<PathBuf>,
    /// What a pipeline is to show
    #[arg(long, value_name = "TEXT")]
    pub prompt: Option<String>,
    /// What a pipeline moves away from, with --guidance
    #[arg(long, value_name = "TEXT")]
    pub negative: Option<String>,
    /// ddpm, ddim, pndm, euler, euler_a, heun, dpmpp_2m or flow_euler; without it, what a pipeline or the scheduler in its
    /// folder says, or what is usual for the schedule
    #[arg(long)]
    pub sampler: Option<String>,
    /// 32 unless given here or by a pipeline
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub steps: Option<u32>,
    /// How far predictions are moved away from those without a condition; 1 does not, and is usual
    #[arg(long)]
    pub guidance: Option<f64>,
    /// Share of a guided prediction that gets the deviation of the conditional one; none unless given
    #[arg(long)]
    pub rescale: Option<f64>,
    /// Classes, `0,1,2`; without them, all in turn
    #[arg(long, value_delimiter = ',')]
    pub labels: Vec<i64>,
    /// Samples; with --labels, of each of them
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub count: Option<u32>,
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Steps of a chain that are visited: linspace, leading or trailing
    #[arg(long)]
    pub spacing: Option<String>,
    /// Added to every step that is visited, for the spacing `leading`
    #[arg(long)]
    pub offset: Option<u32>,
    /// Share of new noise, for ddim
    #[arg(long, default_value_t = 0.0)]
    pub eta: f64,
    /// Noise that is added over all steps, for heun
    #[arg(long, default_value_t = 0.0)]
    pub churn: f64,
    /// Space the steps of a chain as in EDM
    #[arg(long)]
    pub karras: bool,
    /// Limit what is expected of the data to -CLIP..CLIP at each step, for ddpm and ddim
    #[arg(long)]
    pub clip: Option<f64>,
    /// Other inputs by name, `uncond.NAME` for those without a condition
    #[arg(long, value_name = "SAFETENSORS")]
    pub inputs: Option<PathBuf>,
    /// An image, PNG or JPEG, for the input of that name, once for each
    #[arg(long = "image", value_name = "NAME=FILE")]
    pub images: Vec<String>,
    /// Samples that go through the network at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
    /// Samples in a row of the picture
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub columns: Option<u32>,
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    pub device: Device,
    /// Evaluate the graph as it is, in every step all of it
    #[arg(long)]
    pub no_opt: bool,
    /// The picture; the tensors are written beside it. For tensors alone, a name that ends in .safetensors
    #[arg(long, value_name = "PNG")]
    pub out: PathBuf,
}

#[cfg(feature = "run")]
#[derive(Debug, Args)]
pub struct Train {
    #[command(flatten)]
    pub target: Target,
    /// A folder of PNG or JPEG images, with a subfolder for each class; or a file of arrays: npz, npy, IDX
    #[arg(long, value_name = "PATH")]
    pub data: PathBuf,
    /// Classes of arrays that come without them: npy or IDX
    #[arg(long, value_name = "FILE")]
    pub data_labels: Option<PathBuf>,
    /// What becomes -1 and 1; 0,255 for bytes unless given, other numbers are taken as they are
    #[arg(long, value_name = "LOW,HIGH", value_delimiter = ',', allow_hyphen_values = true)]
    pub range: Vec<f32>,
    /// The folder of the run
    #[arg(long, value_name = "RUN")]
    pub out: PathBuf,
    /// Go on with the run in that folder
    #[arg(long)]
    pub resume: bool,
    /// Updates of the parameters
    #[arg(long, default_value_t = 10_000)]
    pub steps: u64,
    /// Samples in one pass
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
    /// Passes for one update
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub accumulate: u32,
    /// Learning rate of AdamW
    #[arg(long, default_value_t = 1e-4)]
    pub lr: f64,
    /// Updates over which the learning rate grows
    #[arg(long, default_value_t = 100)]
    pub warmup: u64,
    /// What is left of the learning rate at the end, along a cosine; 1 keeps it
    #[arg(long, default_value_t = 0.0)]
    pub final_lr: f64,
    /// Decay of weights; norms and biases have none
    #[arg(long, default_value_t = 0.0)]
    pub weight_decay: f64,
    /// Largest norm of the gradients; 0 for none
    #[arg(long, default_value_t = 1.0)]
    pub clip: f64,
    /// Decay of the average of parameters that samples are drawn with
    #[arg(long, default_value_t = 0.999)]
    pub ema: f64,
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    pub device: Device,
    /// GPUs of this machine that share the passes of an update, by number: 0,1
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    pub devices: Vec<usize>,
    /// What products and convolutions compute with; parameters are always f32
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    pub dtype: Precision,
    /// Save memory: run the network in so many parts, each once more on the way back
    #[arg(long, value_name = "PARTS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub recompute: u32,
    #[command(flatten)]
    pub perceptual: Perceptual,
    /// Updates between checkpoints; 0 saves at the end alone
    #[arg(long, default_value_t = 500)]
    pub save_every: u64,
    /// Checkpoints that are kept
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: u32,
    /// Updates between pictures of samples; 0 makes none
    #[arg(long, default_value_t = 1000)]
    pub sample_every: u64,
    /// Updates between measurements of blocks; 0 makes none
    #[arg(long, default_value_t = 100)]
    pub watch_every: u64,
}

/// A frozen network that errors are measured with.
#[cfg(feature = "run")]
#[derive(Debug, Args)]
pub struct Perceptual {
    /// Let errors count as a frozen network sees them, the decoder of the latents for example: `FILE`, or `FILE#name`
    #[arg(long, value_name = "SPEC", requires = "perceptual_weights")]
    pub perceptual: Option<String>,
    /// Its parameters
    #[arg(long, value_name = "SAFETENSORS", requires = "perceptual")]
    pub perceptual_weights: Option<PathBuf>,
    /// Set one of its hyperparameters
    #[arg(long, value_name = "NAME=VALUE", requires = "perceptual")]
    pub perceptual_set: Vec<String>,
    /// The value in it that counts, a block or a labelled call; its output unless given
    #[arg(long, value_name = "PATH", requires = "perceptual")]
    pub perceptual_at: Option<String>,
    #[arg(long, value_enum, default_value_t = PerceptualKind::Static, requires = "perceptual")]
    pub perceptual_kind: PerceptualKind,
}

/// How a frozen network measures errors.
#[cfg(feature = "run")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PerceptualKind {
    /// Channel by channel, with one weight each that is measured before training (`archc sensitivity`)
    Static,
    /// By how far the network's value for the denoised sample is from that for the right one
    Features,
    /// By what its Jacobian at the right sample makes of the error
    Jvp,
}

#[cfg(feature = "run")]
#[derive(Debug, Args)]
pub struct Sensitivity {
    #[command(flatten)]
    pub target: Target,
    /// Its parameters
    #[arg(long, value_name = "SAFETENSORS")]
    pub weights: PathBuf,
    /// Samples of what it takes: a file of arrays (npz, npy, IDX), or a folder of images
    #[arg(long, value_name = "PATH")]
    pub data: PathBuf,
    /// What becomes -1 and 1; 0,255 for bytes unless given, other numbers are taken as they are
    #[arg(long, value_name = "LOW,HIGH", value_delimiter = ',', allow_hyphen_values = true)]
    pub range: Vec<f32>,
    /// The value in it that counts, a block or a labelled call; its output unless given
    #[arg(long, value_name = "PATH")]
    pub at: Option<String>,
    /// Samples that errors are added to
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub samples: u32,
    /// Errors in each channel of a sample
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    pub draws: u32,
    /// Samples in one pass
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    pub device: Device,
    #[arg(long, value_enum, default_value_t = ReportFormat::Pretty)]
    pub format: ReportFormat,
}

#[cfg(feature = "run")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    F32,
    Bf16,
}
