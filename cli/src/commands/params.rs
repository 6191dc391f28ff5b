//! `archc params`

use crate::args::{Params, ParamsFormat};
use crate::{Outcome, output, target};
use archc_compiler::analysis::liveness::{Liveness, Wake};
use archc_compiler::ir::{Graph, InitOrigin, ParameterId};
use archc_compiler::ops::Storage;
use serde::Serialize;

#[derive(Debug, Serialize)]
struct List {
    model: String,
    elements: u64,
    parameters: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    shape: Vec<u64>,
    init: String,
    /// Mean and standard deviation that the initialiser gives.
    mean: f64,
    std: f64,
    /// Which kind of line decided: `call`, `scope` or `default`.
    origin: &'static str,
    trainable: bool,
    /// Stored beside the parameters, but not counted as one.
    buffer: bool,
    /// The first step of gradient descent at which it moves.
    wake: Wake,
}

pub fn run(options: &Params) -> Result<Outcome, String> {
    let Some((_, graph)) = target::graph(&options.target)? else { return Ok(Outcome::Findings) };
    match options.format {
        ParamsFormat::Tsv => {
            let mut text = String::new();
            for parameter in &graph.parameters {
                text.push_str(&format!("{}\t{}\n", parameter.path, shape(&parameter.shape)));
            }
            output::print(&text);
        }
        ParamsFormat::Json => {
            let list = list(&graph);
            output::line(serde_json::to_string_pretty(&list).map_err(|error| error.to_string())?);
        }
        ParamsFormat::Table => output::print(&table(&list(&graph))),
    }
    Ok(Outcome::Clean)
}

fn list(graph: &Graph) -> List {
    let liveness = Liveness::of(graph);
    let entry = |id: ParameterId| {
        let parameter = graph.parameter(id);
        let (mean, std) = parameter.init.mean_and_std(parameter.fans);
        Entry {
            name: parameter.path.to_string(),
            shape: parameter.shape.clone(),
            init: parameter.init.to_string(),
            mean,
            std,
            origin: match parameter.origin {
                InitOrigin::Call(_) => "call",
                InitOrigin::Scope(_) => "scope",
                InitOrigin::Default => "default",
            },
            trainable: parameter.is_trained(),
            buffer: parameter.storage == Storage::Buffer,
            wake: liveness.wake(id),
        }
    };
    List {
        model: graph.name().to_owned(),
        elements: graph.parameter_elements(),
        parameters: graph.parameter_ids().map(entry).collect(),
    }
}

fn table(list: &List) -> String {
    let row = |entry: &Entry| {
        vec![
            entry.name.clone(),
            shape(&entry.shape),
            entry.shape.iter().product::<u64>().to_string(),
            entry.init.clone(),
            if entry.buffer { "buffer".to_owned() } else { entry.wake.to_string() },
        ]
    };
    let rows: Vec<Vec<String>> = list.parameters.iter().map(row).collect();
    let mut text = output::table(&["name", "shape", "elements", "init", "moves at step"], &rows, &[2, 4]);
    text.push_str(&format!("{}: {} tensors, {} elements\n", list.model, list.parameters.len(), list.elements));
    text
}

/// `320x4x3x3`, or `scalar`.
fn shape(shape: &[u64]) -> String {
    if shape.is_empty() {
        return "scalar".to_owned();
    }
    shape.iter().map(u64::to_string).collect::<Vec<_>>().join("x")
}
