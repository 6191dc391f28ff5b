//! Pipelines from folders as they are published: a text becomes conditions, noise becomes latents, latents become a sample.
//!
//! ```text
//! FOLDER/tokenizer --tokenizer--> ids, FOLDER/text_encoder --encoder--> conditions
//! FOLDER/unet --sampler--> latents, FOLDER/vae --decoder--> sample
//! ```
//!
//! Everything that can be wrong with a folder is looked for and listed before anything runs. Networks are loaded one after
//! the other, and each is let go of when it has run, so that the largest decides how much memory is needed.

mod folder;
mod scheduler;
mod tokenizer;
mod usual;

use crate::error::RunError;
use crate::host::{HostData, HostTensor};
use crate::interface::Interface;
use crate::plan::bind_sizes;
use crate::sample::{self, Method, Start, Window};
use crate::session::{Device, Passes, Request, Session, Weights, open_with};
use crate::weights::PartWeights;
use archc_compiler::dim::{Dim, Sizes};
use archc_compiler::ir::{Graph, Input};
use archc_compiler::pipeline::{Condition, Network, Part, Pipeline, Settings, Stage};
use archc_compiler::types::{Axis, Kind};
use folder::Folder;
use std::collections::BTreeMap;
use std::path::Path;
use tokenizer::Padded;
use usual::Usual;

/// The input of an [`Order`] that holds the noise to start from.
pub const NOISE: &str = "noise";

/// What a pipeline is to make.
#[derive(Clone, Debug)]
pub struct Order {
    pub prompt: String,
    /// What predictions are moved away from; without one, the empty text, or what the pipeline says.
    pub negative: Option<String>,
    /// Samples.
    pub count: usize,
    pub seed: u64,
    /// Samples that go through a network at a time.
    pub batch: usize,
    pub choices: Choices,
    /// Tensors that the pipeline takes besides texts, with one row; and [`NOISE`], unit noise to start from.
    pub inputs: BTreeMap<String, HostTensor>,
}

/// What is chosen of the sampler, in place of what the pipeline or the scheduler in its folder says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choices {
    pub sampler: Option<String>,
    pub steps: Option<usize>,
    pub guidance: Option<f64>,
    pub rescale: Option<f64>,
    pub spacing: Option<String>,
    pub offset: Option<usize>,
    pub eta: f64,
    pub churn: f64,
    pub karras: bool,
    pub clip: Option<f64>,
}

/// Where and how networks run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Engine {
    pub device: Device,
    pub passes: Passes,
}

/// What a pipeline has made, one row for each sample.
#[derive(Clone, Debug)]
pub struct Made {
    pub samples: HostTensor,
    /// What the last stage has left for the decoder.
    pub latents: HostTensor,
}

/// Runs a pipeline with the weights of a folder. `watch` is told after every step which network has made how many of how
/// many.
pub fn run(
    pipeline: &Pipeline,
    root: &Path,
    order: &Order,
    engine: Engine,
    mut watch: impl FnMut(&str, usize, usize),
) -> Result<Made, RunError> {
    let mut folder = Folder::new(root);
    let plans: Vec<Plan<'_>> =
        pipeline.stages.iter().map(|stage| Plan::new(stage, order, &mut folder)).collect::<Result<_, _>>()?;
    check_handover(&plans)?;
    let texts = if root.is_dir() { Texts::open(pipeline, &mut folder) } else { Texts::default() };
    folder.sound()?;
    let guided = plans.iter().any(|plan| plan.guidance != 1.0);
    let encoded = encode(pipeline, &folder, order, engine, &texts, guided)?;
    let mut left: Option<HostTensor> = None;
    for plan in &plans {
        let name = &plan.part;
        left = Some(plan.run(&folder, order, engine, &encoded, left, |done, total| watch(name, done, total))?);
    }
    let latents = left.ok_or_else(|| RunError::Unsupported("the pipeline takes no noise away".to_owned()))?;
    let samples = decode(&pipeline.decoder, &folder, engine, &latents)?;
    Ok(Made { samples, latents })
}

