//! `archc train`

use super::perceptual::{Record, Seen};
use super::sample::{columns, progress};
use crate::args::{self, PerceptualKind, Train};
use crate::run_folder::{self, Manifest};
use crate::{Outcome, files, output, render, target};
use archc_compiler::analysis::signal::Signal;
use archc_compiler::ir::Graph;
use archc_runtime::data::{self, DataSet, Source};
use archc_runtime::sample::{Method, Order, Start, Window, draw};
use archc_runtime::sensitivity::channel_weights;
use archc_runtime::train::checkpoint::{self, Checkpoint};
use archc_runtime::train::{Devices, Precision, Recipe, Report, Trainer, fingerprint, fit};
use archc_runtime::{Device, Interface, RunError, Weights, open, picture, tensors};
use indicatif::ProgressBar;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Samples in a row of a grid, and rows of a model without classes.
const GRID: usize = 8;

pub fn run(options: &Train) -> Result<Outcome, String> {
    let explain = |error: RunError| error.to_string();
    let Some((compiled, mut graph)) = target::graph(&options.target)? else { return Ok(Outcome::Findings) };
    render::pretty_to_stdout(&compiled.diagnostics, &compiled.program.sources);
    let recipe = recipe(options);
    recipe.validate().map_err(explain)?;
    let device = Device::from(options.device);
    let devices = Devices { kind: device, numbers: options.devices.clone() };
    devices.validate(&recipe).map_err(explain)?;
    let interface = Interface::of(&graph).map_err(explain)?;
    let source = Source { labels: options.data_labels.as_deref(), range: range(&options.range)? };
    let data = data::read(&options.data, &source, &graph, &interface).map_err(explain)?;
    let known = known(options)?;
    let own = fingerprint(&graph);
    let (mut record, mut perceptual) = (None, None);
    if options.perceptual.perceptual.is_some() {
        let before = known.as_ref().and_then(|known| known.perceptual.as_ref());
        let how = (device, recipe.batch, recipe.seed);
        let Some(seen) = Seen::open(&options.perceptual, &data.samples, before, how)? else {
            return Ok(Outcome::Findings);
        };
        record = Some(seen.record.clone());
        perceptual = seen.applied(&mut graph)?;
    }
    let graph = Arc::new(graph);
    let (file, model) = target::split(&options.target.spec);
    let manifest = Manifest {
        spec: files::name(Path::new(file)),
        model: model.map(str::to_owned),
        set: options.target.settings.set.clone(),
        recipe,
        range: data.samples.range,
        classes: data.classes.clone(),
        shape: data.samples.shape.iter().skip(1).copied().collect(),
        data: data.fingerprint(),
        perceptual: record,
        sources: run_folder::own_sources(&compiled.program.sources),
    };
    let from = start(options, known, &manifest, &own)?;
    let parameters = output::count(graph.parameter_elements());
    let (name, count) = (graph.name(), data.samples.len());
    output::line(format!("training {name}, {parameters} parameters, on {count} samples {:?}", manifest.shape));
    if let Some(Record { kind: PerceptualKind::Static, gains, .. }) = &manifest.perceptual {
        let weights: Vec<String> = channel_weights(gains).iter().map(|weight| format!("{weight:.4}")).collect();
        output::line(format!("errors of its channels count [{}]", weights.join(", ")));
    }
    if let Some(checkpoint) = &from {
        output::line(format!("goes on from update {}", checkpoint.step));
    }

    let signal = Signal::of(&graph);
    let mut log = Log {
        options,
        graph: &graph,
        signal: &signal,
        model: own,
        data: &data,
        interface: &interface,
        file: metrics(&options.out, from.as_ref().map_or(0, |checkpoint| checkpoint.step))?,
        bar: progress("training"),
        start: Instant::now(),
        smooth: None,
        steps: manifest.recipe.steps,
    };
    log.bar.set_length(manifest.recipe.steps);
    let result =
        fit(&graph, &data, &manifest.recipe, perceptual.as_ref(), &devices, from.as_ref(), |report, trainer| {
            log.update(report, trainer)?;
            Ok(ControlFlow::Continue(()))
        });
    log.bar.finish_and_clear();
    if let Err(error) = result {
        let kept = format!("what was saved before is in {}", run_folder::checkpoints(&options.out).display());
        return Err(format!("{error}\n{kept}"));
    }
    let seconds = log.start.elapsed().as_secs_f64();
    let loss = log.smooth.map_or_else(String::new, |loss| format!(", loss {loss:.4}"));
    output::line(format!("done in {seconds:.0} s{loss}; weights in {}", run_folder::weights(&options.out).display()));
    Ok(Outcome::Clean)
}

