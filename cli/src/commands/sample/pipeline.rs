//! `archc sample` of a pipeline.

use super::{SAMPLES, conditions, progress, write};
use crate::args::{Sample, Settings};
use crate::{Outcome, files, output, render, target};
use archc_compiler::pipeline::Pipeline;
use archc_compiler::source::Files;
use archc_compiler::types::Kind;
use archc_compiler::{CompiledPipeline, Level, Options, compile_pipeline};
use archc_runtime::Device;
use archc_runtime::pipeline::{Choices, Engine, Order};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// The pipeline that a spec names, or the first of its file: a model beside it is a part of it.
pub fn find(options: &Sample) -> Result<Option<CompiledPipeline>, String> {
    let settings = target::settings(&Settings { set: options.set.clone(), budget: None, config: None })?;
    let (file, name) = target::split(&options.spec);
    let file = files::name(Path::new(file));
    // A file that cannot be read is no model either, and reported as such.
    Ok(compile_pipeline(&file, name, &settings, &Files::default(), &Options::default()).ok().flatten())
}

pub fn run(options: &Sample, found: CompiledPipeline) -> Result<Outcome, String> {
    let Some(pipeline) = found.pipeline else {
        let errors: Vec<_> = found.diagnostics.into_iter().filter(|problem| problem.level == Level::Error).collect();
        render::pretty_to_stderr(&errors, &found.program.sources);
        return Ok(Outcome::Findings);
    };
    if !options.labels.is_empty() {
        return Err("a pipeline has no classes, so there is no use for --labels".to_owned());
    }
    let Some(root) = &options.weights else {
        return Err("a pipeline by itself has no weights: give the folder of its networks with --weights".to_owned());
    };
    let order = order(options, &pipeline)?;
    let engine = Engine { device: Device::from(options.device), passes: crate::commands::run::passes(options.no_opt) };
    let start = Instant::now();
    let bar = progress("sampling");
    let watch = |network: &str, done: usize, total: usize| {
        bar.set_message(network.to_owned());
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    };
    let made =
        archc_runtime::pipeline::run(&pipeline, root, &order, engine, watch).map_err(|error| error.to_string())?;
    bar.finish_and_clear();
    let (name, seconds) = (&pipeline.name, start.elapsed().as_secs_f64());
    let what = if order.count == 1 { "sample" } else { "samples" };
    output::line(format!("{} {what} of {name}: {seconds:.1} s", order.count));
    write(options, BTreeMap::from([(SAMPLES.to_owned(), made.samples), ("latents".to_owned(), made.latents)]))?;
    Ok(Outcome::Clean)
}

fn order(options: &Sample, pipeline: &Pipeline) -> Result<Order, String> {
    let graph = pipeline.encoder.as_ref().map(|encoder| &*encoder.graph);
    let takes_text =
        graph.is_some_and(|graph| graph.inputs.iter().any(|input| graph.node(input.node).ty.kind == Kind::Ids));
    if !takes_text && options.negative.is_some() {
        return Err(format!("{} takes no text: leave out --negative", pipeline.name));
    }
    if takes_text != options.prompt.is_some() {
        return Err(match takes_text {
            true => format!("{} makes samples of a text: give one with --prompt", pipeline.name),
            false => format!("{} takes no text: leave out --prompt", pipeline.name),
        });
    }
    Ok(Order {
        prompt: options.prompt.clone().unwrap_or_default(),
        negative: options.negative.clone(),
        count: options.count.unwrap_or(1) as usize,
        seed: options.seed,
        batch: options.batch as usize,
        choices: Choices {
            sampler: options.sampler.clone(),
            steps: options.steps.map(|steps| steps as usize),
            guidance: options.guidance,
            rescale: options.rescale,
            spacing: options.spacing.clone(),
            offset: options.offset.map(|offset| offset as usize),
            eta: options.eta,
            churn: options.churn,
            karras: options.karras,
            clip: options.clip,
        },
        inputs: conditions(options, graph)?,
    })
}