/// A network takes over where another one ends only in the terms of its sampler.
fn check_handover(plans: &[Plan<'_>]) -> Result<(), RunError> {
    for (plan, next) in plans.iter().zip(plans.iter().skip(1)) {
        let own = plan.method.name(&plan.interface.process)?;
        let other = next.method.name(&next.interface.process)?;
        if own != other {
            let reason =
                format!("`{}` is sampled by {own}, `{}` by {other}: one sampler is needed", plan.part, next.part);
            return Err(RunError::Unsupported(reason));
        }
    }
    Ok(())
}

/// The tokenizers of a pipeline by the name of the input that their ids are for.
#[derive(Default)]
struct Texts(BTreeMap<String, Padded>);

impl Texts {
    /// Looks at everything a folder has to hold, and keeps the tokenizers.
    fn open(pipeline: &Pipeline, folder: &mut Folder<'_>) -> Self {
        let mut texts = BTreeMap::new();
        if let Some(encoder) = &pipeline.encoder {
            for input in text_inputs(&encoder.graph) {
                let ty = &encoder.graph.node(input.node).ty;
                let size = |axis| ty.dim(axis).and_then(Dim::known).unwrap_or(0) as usize;
                match Padded::open(&folder.of(&input.name), size(Axis::Token), size(Axis::Class)) {
                    Ok(tokenizer) => {
                        texts.insert(input.name.to_string(), tokenizer);
                    }
                    Err(problem) => folder.report(&input.name, problem),
                }
            }
            folder.compare(encoder);
        }
        for stage in &pipeline.stages {
            folder.compare(&stage.network);
            stage.network.parts.iter().for_each(|part| folder.compare_process(part, &stage.network.graph));
        }
        folder.compare(&pipeline.decoder);
        Self(texts)
    }

    /// The inputs of an encoder for a text; those that are no text are among those of the order, or drawn.
    fn inputs(
        &self,
        pipeline: &Pipeline,
        graph: &Graph,
        text: &str,
        order: &Order,
    ) -> Result<Vec<HostTensor>, RunError> {
        let mut problems = vec![];
        let mut given: Vec<Option<HostTensor>> = vec![];
        for input in &graph.inputs {
            let made = match (self.0.get(&*input.name), order.inputs.get(&*input.name)) {
                (Some(tokenizer), _) => tokenizer.ids(text).map(|ids| Some(HostTensor::i64(vec![1, ids.len()], ids))),
                (None, Some(tensor)) => Ok(Some(tensor.clone())),
                (None, None) if pipeline.noise.contains(&input.name) => Ok(None),
                (None, None) => Err("is needed: give it with --inputs, or an image with --image".to_owned()),
            };
            match made {
                Ok(tensor) => given.push(tensor),
                Err(problem) => problems.push(format!("  {}: {problem}", input.name)),
            }
        }
        if problems.is_empty() { with_noise(graph, given, order.seed) } else { Err(RunError::Inputs { problems }) }
    }
}

/// Inputs with noise for those that are not given, as large as the others say.
fn with_noise(graph: &Graph, given: Vec<Option<HostTensor>>, seed: u64) -> Result<Vec<HostTensor>, RunError> {
    let (mut sizes, mut problems) = (Sizes::new(), vec![]);
    for (input, tensor) in graph.inputs.iter().zip(&given) {
        if let Some(data) = tensor.as_ref().and_then(|tensor| tensor.shape.get(1..)) {
            bind_sizes(&input.name, &graph.node(input.node).ty, data, &mut sizes, &mut problems);
        }
    }
    let mut inputs = vec![];
    for (input, tensor) in graph.inputs.iter().zip(given) {
        let drawn = || {
            let data = graph.node(input.node).ty.shape_at(&sizes)?;
            let shape: Vec<usize> = std::iter::once(1).chain(data.into_iter().map(|size| size as usize)).collect();
            let noise = sample::noise(seed, &format!("input.{}", input.name), 0..1, shape.iter().product());
            Some(HostTensor::f32(shape, noise))
        };
        match tensor.or_else(drawn) {
            Some(tensor) => inputs.push(tensor),
            None => problems.push(format!("  {}: its size does not follow from other inputs: give it", input.name)),
        }
    }
    if problems.is_empty() { Ok(inputs) } else { Err(RunError::Inputs { problems }) }
}

/// Inputs that are texts.
fn text_inputs(graph: &Graph) -> impl Iterator<Item = &Input> {
    graph.inputs.iter().filter(|input| graph.node(input.node).ty.kind == Kind::Ids)
}

/// Conditions that an encoder has made, in the order of its outputs.
#[derive(Default)]
struct Encoded {
    prompt: Vec<HostTensor>,
    /// Without the condition; empty where nothing is guided.
    negative: Vec<HostTensor>,
}

fn encode(
    pipeline: &Pipeline,
    folder: &Folder<'_>,
    order: &Order,
    engine: Engine,
    texts: &Texts,
    guided: bool,
) -> Result<Encoded, RunError> {
    let Some(network) = &pipeline.encoder else { return Ok(Encoded::default()) };
    let inputs = |text: &str| texts.inputs(pipeline, &network.graph, text, order);
    // Both texts are looked at before any weights are loaded.
    let prompt = inputs(&order.prompt)?;
    let negative = inputs(order.negative.as_deref().unwrap_or_default())?;
    let session = opened(network, folder, engine)?;
    let run = |inputs: Vec<HostTensor>| session.run(&Request { inputs, ..Request::default() });
    let prompt = run(prompt)?.outputs;
    let negative = if guided { run(negative)?.outputs } else { vec![] };
    Ok(Encoded { prompt, negative })
}

/// A network with the weights of its parts.
fn opened(network: &Network, folder: &Folder<'_>, engine: Engine) -> Result<Box<dyn Session>, RunError> {
    let weights = |part: &Part| {
        let explain = |problem: String| RunError::Folder { path: folder.of(&part.path), problems: vec![problem] };
        folder.weights(part).map_err(explain)
    };
    let parts: Vec<PartWeights> = network.parts.iter().map(weights).collect::<Result<_, _>>()?;
    open_with(&network.graph, engine.device, Weights::Parts(&parts), engine.passes)
}

/// A stage with its sampler.
struct Plan<'p> {
    stage: &'p Stage,
    part: String,
    interface: Interface,
    method: Method,
    guidance: f64,
    first_guidance: Option<f64>,
    rescale: f64,
    window: Window,
}

