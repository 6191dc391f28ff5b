//! `archc sample` of a pipeline.

use super::{SAMPLES, conditions, progress, write};
use crate::args::{Sample, Settings};
use crate::{Outcome, files, output, render, target};
use archc_compiler::elaborate::{Budget, elaborate_pipeline};
use archc_compiler::pipeline::Pipeline;
use archc_compiler::program::{DefinitionRef, Program};
use archc_compiler::source::Files;
use archc_compiler::types::Kind;
use archc_compiler::{Diagnostic, has_errors};
use archc_runtime::Device;
use archc_runtime::pipeline::{Choices, Engine, Order};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// A pipeline as it is written.
pub struct Found {
    program: Program,
    problems: Vec<Diagnostic>,
    pipeline: DefinitionRef,
}

/// The pipeline that a spec names, or the first of its file: a model beside it is a part of it.
pub fn find(spec: &str) -> Option<Found> {
    let (file, name) = target::split(spec);
    let (program, problems) = Program::load(&files::name(Path::new(file)), &Files::default()).ok()?;
    let mut pipelines = program.pipelines().into_iter();
    let found = match name {
        Some(name) => pipelines.find(|own| *own.definition.name.text == *name),
        None => pipelines.next(),
    }?;
    Some(Found { program, problems, pipeline: found })
}

pub fn run(options: &Sample, found: Found) -> Result<Outcome, String> {
    let Some(pipeline) = compiled(options, found)? else { return Ok(Outcome::Findings) };
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

/// The pipeline, or its errors on standard error.
fn compiled(options: &Sample, found: Found) -> Result<Option<Pipeline>, String> {
    let Found { program, mut problems, pipeline } = found;
    let settings = target::settings(&Settings { set: options.set.clone(), budget: None, config: None })?;
    let elaborated = elaborate_pipeline(&program, &pipeline, &settings, Budget::default());
    problems.extend(elaborated.diagnostics);
    problems.retain(|problem| has_errors(std::slice::from_ref(problem)));
    if problems.is_empty() {
        return Ok(elaborated.pipeline);
    }
    render::pretty_to_stderr(&problems, &program.sources);
    Ok(None)
}

fn order(options: &Sample, pipeline: &Pipeline) -> Result<Order, String> {
    let graph = pipeline.encoder.as_ref().map(|encoder| &encoder.graph);
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
        inputs: conditions(options.inputs.as_deref())?,
    })
}