fn recipe(options: &Train) -> Recipe {
    Recipe {
        steps: options.steps,
        batch: options.batch as usize,
        accumulate: options.accumulate as usize,
        rate: options.lr,
        warmup: options.warmup,
        final_rate: options.final_lr,
        weight_decay: options.weight_decay,
        clip: (options.clip != 0.0).then_some(options.clip),
        ema: options.ema,
        seed: options.seed,
        precision: match options.dtype {
            args::Precision::F32 => Precision::F32,
            args::Precision::Bf16 => Precision::Bf16,
        },
        segments: options.recompute as usize,
        watch_every: options.watch_every,
        ..Recipe::default()
    }
}

/// What becomes -1 and 1, from `--range`.
pub fn range(given: &[f32]) -> Result<Option<(f32, f32)>, String> {
    match given {
        [] => Ok(None),
        [low, high] => Ok(Some((*low, *high))),
        _ => Err("`--range` has two numbers: what becomes -1, and what becomes 1".to_owned()),
    }
}

/// The run that is in the folder, to go on with.
fn known(options: &Train) -> Result<Option<Manifest>, String> {
    let folder = &options.out;
    if !run_folder::manifest(folder).exists() {
        return Ok(None);
    }
    if !options.resume {
        return Err(format!("{}: there is a run in this folder; --resume goes on with it", folder.display()));
    }
    Manifest::read(folder).map(Some)
}

/// Makes the folder of a run, or finds what to go on from.
fn start(
    options: &Train,
    known: Option<Manifest>,
    manifest: &Manifest,
    model: &str,
) -> Result<Option<Checkpoint>, String> {
    let folder = &options.out;
    let saved = run_folder::checkpoints(folder);
    let Some(known) = known else {
        std::fs::create_dir_all(&saved).map_err(|error| format!("{}: {error}", saved.display()))?;
        manifest.write(folder)?;
        return Ok(None);
    };
    let (found, damaged) = checkpoint::newest(&saved, model).map_err(|error| error.to_string())?;
    if known.recipe != (Recipe { steps: known.recipe.steps, ..manifest.recipe.clone() }) {
        let recipe = |recipe: &Recipe| serde_json::to_string(recipe).unwrap_or_default();
        let (was, is) = (recipe(&known.recipe), recipe(&manifest.recipe));
        return Err(format!("{}: this run has other options\n  was {was}\n  is  {is}", folder.display()));
    }
    if !known.data.is_empty() && known.data != manifest.data {
        let (folder, data) = (folder.display(), options.data.display());
        return Err(format!("{folder}: this run was made from other data than {data} holds now: start another one"));
    }
    if known.perceptual != manifest.perceptual {
        let folder = folder.display();
        return Err(format!(
            "{folder}: errors were measured in another way when this run began: give the same network"
        ));
    }
    for error in damaged {
        output::warning(&format!("{error}; the one before it is used"));
    }
    manifest.write(folder)?;
    Ok(found)
}

/// The file of metrics, without what was written after the update that training goes on from.
fn metrics(folder: &Path, step: u64) -> Result<File, String> {
    let path = run_folder::metrics(folder);
    let explain = |error: std::io::Error| format!("{}: {error}", path.display());
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    let number = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok()?.get("step")?.as_u64();
    let kept: String = known
        .lines()
        .filter(|line| number(line).is_some_and(|own| own <= step))
        .map(|line| format!("{line}\n"))
        .collect();
    files::write(&path, &kept)?;
    File::options().append(true).open(&path).map_err(explain)
}