impl<'p> Plan<'p> {
    /// Problems with what the folder says of the sampler are left there.
    fn new(stage: &'p Stage, order: &Order, folder: &mut Folder<'_>) -> Result<Self, RunError> {
        let settings = &stage.settings;
        let part = stage.network.parts.first().map(|part| part.folder()).unwrap_or_default();
        let interface = Interface::of(&stage.network.graph)?;
        let chosen = order.choices.sampler.as_deref().or(settings.sampler.as_deref());
        let usual = usual(&stage.network, &interface, chosen, folder);
        let method = method(settings, &order.choices, usual);
        method.name(&interface.process)?;
        Ok(Self {
            stage,
            part,
            interface,
            method,
            guidance: order.choices.guidance.or(settings.guidance).unwrap_or(1.0),
            first_guidance: settings.first_guidance,
            rescale: order.choices.rescale.or(settings.rescale).unwrap_or(0.0),
            window: Window { from: settings.from.unwrap_or(0.0), until: settings.until.unwrap_or(1.0) },
        })
    }

    fn run(
        &self,
        folder: &Folder<'_>,
        order: &Order,
        engine: Engine,
        encoded: &Encoded,
        left: Option<HostTensor>,
        watch: impl FnMut(usize, usize),
    ) -> Result<HostTensor, RunError> {
        let graph = &self.stage.network.graph;
        let start = match (left, order.inputs.get(NOISE)) {
            (Some(left), _) => Start::Left(left),
            (None, Some(noise)) => Start::Noise(noise.clone()),
            (None, None) => Start::Seed,
        };
        let shape = match &start {
            Start::Noise(given) | Start::Left(given) => given.shape.iter().skip(1).copied().collect(),
            Start::Seed => self.interface.sample_shape(graph, &self.stage.sizes)?,
        };
        let sampling = sample::Order {
            method: self.method.clone(),
            labels: vec![0; order.count],
            guidance: self.guidance,
            first_guidance: self.first_guidance,
            rescale: self.rescale,
            seed: order.seed,
            start,
            window: self.window,
            shape,
            batch: order.batch,
            conditions: self.conditions(order, encoded),
        };
        let session = opened(&self.stage.network, folder, engine)?;
        sample::draw(&*session, graph, &sampling, watch)
    }

