//! Samples of a model: its process, a sampler, guidance.
//!
//! The network runs on its device; the arithmetic of samplers is done on the host in double precision, which costs
//! nothing beside a network. Noise is drawn on the host from streams of its own for every sample, so that a sample depends
//! on its seed and place alone, and not on how many are drawn at a time.

mod plan;
mod window;

pub use plan::Method;
pub use window::Window;

use crate::error::RunError;
use crate::host::{HostData, HostTensor};
use crate::init;
use crate::interface::Interface;
use crate::session::{Denoiser, Session};
use archc_compiler::ir::Graph;
use archc_compiler::types::Kind;
use archc_process::{Guidance, Network, Output};
use rand::distr::Distribution;
use rand_distr::StandardNormal;
use std::collections::BTreeMap;
use std::ops::Range;

/// What to sample.
#[derive(Clone, Debug)]
pub struct Order {
    pub method: Method,
    /// The class of every sample; as many samples are drawn as there are labels. Ignored by a model without classes.
    pub labels: Vec<i64>,
    /// 1 asks the network once; everything else needs a prediction without a condition.
    pub guidance: f64,
    /// The same for the first frame of a video, from which it goes to `guidance` in equal distances.
    pub first_guidance: Option<f64>,
    /// Share of a guided prediction that gets the deviation of the conditional one (Lin et al. 2024).
    pub rescale: f64,
    pub seed: u64,
    pub start: Start,
    /// The steps that are made.
    pub window: Window,
    /// The shape of one sample.
    pub shape: Vec<usize>,
    /// Samples that go through the network at a time.
    pub batch: usize,
    /// Inputs that the process knows nothing about, for all samples or with one row for all; `uncond.NAME` is what stands
    /// in its place where there is no condition.
    pub conditions: BTreeMap<String, HostTensor>,
}

/// What samples are made from; given tensors have a row for each sample.
#[derive(Clone, Debug, Default)]
pub enum Start {
    /// Noise that the seed draws.
    #[default]
    Seed,
    /// Unit noise.
    Noise(HostTensor),
    /// What is left at the noise of the first step.
    Left(HostTensor),
}

/// Draws samples, `[samples, ..]`. `watch` is told after every step how many of how many are done.
pub fn draw(
    session: &dyn Session,
    graph: &Graph,
    order: &Order,
    mut watch: impl FnMut(usize, usize),
) -> Result<HostTensor, RunError> {
    let interface = Interface::of(graph)?;
    let plan = order.method.plan(&interface.process)?;
    let guidance = order.guidance()?;
    check(&interface, graph, order)?;
    let visited = visited(&plan, &interface)?;
    let steps = order.window.steps(&visited, &interface.process)?;
    let times: Vec<f32> = visited.get(steps.clone()).unwrap_or_default().concat();
    let (count, width) = (order.labels.len(), order.shape.iter().product::<usize>());
    let batch = order.batch.max(1);
    let total = steps.len() * count.div_ceil(batch);
    let mut done = 0;
    let mut samples = Vec::with_capacity(count * width);
    for first in (0..count).step_by(batch) {
        let own = first..(first + batch).min(count);
        let start = order.start(own.clone(), width, plan.start());
        let mut drawn = |step: usize, _: &Vec<f32>| noise(order.seed, &format!("step.{step}"), own.clone(), width);
        let model = Model { graph, interface: &interface, order, guidance: &guidance, own: own.clone() };
        let mut denoiser = session.denoiser(&model.inputs()?, times.clone())?;
        let mut network = network(&interface, |x, told| model.predict(&mut *denoiser, x, told));
        let finished = plan.walk(steps.clone(), start, &mut network, &mut drawn, |_, _| {
            done += 1;
            watch(done, total);
        })?;
        samples.extend(finished);
    }
    let shape = std::iter::once(count).chain(order.shape.iter().copied()).collect();
    Ok(HostTensor::f32(shape, samples))
}

/// A network as the process of its model has trained it.
fn network<F>(interface: &Interface, network: F) -> Network<F>
where
    F: FnMut(&Vec<f32>, f64) -> Result<Output<Vec<f32>>, RunError>,
{
    let process = &interface.process;
    Network {
        network,
        scale: process.schedule.scale(),
        prediction: process.prediction,
        precondition: process.precondition,
    }
}

