//! Training a model by the process that its spec declares.
//!
//! ```text
//! DataSet --batch--> noisy samples, what to say of them     (seed, number)
//!         --loss--> weighted error, on a tape               (`perceptual`: as a frozen network sees it)
//!         --learner--> gradients, AdamW, averages           (`replicas`: on several devices)
//!         --checkpoint--> states on disk
//! ```
//!
//! Everything random is drawn on the host from named streams of one seed: on the CPU, training twice gives the same bits,
//! whether or not it was interrupted.

mod batch;
pub mod checkpoint;
mod cuda;
mod devices;
mod learner;
mod loss;
mod observe;
mod perceptual;
mod recipe;
#[cfg(any(test, feature = "cuda"))]
mod replicas;
mod rounding;
mod segments;

pub use batch::{Batch, Batches};
pub use devices::Devices;
pub use learner::{BlockMoments, Report, Trainer, open};
pub use perceptual::{Distance, Perceptual};
pub use recipe::{Precision, Recipe};

use crate::data::DataSet;
use crate::error::RunError;
use crate::host::HostTensor;
use crate::session::Device;
use archc_compiler::ir::Graph;
use checkpoint::Checkpoint;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Trains a model. `each` sees every update and may stop; what the model has become is the trainer's. Errors count
/// as a frozen network sees them, where there is one.
///
/// Training ends with an error where a loss or a gradient is no longer finite; the update that would have spread it is not
/// made.
pub fn fit(
    graph: &Arc<Graph>,
    data: &DataSet,
    recipe: &Recipe,
    perceptual: Option<&Perceptual>,
    devices: &Devices,
    from: Option<&Checkpoint>,
    each: impl FnMut(&Report, &dyn Trainer) -> Result<ControlFlow<()>, RunError>,
) -> Result<Box<dyn Trainer>, RunError> {
    go_on(open(graph, recipe, perceptual, devices)?, graph, data, recipe, from, each)
}

/// Trains what has been opened.
fn go_on(
    mut trainer: Box<dyn Trainer>,
    graph: &Arc<Graph>,
    data: &DataSet,
    recipe: &Recipe,
    from: Option<&Checkpoint>,
    mut each: impl FnMut(&Report, &dyn Trainer) -> Result<ControlFlow<()>, RunError>,
) -> Result<Box<dyn Trainer>, RunError> {
    if let Some(checkpoint) = from {
        trainer.restore(checkpoint.step, &checkpoint.tensors)?;
    }
    let mut batches = Batches::new(graph, data, recipe.batch, recipe.seed)?;
    let passes = recipe.accumulate as u64;
    while trainer.step() < recipe.steps {
        let step = trainer.step();
        let own: Result<Vec<Batch>, RunError> =
            (step * passes..(step + 1) * passes).map(|number| batches.get(number)).collect();
        let measure = recipe.watch_every > 0 && step.is_multiple_of(recipe.watch_every);
        let report = trainer.update(&own?, measure)?;
        if each(&report, &*trainer)?.is_break() {
            break;
        }
    }
    Ok(trainer)
}

/// What became of a model in some updates.
#[derive(Clone, Debug, Default)]
pub struct Experiment {
    /// Of every update.
    pub losses: Vec<f64>,
    /// Of every update, before clipping.
    pub gradient_norms: Vec<f64>,
    /// Moments of blocks by path, at the first update.
    pub blocks: BTreeMap<String, BlockMoments>,
    /// How far each parameter has moved: the root of the mean square of the difference from where it started.
    pub movement: BTreeMap<String, f64>,
    /// Why training ended early.
    pub stopped: Option<String>,
    /// What training may go on from, unless it ended early.
    pub state: BTreeMap<String, HostTensor>,
}

/// Trains a model on the CPU and reports how it went: evidence for what is said about a network before it is trained.
/// Blocks are measured where the recipe watches. Training goes on from the checkpoint, if there is one.
pub fn experiment(
    graph: &Arc<Graph>,
    data: &DataSet,
    recipe: &Recipe,
    from: Option<&Checkpoint>,
) -> Result<Experiment, RunError> {
    let mut found = Experiment::default();
    let mut trainer = open(graph, recipe, None, &Device::Cpu.into())?;
    if let Some(checkpoint) = from {
        trainer.restore(checkpoint.step, &checkpoint.tensors)?;
    }
    let start = trainer.parameters();
    let mut last = start.clone();
    let mut is_first = true;
    let result = fit(graph, data, recipe, None, &Device::Cpu.into(), from, |report, trainer| {
        found.losses.push(report.loss);
        found.gradient_norms.push(report.gradient_norm);
        if std::mem::take(&mut is_first) {
            let path = |block: &BlockMoments| graph.scope(block.scope).path.to_string();
            found.blocks = report.blocks.iter().map(|block| (path(block), block.clone())).collect();
        }
        // Training that breaks off leaves no trainer behind.
        if report.step == recipe.steps || report.step.is_multiple_of(16) {
            last = trainer.parameters();
        }
        Ok(ControlFlow::Continue(()))
    });
    match result {
        Ok(trainer) => {
            last = trainer.parameters();
            found.state = trainer.state();
        }
        Err(error @ RunError::NotFinite { .. }) => found.stopped = Some(error.to_string()),
        Err(error) => return Err(error),
    }
    for (name, before) in start {
        let Some(after) = last.get(&name) else { continue };
        let (before, after) = (before.into_f32(), after.to_f32());
        let squares: f64 = before.iter().zip(&after).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        found.movement.insert(name, (squares / before.len().max(1) as f64).sqrt());
    }
    Ok(found)
}

/// What tells the states of one model from those of another: a hash of its graph, with its process.
pub fn fingerprint(graph: &Graph) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(graph.to_text().as_bytes()))
}
