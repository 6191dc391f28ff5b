//! A network as a Rust crate on Burn.

pub mod burn;
mod files;
mod format;
mod forward;
mod helpers;
mod kernels;
mod layers;
mod module;
mod numbers;
mod ops;

use super::EmitError;
use super::checkpoint::Checkpoint;
use super::number::Number;
use super::structure::{Module, Structure};
use super::values::{needs_device, takes_device};
use crate::ir::Graph;
use crate::program::Program;
use indexmap::{IndexMap, IndexSet};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};
use std::sync::Arc;

pub use burn::Version;
pub use files::package_name;

/// What to emit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub version: Version,
    /// Whether the crate has a program that runs the network.
    pub program: bool,
    /// Whether labels, elements and paths are dropped at random in training.
    pub masks: bool,
    /// Whether layers run on kernels for the CPU that come with the crate, instead of on Burn's operations.
    pub kernels: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { version: Version::default(), program: false, masks: true, kernels: false }
    }
}

/// A crate: its files by path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crate {
    pub files: Vec<(String, String)>,
}

/// An input of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// As the spec calls it.
    pub input: Arc<str>,
    /// As the argument is called.
    pub name: String,
}

/// The sources of a network.
#[derive(Debug)]
pub struct Sources {
    /// Name of the model's struct.
    pub model: String,
    /// Inputs that `forward` takes, in order.
    pub inputs: Vec<Input>,
    /// Modules, with what they `use`.
    pub modules: String,
    /// What Burn lacks.
    pub ops: String,
    /// Files of the module with kernels, by name; none unless they are asked for.
    pub kernels: Vec<(String, String)>,
    /// Loading a checkpoint.
    pub weights: String,
    pub checkpoint: Checkpoint,
}

/// Writes a network as a crate.
pub fn emit(graph: &Graph, program: &Program, options: Options) -> Result<Crate, EmitError> {
    let sources = sources(graph, program, options)?;
    files::assemble(graph, &sources, options)
}

/// Writes a network as one file of three modules, without kernels.
pub fn emit_single(graph: &Graph, program: &Program, options: Options) -> Result<String, EmitError> {
    let options = Options { kernels: false, ..options };
    let sources = sources(graph, program, options)?;
    Ok(files::single(graph, &sources))
}

/// Writes the sources of a network.
pub fn sources(graph: &Graph, program: &Program, options: Options) -> Result<Sources, EmitError> {
    let structure = Structure::of(graph, program)?;
    let checkpoint = Checkpoint::of(graph, &structure, burn::leaf)?;
    let mut context = Context {
        graph,
        structure: &structure,
        options,
        helpers: IndexSet::new(),
        imports: IndexSet::new(),
        own_types: IndexSet::new(),
    };
    let mut items = vec![];
    for module in &structure.modules {
        items.push(module::items(&mut context, module)?);
    }
    let modules = format::file(&items.into_iter().collect())?;
    let modules = format!("{}\n{modules}", context.header(&modules));
    let root = structure.module(structure.root).map(|root| root.name.clone()).unwrap_or_default();
    let ports = structure.module(structure.root).map(|root| root.inputs.clone()).unwrap_or_default();
    let inputs = ports.into_iter().filter_map(|port| {
        let input = graph.inputs.iter().find(|input| input.node == port.node)?;
        Some(Input { input: input.name.clone(), name: ident(&port.name).to_string() })
    });
    Ok(Sources {
        model: root,
        inputs: inputs.collect(),
        modules,
        ops: helpers::file(&context.helpers, options.kernels),
        kernels: if options.kernels { kernels::files() } else { vec![] },
        weights: files::weights(graph, &structure, &checkpoint),
        checkpoint,
    })
}

/// A number that `forward` reads from a field.
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
    helpers: IndexSet<&'static str>,
    imports: IndexSet<String>,
    own_types: IndexSet<&'static str>,
}

impl<'a> Context<'a> {
    fn module(&self, id: usize) -> Result<Module, EmitError> {
        self.structure.module(id).cloned().ok_or_else(|| EmitError("a module is missing".to_owned()))
    }

    fn import(&mut self, item: &str) {
        self.imports.insert(item.to_owned());
    }

    fn import_owned(&mut self, item: &str) {
        self.import(item);
    }

    fn imports(&mut self, items: &[&str]) {
        items.iter().for_each(|item| self.import(item));
    }

    fn need(&mut self, name: &'static str) {
        self.helpers.insert(name);
    }

    fn own_type(&mut self, name: &'static str) {
        self.own_types.insert(name);
    }