/// One line of the metrics.
#[derive(Serialize)]
struct Line {
    step: u64,
    loss: f64,
    gradient_norm: f64,
    rate: f64,
    seconds: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    blocks: Vec<Block>,
}

/// Mean squares at the end of a block, beside what is predicted of it before the first update.
#[derive(Serialize)]
struct Block {
    path: String,
    activation: f64,
    predicted: Option<f64>,
    gradient: f64,
}

/// What happens besides training.
struct Log<'a> {
    options: &'a Train,
    graph: &'a Arc<Graph>,
    signal: &'a Signal,
    model: String,
    data: &'a DataSet,
    interface: &'a Interface,
    file: File,
    bar: ProgressBar,
    start: Instant,
    smooth: Option<f64>,
    steps: u64,
}

impl Log<'_> {
    fn update(&mut self, report: &Report, trainer: &dyn Trainer) -> Result<(), RunError> {
        self.write(report)?;
        let smooth = self.smooth.map_or(report.loss, |before| 0.98 * before + 0.02 * report.loss);
        self.smooth = Some(smooth);
        self.bar.set_position(report.step);
        self.bar.set_message(format!("loss {smooth:.4}"));
        let due = |every: u64| report.step == self.steps || every > 0 && report.step.is_multiple_of(every);
        if due(self.options.save_every) {
            let folder = run_folder::checkpoints(&self.options.out);
            checkpoint::save(&folder, report.step, &trainer.state(), &self.model, self.options.keep as usize)?;
            tensors::write(&run_folder::weights(&self.options.out), &trainer.averages())?;
        }
        if self.options.sample_every > 0 && due(self.options.sample_every) {
            self.grid(report.step, trainer)?;
        }
        Ok(())
    }

    fn write(&mut self, report: &Report) -> Result<(), RunError> {
        let block = |own: &archc_runtime::train::BlockMoments| Block {
            path: self.graph.scope(own.scope).path.to_string(),
            activation: own.activation,
            predicted: self.signal.square(own.node),
            gradient: own.gradient,
        };
        let line = Line {
            step: report.step,
            loss: report.loss,
            gradient_norm: report.gradient_norm,
            rate: report.rate,
            seconds: self.start.elapsed().as_secs_f64(),
            blocks: report.blocks.iter().map(block).collect(),
        };
        let path = run_folder::metrics(&self.options.out);
        let text = serde_json::to_string(&line).map_err(std::io::Error::from);
        let written = text.and_then(|text| writeln!(self.file, "{text}"));
        written.map_err(|error| RunError::File { path, reason: error.to_string() })
    }

    /// Samples of all classes in turn, with the averages of the parameters.
    fn grid(&self, step: u64, trainer: &dyn Trainer) -> Result<(), RunError> {
        if self.data.samples.shape.len() != 4 {
            return Ok(());
        }
        let averages = trainer.averages();
        let session = open(self.graph, Device::from(self.options.device), Weights::Tensors(&averages))?;
        let classes = self.interface.label.map_or(1, |label| label.classes.min(10)) as usize;
        let count = if classes > 1 { GRID / 2 * classes } else { GRID * GRID };
        // Other inputs are those of the first samples.
        let first: Vec<usize> = (0..count).map(|at| at % self.data.samples.len()).collect();
        let conditions: BTreeMap<_, _> =
            self.data.conditions.iter().map(|(name, tensor)| (name.clone(), tensor.rows(&first))).collect();
        let order = Order {
            method: Method::default(),
            labels: (0..count).map(|at| (at % classes) as i64).collect(),
            guidance: 1.0,
            first_guidance: None,
            rescale: 0.0,
            seed: self.options.seed,
            start: Start::Seed,
            window: Window::default(),
            shape: self.data.samples.shape.iter().skip(1).copied().collect(),
            batch: self.options.batch as usize,
            conditions,
        };
        let samples = draw(&*session, self.graph, &order, |_, _| ())?;
        let path: PathBuf = self.options.out.join(format!("samples-{step:08}.png"));
        picture::write_grid(&path, &samples, if classes > 1 { classes } else { columns(count, None) })
    }
}