    /// The conditions of the network by name, and those it is guided away from.
    fn conditions(&self, order: &Order, encoded: &Encoded) -> BTreeMap<String, HostTensor> {
        let is_zero = self.stage.settings.zero_without_negative && order.negative.is_none();
        let mut conditions = BTreeMap::new();
        for (name, condition) in &self.stage.conditions {
            let (own, free) = match condition {
                Condition::Encoded(at) => {
                    let free = encoded.negative.get(*at).cloned();
                    (encoded.prompt.get(*at).cloned(), if is_zero { free.map(zeros) } else { free })
                }
                Condition::Numbers { guided, free } => (Some(row(guided)), Some(row(free))),
            };
            conditions.extend(own.map(|own| (name.to_string(), own)));
            conditions.extend(free.map(|free| (format!("uncond.{name}"), free)));
        }
        conditions
    }
}

/// What the folder says of how to sample a network.
fn usual(network: &Network, interface: &Interface, chosen: Option<&str>, folder: &mut Folder<'_>) -> Usual {
    let Some(part) = network.parts.first() else { return Usual::default() };
    // A file that cannot be read is reported where the process is compared.
    let Ok(Some(config)) = folder.scheduler(part) else { return Usual::default() };
    Usual::of(&config, &interface.process, chosen).unwrap_or_else(|problems| {
        folder.report_scheduler(part, &problems);
        Usual::default()
    })
}

/// What is chosen, what the pipeline says, what its folder says, what is usual.
fn method(settings: &Settings, choices: &Choices, folder: Usual) -> Method {
    let usual = Method::default();
    let size = |value: Option<u64>| value.map(|value| value as usize);
    // The offset belongs to the spacing that it is said with.
    let (spacing, offset) = match (&choices.spacing, &settings.spacing) {
        (Some(spacing), _) => (Some(spacing.clone()), None),
        (None, Some(spacing)) => (Some(spacing.clone()), size(settings.offset)),
        (None, None) => (folder.spacing, size(settings.offset).or(Some(folder.offset))),
    };
    Method {
        sampler: choices.sampler.clone().or_else(|| settings.sampler.clone()).or(folder.sampler.map(str::to_owned)),
        steps: choices.steps.or(size(settings.steps)).unwrap_or(usual.steps),
        spacing,
        offset: choices.offset.or(offset).unwrap_or(usual.offset),
        eta: choices.eta,
        churn: choices.churn,
        karras: choices.karras || settings.karras.unwrap_or(folder.karras),
        clip: choices.clip.or(folder.clip),
        last: folder.last,
        variance: folder.variance,
    }
}

fn zeros(tensor: HostTensor) -> HostTensor {
    let count = tensor.len();
    HostTensor { data: HostData::F32(vec![0.0; count]), ..tensor }
}

fn row(numbers: &[f64]) -> HostTensor {
    HostTensor::f32(vec![1, numbers.len()], numbers.iter().map(|number| *number as f32).collect())
}

/// Samples from what the last stage leaves, one at a time: a decoder works at the full size of an image.
fn decode(
    decoder: &Network,
    folder: &Folder<'_>,
    engine: Engine,
    latents: &HostTensor,
) -> Result<HostTensor, RunError> {
    let session = opened(decoder, folder, engine)?;
    let mut samples: Option<HostTensor> = None;
    for at in 0..latents.shape.first().copied().unwrap_or(0) {
        let request = Request { inputs: vec![latents.rows(&[at])], ..Request::default() };
        let made = session.run(&request)?.outputs.into_iter().next();
        let made = made.ok_or_else(|| RunError::Unsupported("the decoder has no output".to_owned()))?;
        samples = Some(match samples {
            Some(before) => before.followed_by(&made),
            None => made,
        });
    }
    samples.ok_or_else(|| RunError::Unsupported("no samples are asked for".to_owned()))
}
