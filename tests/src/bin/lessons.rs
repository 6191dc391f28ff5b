//! What the process of a spec teaches, and what becomes of a model that learns it: for `tests/pytorch`.
//!
//! ```text
//! lessons draws FILE#NAME DRAW..                 the lesson of each draw, as JSON
//! lessons updates FILE#NAME DATA COUNT OUT       losses as JSON; OUT holds parameters before and after, and all batches
//! ```

use archc_compiler::ir::Graph;
use archc_compiler::source::Files;
use archc_compiler::{Options, compile};
use archc_process::{Lesson, Lessons};
use archc_runtime::data::{self, Source};
use archc_runtime::train::{Batches, Recipe, open};
use archc_runtime::{Device, HostTensor, Interface, tensors};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::{env, io};

/// Samples of an update.
const BATCH: usize = 16;
const RATE: f64 = 1e-3;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["draws", spec, numbers @ ..] => draws(spec, numbers),
        ["updates", spec, data, count, out] => updates(spec, Path::new(data), count, Path::new(out)),
        _ => Err("draws FILE#NAME DRAW.., or updates FILE#NAME DATA COUNT OUT".into()),
    };
    match result {
        Ok(text) => {
            let _ = writeln!(io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::from(2)
        }
    }
}

fn graph(spec: &str) -> Result<Graph, Box<dyn Error>> {
    let (file, name) = spec.split_once('#').map_or((spec, None), |(file, name)| (file, Some(name)));
    let compiled = compile(file, name, &[], &Files::default(), &Options::default())?;
    Ok(compiled.graph.ok_or("the spec has errors")?)
}

fn draws(spec: &str, draws: &[&str]) -> Result<String, Box<dyn Error>> {
    let graph = graph(spec)?;
    let declared = graph.process.as_ref().ok_or("it declares no process")?;
    let lessons = Lessons::of(&declared.process)?;
    let mut found = vec![];
    for draw in draws {
        found.push(numbers(&lessons.drawn(draw.parse()?)?));
    }
    Ok(serde_json::to_string(&found)?)
}

/// A lesson in the order of the fields of the emitted one.
fn numbers(lesson: &Lesson) -> Vec<f64> {
    let (input, target) = (lesson.input, lesson.target);
    let mut numbers = vec![lesson.told, input.0, input.1, target.0, target.1, lesson.weight];
    numbers.extend(lesson.variance.iter().flat_map(|own| [own.lower, own.upper, own.mean]));
    numbers
}

fn updates(spec: &str, data: &Path, count: &str, out: &Path) -> Result<String, Box<dyn Error>> {
    let graph = Arc::new(graph(spec)?);
    let data = data::read(data, &Source::default(), &graph, &Interface::of(&graph)?)?;
    let recipe = Recipe { steps: count.parse()?, batch: BATCH, rate: RATE, warmup: 0, ..Recipe::default() };
    let mut trainer = open(&graph, &recipe, None, &Device::Cpu.into())?;
    let mut batches = Batches::new(&graph, &data, recipe.batch, recipe.seed)?;
    let mut kept = BTreeMap::new();
    let mut keep = |prefix: &str, tensors: BTreeMap<String, HostTensor>| {
        kept.extend(tensors.into_iter().map(|(name, tensor)| (format!("{prefix}.{name}"), tensor)));
    };
    keep("before", trainer.parameters());
    let mut losses = vec![];
    for number in 0..recipe.steps {
        let batch = batches.get(number)?;
        losses.push(trainer.update(std::slice::from_ref(&batch), false)?.loss);
        let lessons: Vec<Vec<f64>> = batch.lessons.iter().map(numbers).collect();
        let shape = vec![lessons.len(), lessons.first().map_or(0, Vec::len)];
        let lessons = lessons.concat().into_iter().map(|number| number as f32).collect();
        let names = graph.inputs.iter().map(|input| input.name.to_string());
        keep(&format!("{number}.inputs"), names.zip(batch.inputs).collect());
        let taught = [
            ("target".to_owned(), HostTensor::f32(batch.clean.shape, batch.target)),
            ("lessons".to_owned(), HostTensor::f32(shape, lessons)),
        ];
        keep(&number.to_string(), BTreeMap::from(taught));
    }
    keep("after", trainer.parameters());
    tensors::write(out, &kept)?;
    Ok(serde_json::to_string(&losses)?)
}
