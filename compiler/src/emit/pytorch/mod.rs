//! A network as a Python package on PyTorch.
//!
//! Parameters have their published names, so that a `state_dict` is a checkpoint.

mod files;
mod forward;
mod layers;
mod module;
mod numbers;
mod ops;
mod parts;
mod process;
mod text;

use super::EmitError;
use super::names::{field_name, unique};
use super::number::Number;
use super::structure::{Module, Structure};
use crate::ir::Graph;
use crate::program::Program;
use indexmap::{IndexMap, IndexSet};
use std::sync::Arc;

/// What to emit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether labels, elements and paths are dropped at random in training.
    pub masks: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { masks: true }
    }
}

/// The sources of a network.
#[derive(Debug)]
pub struct Sources {
    /// Name of the model's class.
    pub model: String,
    /// Inputs that `forward` takes, in order, as the spec calls them and as arguments are called.
    pub inputs: Vec<(Arc<str>, String)>,
    /// Classes and functions, with what they import.
    pub modules: String,
    /// What PyTorch lacks.
    pub ops: String,
    /// The process that the spec declares; none where [`emit`] writes no script for training.
    pub process: Option<String>,
}

/// Files of a package by path.
pub type Files = Vec<(String, String)>;

/// Writes a network as a package with a script that trains it, if the spec says how.
pub fn emit(graph: &Graph, program: &Program, options: Options) -> Result<Files, EmitError> {
    let sources = sources(graph, program, options)?;
    files::assemble(graph, &sources)
}

/// Writes a network as one text: its modules, then what they need.
pub fn emit_single(graph: &Graph, program: &Program, options: Options) -> Result<String, EmitError> {
    let sources = sources(graph, program, options)?;
    Ok(format!("# model.py\n{}\n\n# ops.py\n{}", sources.modules, sources.ops))
}

/// Writes the sources of a network.
pub fn sources(graph: &Graph, program: &Program, options: Options) -> Result<Sources, EmitError> {
    let structure = Structure::of(graph, program)?;
    let mut context = Context {
        graph,
        structure: &structure,
        options,
        functions: functions(&structure),
        helpers: IndexSet::new(),
        inlines: false,
    };
    let mut items = vec![];
    for module in &structure.modules {
        items.push(module::item(&mut context, module)?);
    }
    items.retain(|item| !item.is_empty());
    let body = items.join("\n\n");
    let root = structure.module(structure.root).cloned();
    let root = root.ok_or_else(|| EmitError("the model is missing".to_owned()))?;
    let inputs = root.inputs.iter().filter_map(|port| {
        let input = graph.inputs.iter().find(|input| input.node == port.node)?;
        Some((input.name.clone(), text::ident(&port.name)))
    });
    let mut sources = Sources {
        process: None,
        model: root.name.clone(),
        inputs: inputs.collect(),
        modules: format!("{}{}\n\n{body}", text::docstring(&files::about(graph), 0), files::imports(&body)),
        ops: files::ops(&context.helpers),
    };
    sources.process = process::process(graph, &sources)?;
    Ok(sources)
}

/// Names of modules that are functions; none is that of a value.
fn functions(structure: &Structure) -> IndexMap<String, String> {
    let mut taken: Vec<String> =
        structure.modules.iter().flat_map(|module| &module.inputs).map(|port| port.name.clone()).collect();
    let own = structure.modules.iter().filter(|module| module.is_function());
    own.map(|module| (module.name.clone(), text::ident(&unique(field_name(&module.name), &mut taken)))).collect()
}

/// A number that `forward` reads from its module.
struct Stored {
    name: String,
    number: Number,
    wanted: numbers::Wanted,
}

/// What has been written so far, and what it needs.
struct Context<'a> {
    graph: &'a Graph,
    structure: &'a Structure,
    options: Options,
    /// Functions by the name of their module.
    functions: IndexMap<String, String>,
    helpers: IndexSet<&'static str>,
    /// Whether names in the checkpoint leave something out.
    inlines: bool,
}

impl Context<'_> {
    fn module(&self, id: usize) -> Result<Module, EmitError> {
        self.structure.module(id).cloned().ok_or_else(|| EmitError("a module is missing".to_owned()))
    }

    fn function(&self, module: &str) -> String {
        self.functions.get(module).cloned().unwrap_or_default()
    }

    fn need(&mut self, name: &'static str) {
        self.helpers.insert(name);
    }

    /// A helper as a value.
    fn named(&mut self, name: &'static str) -> String {
        self.need(name);
        format!("ops.{name}")
    }

    /// A call of a helper.
    fn helper(&mut self, name: &'static str, arguments: &str) -> String {
        format!("{}({arguments})", self.named(name))
    }
}
