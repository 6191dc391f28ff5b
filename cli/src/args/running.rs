//! Arguments of what runs models.

use super::{FloatFormat, Images, ReportFormat, Target};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

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

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Device {
    Cpu,
    Cuda,
}

impl From<Device> for archc_runtime::Device {
    fn from(device: Device) -> Self {
        match device {
            Device::Cpu => archc_runtime::Device::Cpu,
            Device::Cuda => archc_runtime::Device::Cuda,
        }
    }
}

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

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    F32,
    Bf16,
}
