//! `archc models`

use crate::args::{ListFormat, Models};
use crate::files;
use crate::{Outcome, output, render};
use archc_compiler::elaborate::{Budget, elaborate, elaborate_pipeline};
use archc_compiler::ir::{Graph, NodeId};
use archc_compiler::ops::attribute::Shown;
use archc_compiler::program::{DefinitionRef, Program, Target};
use archc_compiler::source::Files;
use archc_compiler::{CompileError, Diagnostic, has_errors};
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    file: String,
    /// `model`, `preset` or `pipeline`.
    kind: &'static str,
    model: String,
    docs: String,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    hyperparameters: Vec<Hyperparameter>,
    /// Typical sizes of dimensions that are known when the model runs.
    sizes: BTreeMap<String, u64>,
    parameters: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Port {
    name: String,
    #[serde(rename = "type")]
    ty: String,
}

#[derive(Debug, Serialize)]
struct Hyperparameter {
    name: String,
    value: Shown,
}

pub fn run(options: &Models) -> Result<Outcome, String> {
    let (specs, mut unreadable) = files::specs(&options.paths);
    let mut entries = vec![];
    let mut outcome = Outcome::Clean;
    for path in specs {
        let name = files::name(&path);
        match Program::load(&name, &Files::default()) {
            Ok((program, problems)) => {
                let errors: Vec<Diagnostic> =
                    problems.into_iter().filter(|p| has_errors(std::slice::from_ref(p))).collect();
                if !errors.is_empty() {
                    render::pretty_to_stderr(&errors, &program.sources);
                    outcome = Outcome::Findings;
                }
                entries.extend(program.targets().iter().map(|target| entry(&program, target, &name)));
                entries.extend(program.pipelines().iter().map(|found| of_pipeline(&program, found, &name)));
            }
            Err(error) => unreadable.push(format!("{name}: {}", CompileError::Source(error))),
        }
    }
    match options.format {
        ListFormat::Json => output::line(serde_json::to_string_pretty(&entries).map_err(|error| error.to_string())?),
        ListFormat::Table => output::print(&table(&entries)),
    }
    for message in &unreadable {
        output::error(message);
    }
    Ok(if unreadable.is_empty() { outcome } else { Outcome::Failure })
}

/// What a target is, as far as it can be elaborated.
fn entry(program: &Program, target: &Target, file: &str) -> Entry {
    let mut entry = Entry {
        name: target.name.to_string(),
        file: file.to_owned(),
        kind: if target.preset.is_some() { "preset" } else { "model" },
        model: target.model.definition.name.text.to_string(),
        docs: target.docs().to_owned(),
        inputs: vec![],
        outputs: vec![],
        hyperparameters: vec![],
        sizes: BTreeMap::new(),
        parameters: None,
    };
    let Some(graph) = elaborate(program, target, &[], Budget::default()).graph else { return entry };
    entry.inputs = inputs(&graph);
    entry.outputs = outputs(&graph);
    entry.hyperparameters = graph
        .hyperparameters
        .iter()
        .map(|(name, value)| Hyperparameter { name: name.to_string(), value: value.clone() })
        .collect();
    entry.sizes = graph.typical.iter().map(|(name, size)| (name.to_string(), *size)).collect();
    entry.parameters = Some(graph.parameter_elements());
    entry
}

/// What a pipeline is: it takes what its encoder takes, and has the parameters of all its networks.
fn of_pipeline(program: &Program, found: &DefinitionRef, file: &str) -> Entry {
    let name = found.definition.name.text.to_string();
    let mut entry = Entry {
        model: name.clone(),
        name,
        file: file.to_owned(),
        kind: found.definition.kind.word(),
        docs: found.definition.docs.clone(),
        inputs: vec![],
        outputs: vec![],
        hyperparameters: vec![],
        sizes: BTreeMap::new(),
        parameters: None,
    };
    let Some(pipeline) = elaborate_pipeline(program, found, &[], Budget::default()).pipeline else { return entry };
    entry.inputs = pipeline.encoder.iter().flat_map(|encoder| inputs(&encoder.graph)).collect();
    entry.outputs = outputs(&pipeline.decoder.graph);
    let sizes = pipeline.stages.iter().flat_map(|stage| &stage.sizes);
    entry.sizes = sizes.map(|(name, size)| (name.to_string(), *size)).collect();
    let stages = pipeline.stages.iter().map(|stage| &stage.network);
    let networks = pipeline.encoder.iter().chain(stages).chain([&pipeline.decoder]);
    entry.parameters = Some(networks.map(|network| network.graph.parameter_elements()).sum());
    entry
}

fn inputs(graph: &Graph) -> Vec<Port> {
    graph.inputs.iter().map(|input| port(graph, &input.name, input.node)).collect()
}

fn outputs(graph: &Graph) -> Vec<Port> {
    graph.outputs.iter().map(|output| port(graph, &output.name, output.node)).collect()
}

fn port(graph: &Graph, name: &str, node: NodeId) -> Port {
    Port { name: name.to_owned(), ty: graph.node(node).ty.to_string() }
}

fn table(entries: &[Entry]) -> String {
    let row = |entry: &Entry| {
        let inputs: Vec<String> = entry.inputs.iter().map(|port| format!("{}: {}", port.name, port.ty)).collect();
        vec![
            format!("{}#{}", entry.file, entry.name),
            entry.kind.to_owned(),
            entry.parameters.map_or("does not compile".to_owned(), output::count),
            inputs.join(", "),
        ]
    };
    let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
    output::table(&["spec", "kind", "parameters", "inputs"], &rows, &[2])
}