/// What the network is told of the noise, step by step, whenever a sampler asks it. No sampler lets that depend on
/// samples: it is found by drawing samples without elements.
fn visited(plan: &plan::Plan, interface: &Interface) -> Result<Vec<Vec<f32>>, RunError> {
    let of = |step: usize| {
        let mut times = vec![];
        let mut recorder = network(interface, |_, told| {
            times.push(told as f32);
            Ok(Output { prediction: vec![], variance: interface.learns_variance().then(Vec::new) })
        });
        plan.walk(step..step + 1, vec![], &mut recorder, &mut |_: usize, _: &Vec<f32>| vec![], |_, _| ())?;
        Ok(times)
    };
    (0..plan.steps()).map(of).collect()
}

impl Order {
    /// One for all of a sample, or one for each frame.
    fn guidance(&self) -> Result<Vec<Guidance>, RunError> {
        let Some(first) = self.first_guidance else { return Ok(vec![Guidance::new(self.guidance, self.rescale)?]) };
        let frames = self.shape.first().copied().unwrap_or(1);
        let share = |frame: usize| frame as f64 / frames.saturating_sub(1).max(1) as f64;
        let of = |frame: usize| Guidance::new(first + share(frame) * (self.guidance - first), self.rescale);
        Ok((0..frames).map(of).collect::<Result<_, _>>()?)
    }

    /// What the first step of some samples is given; unit noise is multiplied by `scale`.
    fn start(&self, own: Range<usize>, width: usize, scale: f64) -> Vec<f32> {
        let scaled = |noise: Vec<f32>| noise.into_iter().map(|noise| (f64::from(noise) * scale) as f32).collect();
        match &self.start {
            Start::Seed => scaled(noise(self.seed, "start", own, width)),
            Start::Noise(given) => scaled(rows(given, own).into_f32()),
            Start::Left(left) => rows(left, own).into_f32(),
        }
    }
}

/// Unit noise for samples, each from a stream of its own.
pub(crate) fn noise(seed: u64, purpose: &str, samples: Range<usize>, width: usize) -> Vec<f32> {
    let of = |sample: usize| {
        let stream = init::stream(seed, &format!("sample.{sample}.{purpose}"));
        Distribution::<f32>::sample_iter(StandardNormal, stream).take(width)
    };
    samples.flat_map(of).collect()
}

/// Labels and conditions that the model can be given.
fn check(interface: &Interface, graph: &Graph, order: &Order) -> Result<(), RunError> {
    let mut problems = vec![];
    if order.labels.is_empty() {
        problems.push("no samples are asked for".to_owned());
    }
    let guided = order.guidance != 1.0;
    if order.first_guidance.is_some() && interface.kind(graph) != Some(Kind::Video) {
        problems.push("only a video has frames that could be guided each".to_owned());
    }
    if let Start::Noise(given) | Start::Left(given) = &order.start {
        let (count, is_one) = (order.labels.len(), given.shape.first() == Some(&1));
        let rows = if is_one { 1 } else { count };
        let wanted: Vec<usize> = std::iter::once(rows).chain(order.shape.iter().copied()).collect();
        if given.shape != wanted || matches!(given.data, HostData::I64(_)) {
            problems.push(format!("samples start from floats {wanted:?}, found {:?}", given.shape));
        }
    }
    if let Some(label) = interface.label {
        let most = label.null.unwrap_or(label.classes - 1);
        if let Some(wrong) = order.labels.iter().find(|own| **own < 0 || **own > most) {
            let classes = label.classes;
            problems.push(format!(
                "there is no class {wrong}: {} has {classes}, from 0 to {}",
                graph.name(),
                classes - 1
            ));
        }
    }
    for condition in &interface.conditions {
        let (name, ty) = (&condition.name, &condition.ty);
        match order.conditions.get(name) {
            None => problems.push(format!("`{name}` ({ty}) is needed: give it with --inputs")),
            Some(tensor) => {
                let rows = tensor.shape.first().copied().unwrap_or(0);
                if rows != 1 && rows != order.labels.len() {
                    problems.push(format!("`{name}` has {rows} rows for {} samples", order.labels.len()));
                }
            }
        }
    }
    let has_null = interface.label.is_some_and(|label| label.null.is_some());
    let has_unconditional = order.conditions.keys().any(|name| name.starts_with("uncond."));
    if guided && !has_null && !has_unconditional {
        problems.push(format!(
            "guidance needs a prediction without a condition, and {} has none: `drop_label` adds a null class to its \
             labels, or `--inputs` holds an `uncond.NAME` for an input",
            graph.name()
        ));
    }
    if problems.is_empty() { Ok(()) } else { Err(RunError::Inputs { problems }) }
}

/// A network with its conditions for some samples.
struct Model<'a> {
    graph: &'a Graph,
    interface: &'a Interface,
    order: &'a Order,
    /// For equal parts of a sample.
    guidance: &'a [Guidance],
    own: Range<usize>,
}