    /// A call of a function of the small module.
    fn helper(&mut self, name: &'static str, arguments: &TokenStream) -> TokenStream {
        self.need(name);
        let name = format_ident!("{name}");
        quote!(ops::#name(#arguments))
    }

    /// Inputs of a module that it takes as one array, where there are too many to name: those of its most common type, the
    /// first one aside.
    fn grouped(&self, module: &Module) -> Vec<crate::ir::NodeId> {
        if module.inputs.len() + module.sizes.len() < 7 || module.scope == crate::ir::ROOT {
            return vec![];
        }
        let kind = |node: crate::ir::NodeId| self.graph.node(node).ty.kind;
        let nodes: Vec<crate::ir::NodeId> = module.inputs.iter().map(|port| port.node).collect();
        let alike = |own: &crate::ir::NodeId| nodes.iter().filter(|other| kind(**other) == kind(*own)).count();
        let Some(most) = nodes.iter().map(alike).max() else { return vec![] };
        let Some(common) = nodes.iter().find(|own| alike(own) == most).map(|own| kind(*own)) else { return vec![] };
        nodes.into_iter().filter(|own| kind(*own) == common).skip(1).collect()
    }

    /// Whether the results of a module are so many, of one type, that they are an array rather than a tuple.
    fn is_array(&self, module: &Module) -> bool {
        let kind = |node: &crate::ir::NodeId| self.graph.node(*node).ty.kind;
        let first = module.outputs.first().map(kind);
        module.outputs.len() > 4 && module.outputs.iter().all(|output| Some(kind(output)) == first)
    }

    /// Whether a module holds tensors.
    fn has_backend(&self, module: &Module) -> bool {
        module.fields.iter().flat_map(|field| &field.elements).any(|element| match &element.part {
            super::structure::Part::Layer { .. } => true,
            super::structure::Part::Module { module, .. } => {
                self.structure.module(*module).is_some_and(|module| self.has_backend(module))
            }
        })
    }

    /// What a backend has to be for code that runs layers.
    fn backend(&self) -> TokenStream {
        if self.options.kernels { quote!(Kernels) } else { quote!(Backend) }
    }

    fn needs_device(&self, module: &Module) -> bool {
        needs_device(self.graph, self.structure, module)
    }

    fn takes_device(&self, module: &Module) -> bool {
        takes_device(self.graph, self.structure, module)
    }

    /// What the modules use.
    fn header(&self, text: &str) -> String {
        let used = |item: &str| {
            text.match_indices(item).any(|(at, _)| {
                let before = text.get(..at).and_then(|before| before.chars().next_back());
                let after = text.get(at + item.len()..).and_then(|after| after.chars().next());
                let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
                !part(before) && !part(after)
            })
        };
        let mut uses: IndexMap<&'static str, Vec<String>> = IndexMap::new();
        let activation = text.contains("activation::").then_some("activation");
        let imports = self.imports.iter().map(String::as_str).filter(|item| used(item));
        for item in imports.chain(activation) {
            if let Some(path) = burn::path_of(item) {
                uses.entry(path).or_default().push(item.to_owned());
            }
        }
        uses.sort_keys();
        let mut lines = vec![];
        match (used("Function"), used("Kernels")) {
            (true, true) => lines.push("use super::kernels::{Function, Kernels};".to_owned()),
            (true, false) => lines.push("use super::kernels::Function;".to_owned()),
            (false, true) => lines.push("use super::kernels::Kernels;".to_owned()),
            (false, false) => {}
        }
        if !self.helpers.is_empty() && used("ops") {
            lines.push("use super::ops;".to_owned());
        }
        let own: Vec<&str> = self.own_types.iter().copied().collect();
        match own.as_slice() {
            [] => {}
            [only] => lines.push(format!("use super::ops::{only};")),
            many => lines.push(format!("use super::ops::{{{}}};", many.join(", "))),
        }
        for (path, mut items) in uses {
            items.sort();
            match items.as_slice() {
                [only] => lines.push(format!("use {path}::{only};")),
                many => lines.push(format!("use {path}::{{{}}};", many.join(", "))),
            }
        }
        lines.push("use burn::prelude::*;".to_owned());
        lines.join("\n") + "\n"
    }
}

/// An identifier, raw where Rust has a word of that name.
fn ident(name: &str) -> Ident {
    match syn::parse_str::<Ident>(name) {
        Ok(ident) => ident,
        Err(_) if matches!(name, "self" | "Self" | "super" | "crate" | "_") => format_ident!("{name}_"),
        Err(_) => Ident::new_raw(name, Span::call_site()),
    }
}

/// Documentation, line by line.
fn docs(text: &str) -> TokenStream {
    let lines = text.lines().map(|line| if line.is_empty() { String::new() } else { format!(" {line}") });
    quote!(#(#[doc = #lines])*)
}