impl Model<'_> {
    fn is_guided(&self) -> bool {
        self.order.guidance != 1.0
    }

    /// Samples in one pass: conditional and unconditional predictions come from one batch.
    fn rounds(&self) -> usize {
        if self.is_guided() { 2 } else { 1 }
    }

    fn noisy(&self, elements: Vec<f32>) -> HostTensor {
        let rows = self.own.len() * self.rounds();
        HostTensor::f32(std::iter::once(rows).chain(self.order.shape.iter().copied()).collect(), elements)
    }

    /// The inputs of a pass, before there is any noise.
    fn inputs(&self) -> Result<Vec<HostTensor>, RunError> {
        let rows = self.own.len() * self.rounds();
        let noisy = self.noisy(vec![0.0; rows * self.order.shape.iter().product::<usize>()]);
        let mut labels: Vec<i64> = self.order.labels.get(self.own.clone()).unwrap_or_default().to_vec();
        if self.is_guided() {
            let null = self.interface.label.and_then(|label| label.null);
            let free: Vec<i64> = labels.iter().map(|label| null.unwrap_or(*label)).collect();
            labels.extend(free);
        }
        let conditions = self.conditions(self.is_guided());
        self.interface.inputs(self.graph, noisy, &vec![0.0; rows], &labels, &conditions)
    }

    /// What the network says, guided.
    fn predict(&self, denoiser: &mut dyn Denoiser, x: &[f32], told: f64) -> Result<Output<Vec<f32>>, RunError> {
        let output = denoiser.denoise(&self.noisy(x.repeat(self.rounds())), told as f32)?;
        Ok(self.combine(&output.into_f32(), x.len() / self.own.len().max(1), self.is_guided()))
    }

    /// The rows of the other inputs for these samples, and again without the condition.
    fn conditions(&self, guided: bool) -> BTreeMap<String, HostTensor> {
        let of = |name: &str| self.order.conditions.get(name).map(|tensor| rows(tensor, self.own.clone()));
        let mut found = BTreeMap::new();
        for condition in &self.interface.conditions {
            let Some(own) = of(&condition.name) else { continue };
            let tensor = if guided {
                let free = of(&format!("uncond.{}", condition.name)).unwrap_or_else(|| own.clone());
                own.followed_by(&free)
            } else {
                own
            };
            found.insert(condition.name.clone(), tensor);
        }
        found
    }

    /// Splits what the network gave into prediction and variance, and guides each sample.
    fn combine(&self, output: &[f32], width: usize, guided: bool) -> Output<Vec<f32>> {
        let learns = self.interface.learns_variance();
        let per_sample = if learns { 2 * width } else { width };
        let (mut prediction, mut variance) = (vec![], vec![]);
        let (conditional, free) = output.split_at((per_sample * self.own.len()).min(output.len()));
        for (at, own) in conditional.chunks(per_sample.max(1)).enumerate() {
            // Channels come first in an image, last in tokens; halves of channels are halves of an image's memory.
            let (mean, spread) = self.halves(own, width);
            if guided {
                let other = free.chunks(per_sample.max(1)).nth(at).unwrap_or(own);
                let (free, part) = (self.halves(other, width).0, mean.len() / self.guidance.len().max(1));
                let parts = mean.chunks(part.max(1)).zip(free.chunks(part.max(1)));
                for (guidance, (own, free)) in self.guidance.iter().zip(parts) {
                    prediction.extend(guidance.apply(&own.to_vec(), &free.to_vec()));
                }
            } else {
                prediction.extend(mean);
            }
            variance.extend(spread);
        }
        Output { prediction, variance: learns.then_some(variance) }
    }

    /// Prediction and variance of one sample.
    fn halves(&self, own: &[f32], width: usize) -> (Vec<f32>, Vec<f32>) {
        if !self.interface.learns_variance() {
            return (own.to_vec(), vec![]);
        }
        let inner = self.interface.run_of_channels(self.graph, &self.order.shape);
        let (mut mean, mut spread) = (Vec::with_capacity(width), Vec::with_capacity(width));
        for pair in own.chunks(2 * inner.max(1)) {
            let (first, second) = pair.split_at(inner.min(pair.len()));
            mean.extend_from_slice(first);
            spread.extend_from_slice(second);
        }
        (mean, spread)
    }
}

/// Some rows of a tensor, or its one row as often.
fn rows(tensor: &HostTensor, own: Range<usize>) -> HostTensor {
    if tensor.shape.first() == Some(&1) {
        return tensor.rows(&vec![0; own.len()]);
    }
    tensor.rows(&own.collect::<Vec<_>>())
}
