//! The files of a crate around the modules.

use super::{Crate, Options, Sources};
use crate::emit::EmitError;
use crate::emit::checkpoint::Checkpoint;
use crate::emit::structure::Structure;
use crate::emit::values::rank;
use crate::ir::Graph;
use crate::types::{Axis, Kind};
use std::fmt::Write;

/// How the source of a crate begins.
fn about(graph: &Graph) -> String {
    let docs = if graph.docs.is_empty() {
        format!("`{}`: the model {}.", graph.name(), graph.model)
    } else {
        graph.docs.clone()
    };
    docs.lines().map(|line| format!("//! {line}").trim_end().to_owned() + "\n").collect()
}

pub(super) fn single(graph: &Graph, sources: &Sources) -> String {
    let indent = |text: &str| {
        text.lines()
            .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") })
            .collect::<String>()
    };
    format!(
        "{}\npub mod model {{\n{}}}\n\npub mod ops {{\n{}}}\n\npub mod weights {{\n{}}}\n",
        about(graph),
        indent(&sources.modules),
        indent(&sources.ops),
        indent(&sources.weights)
    )
}

/// Loading the published weights.
pub(super) fn weights(graph: &Graph, structure: &Structure, checkpoint: &Checkpoint) -> String {
    let model = structure.module(structure.root).map(|root| root.name.clone()).unwrap_or_default();
    let mut patterns = String::new();
    for rename in &checkpoint.renames {
        let (from, to) = rename.pattern();
        let _ = writeln!(patterns, "    (r\"{from}\", \"{to}\"),");
    }
    let has_scalars = graph.parameters.iter().any(|parameter| parameter.shape.is_empty());
    let (scalars, adapter, extra) = match has_scalars {
        true => (SCALARS, "Scalars.chain(PyTorchToBurnAdapter)", ", ModuleAdapter, TensorSnapshot"),
        false => ("", "PyTorchToBurnAdapter", ""),
    };
    WEIGHTS
        .replace("$EXTRA", extra)
        .replace("$SCALARS", scalars)
        .replace("$ADAPTER", adapter)
        .replace("$COUNT", &checkpoint.renames.len().to_string())
        .replace("$PATTERNS", &patterns)
        .replace("$MODEL", &model)
}

const WEIGHTS: &str = r#"//! Weights by the names they are published under.

use super::model::$MODEL;
use burn::prelude::*;
use burn_store::{KeyRemapper, ModuleSnapshot, PyTorchToBurnAdapter, SafetensorsStore$EXTRA};
use std::error::Error;
use std::path::Path;

/// Published names, as regular expressions, and the fields they stand for; applied one after the other.
const NAMES: [(&str, &str); $COUNT] = [
$PATTERNS];

/// Loads a safetensors file in the layout of PyTorch. Missing, misshapen and surplus tensors are errors.
pub fn load<B: Backend>(mut model: $MODEL<B>, path: impl AsRef<Path>) -> Result<$MODEL<B>, Box<dyn Error>> {
    let names = KeyRemapper::from_patterns(NAMES.to_vec()).map_err(|error| error.to_string())?;
    let mut store = SafetensorsStore::from_file(path.as_ref()).with_from_adapter($ADAPTER).remap(names);
    let result = model.load_from(&mut store)?;
    // Weights of norms have another name in Burn, and count as unused under their own.
    let renamed = |name: &String| {
        let mut other = name.strip_suffix(".weight").map(|name| format!("{name}.gamma"));
        other = other.or_else(|| name.strip_suffix(".bias").map(|name| format!("{name}.beta")));
        other.is_some_and(|other| result.applied.contains(&other))
    };
    match result.unused.iter().find(|name| !renamed(name)) {
        Some(name) => Err(format!("the file holds `{name}`, which this model does not have").into()),
        None => Ok(model),
    }
}
$SCALARS"#;

const SCALARS: &str = r#"
/// Numbers without an axis, which Burn keeps with one.
#[derive(Clone)]
struct Scalars;

impl ModuleAdapter for Scalars {
    fn adapt(&self, snapshot: &TensorSnapshot) -> TensorSnapshot {
        if snapshot.shape.num_dims() > 0 {
            return snapshot.clone();
        }
        let data = snapshot.clone_data_fn();
        TensorSnapshot::from_closure(
            std::rc::Rc::new(move || data().map(|data| TensorData { shape: Shape::new([1]), ..data })),
            snapshot.dtype,
            Shape::new([1]),
            snapshot.path_stack.clone().unwrap_or_default(),
            snapshot.container_stack.clone().unwrap_or_default(),
            snapshot.tensor_id.unwrap_or_default(),
        )
    }

    fn clone_box(&self) -> Box<dyn ModuleAdapter> {
        Box::new(self.clone())
    }
}
"#;

pub(super) fn assemble(graph: &Graph, sources: &Sources, options: Options) -> Result<Crate, EmitError> {
    let name = package_name(graph.name());
    let mut files = vec![
        ("Cargo.toml".to_owned(), manifest(&name, options)),
        ("README.md".to_owned(), readme(graph, sources, &name, options)),
        ("src/lib.rs".to_owned(), library(graph, sources)),
        ("src/model.rs".to_owned(), format!("{}\n{}", about(graph), sources.modules)),
        ("src/ops.rs".to_owned(), sources.ops.clone()),
        ("src/weights.rs".to_owned(), sources.weights.clone()),
        ("tests/model.rs".to_owned(), test(graph, sources, &name)?),
    ];
    files.extend(sources.kernels.iter().map(|(name, text)| (format!("src/kernels/{name}"), text.clone())));
    if options.program {
        files.push(("src/main.rs".to_owned(), program(graph, sources, &name)));
    }
    Ok(Crate { files })
}

/// The name of a package: a word that starts with a letter and is no word of Rust, nor the name of a crate it needs.
pub fn package_name(name: &str) -> String {
    const TAKEN: [&str; 11] =
        ["test", "core", "std", "alloc", "burn", "burn_flex", "burn_store", "build", "deps", "gemm", "rayon"];
    let name = crate::emit::names::field_name(name);
    let plain = name.trim_start_matches('_');
    let is_word = syn::parse_str::<proc_macro2::Ident>(plain).is_ok() && !TAKEN.contains(&plain);
    if is_word { plain.to_owned() } else { format!("model_{plain}") }
}

fn manifest(name: &str, options: Options) -> String {
    let burn = options.version.requirement();
    let (features, kernels) = match options.kernels {
        true => ("\n[features]\ncuda = [\"burn/cuda\"]\n", KERNELS.replace("$BURN", burn)),
        false => ("", String::new()),
    };
    format!(
        r#"[package]
name = "{name}"
version = "0.1.0"
edition = "2024"
{features}
[dependencies]
burn = {{ version = "{burn}", default-features = false, features = ["std", "autodiff", "flex", "simd"] }}
# Threads and wide instructions on the CPU.
burn-flex = {{ version = "{burn}", default-features = false, features = ["std", "simd", "rayon", "x86-v4"] }}
burn-store = {{ version = "{burn}", default-features = false, features = ["std", "safetensors"] }}
{kernels}
# The tensor library is unusable without optimisation.
[profile.dev.package."*"]
opt-level = 3
debug = false

[workspace]
"#
    )
}

/// What kernels are built on.
const KERNELS: &str = r#"# Kernels: gradients, matrix products, threads, and loops for several widths of vectors.
burn-autodiff = { version = "$BURN", default-features = false, features = ["std"] }
gemm = { version = "0.19", default-features = false, features = ["std", "rayon", "x86-v4"] }
multiversion = "0.9"
rayon = "1.12"
"#;

fn library(graph: &Graph, sources: &Sources) -> String {
    let model = &sources.model;
    let kernels = if sources.kernels.is_empty() { "" } else { "pub mod kernels;\n" };
    format!(
        "{}\n{kernels}pub mod model;\npub mod ops;\npub mod weights;\n\npub use model::{{{model}, {model}Config}};\n",
        about(graph)
    )
}

/// Inputs of the model that it uses, as statements that make some.
fn inputs(graph: &Graph, batch: usize) -> Option<(String, Vec<String>)> {
    let sizes = &graph.typical;
    let mut text = String::new();
    let mut names = vec![];
    let mut taken: Vec<String> = vec![];
    for input in &graph.inputs {
        let ty = &graph.node(input.node).ty;
        if !used(graph, input.node) {
            continue;
        }
        let name = crate::emit::names::unique(crate::emit::names::field_name(&input.name), &mut taken);
        let name = super::ident(&name).to_string();
        let mut shape = vec![batch.to_string()];
        let axes = ty.kind.axes().iter().zip(&ty.dims).filter(|(axis, _)| **axis != Axis::Class);
        for (_, dim) in axes {
            shape.push(dim.at(sizes)?.to_string());
        }
        let shape = shape.join(", ");
        let rank = rank(ty.kind);
        let value = match ty.kind {
            Kind::Label | Kind::Ids => format!("Tensor::<B, {rank}, Int>::ones([{shape}], &device)"),
            Kind::Mask => format!("Tensor::<B, {rank}>::ones([{shape}], &device)"),
            Kind::Timestep => format!("Tensor::<B, {rank}>::full([{shape}], 500.0, &device)"),
            Kind::Sigma => format!("Tensor::<B, {rank}>::ones([{shape}], &device)"),
            _ => format!("Tensor::<B, {rank}>::random([{shape}], Distribution::Normal(0.0, 1.0), &device)"),
        };
        let _ = writeln!(text, "    let {name} = {value};");
        names.push(name);
    }
    Some((text, names))
}

/// Whether anything that an output depends on uses an input.
fn used(graph: &Graph, node: crate::ir::NodeId) -> bool {
    let mut reached = vec![false; graph.node_count()];
    let mut next: Vec<crate::ir::NodeId> = graph.outputs.iter().map(|output| output.node).collect();
    while let Some(at) = next.pop() {
        if let Some(own) = reached.get_mut(at.index())
            && !*own
        {
            *own = true;
            next.extend(graph.operands(at));
        }
    }
    reached.get(node.index()).copied().unwrap_or(false)
}

/// Shapes of the outputs for inputs of the usual size, and how their tuple is taken apart.
fn outputs(graph: &Graph, batch: usize) -> Option<Vec<(String, Vec<u64>)>> {
    let shape = |node| {
        let ty = &graph.node(node).ty;
        let folds = ty.batch.folds.iter().map(|dim| dim.at(&graph.typical)).collect::<Option<Vec<_>>>()?;
        let mut shape = vec![batch as u64 * folds.into_iter().product::<u64>()];
        shape.extend(ty.shape_at(&graph.typical)?);
        Some(shape)
    };
    let named = graph.outputs.iter().map(|output| {
        let name = super::ident(&crate::emit::names::field_name(&output.name)).to_string();
        Some((name, shape(output.node)?))
    });
    named.collect()
}

fn pattern(outputs: &[(String, Vec<u64>)]) -> String {
    let names: Vec<&str> = outputs.iter().map(|(name, _)| name.as_str()).collect();
    match names.as_slice() {
        [only] => (*only).to_owned(),
        many => format!("({})", many.join(", ")),
    }
}

fn test(graph: &Graph, sources: &Sources, name: &str) -> Result<String, EmitError> {
    let model = &sources.model;
    let unsized_input = || EmitError("an input has a size that is not known; give it with `--set`".to_owned());
    let (inputs, names) = inputs(graph, 1).ok_or_else(unsized_input)?;
    let outputs = outputs(graph, 1).ok_or_else(unsized_input)?;
    // Burn counts buffers among the parameters.
    let count: u64 = graph.parameters.iter().map(|parameter| parameter.elements()).sum();
    let mut checks = String::new();
    for (name, shape) in &outputs {
        let _ = writeln!(checks, "    assert_eq!({name}.dims(), {shape:?});");
        let _ = writeln!(checks, "    assert!({name}.is_finite().all().into_scalar().to_bool());");
    }
    let random = if inputs.contains("Distribution::") { "use burn::tensor::Distribution;\n" } else { "" };
    Ok(format!(
        r#"//! The model is as large as its spec says, and runs.

use burn::backend::Flex;
use burn::prelude::*;
{random}use {name}::{model}Config;

type B = Flex;

#[test]
fn it_has_the_parameters_of_the_spec() {{
    let model = {model}Config::new().init::<B>(&Default::default());
    assert_eq!(model.num_params(), {count});
}}

#[test]
fn a_forward_pass_has_the_shape_of_the_spec() {{
    let device = Default::default();
    let model = {model}Config::new().init::<B>(&device);
{inputs}
    let {} = model.forward({});
{checks}}}
"#,
        pattern(&outputs),
        names.join(", ")
    ))
}

fn program(graph: &Graph, sources: &Sources, name: &str) -> String {
    let model = &sources.model;
    let Some((inputs, names)) = inputs(graph, 1) else { return String::new() };
    let outputs = outputs(graph, 1).unwrap_or_default();
    let mut prints = String::new();
    for (name, _) in &outputs {
        let _ = writeln!(
            prints,
            "    println!(\"{name} {{:?}}: mean {{:.4}}\", {name}.dims(), {name}.clone().mean().into_scalar());"
        );
    }
    let random = if inputs.contains("Distribution::") { "use burn::tensor::Distribution;\n" } else { "" };
    format!(
        r#"//! Runs the model on random inputs: `cargo run --release -- [WEIGHTS.safetensors]`.

use burn::backend::Flex;
use burn::prelude::*;
{random}use {name}::{{{model}Config, weights}};
use std::error::Error;

type B = Flex;

fn main() -> Result<(), Box<dyn Error>> {{
    let device = Default::default();
    let mut model = {model}Config::new().init::<B>(&device);
    if let Some(path) = std::env::args().nth(1) {{
        model = weights::load(model, path)?;
    }}
    println!("{model}: {{}} parameters", model.num_params());

{inputs}
    let {} = model.forward({});
{prints}    Ok(())
}}
"#,
        pattern(&outputs),
        names.join(", ")
    )
}

fn readme(graph: &Graph, sources: &Sources, name: &str, options: Options) -> String {
    let model = &sources.model;
    let run = if options.program { "cargo run --release -- weights.safetensors\n" } else { "" };
    let kernels = match options.kernels {
        true => "| `src/kernels` | the kernels that layers run on on a CPU; other devices run Burn's operations |\n",
        false => "",
    };
    format!(
        r#"# {name}

{}

{} parameters, on [Burn](https://burn.dev) {}.

```console
{run}cargo test --release
```

```rust
let model = {model}Config::new().init::<Flex>(&device);
let model = {name}::weights::load(model, "weights.safetensors")?;
```

`{model}Config` holds the hyperparameters, with the values of the spec as defaults. Which layers there are is fixed: lists
whose length is a hyperparameter grow and shrink with it, other lengths, optional parts and activations stay as they are.
Weights are read by their published names from safetensors files.

| file | holds |
|---|---|
| `src/model.rs` | the model and its blocks |
| `src/ops.rs` | what Burn lacks |
{kernels}| `src/weights.rs` | loading of published weights |
| `tests/model.rs` | parameter count and a forward pass |

Written by archc from a spec; it is yours to change, and depends on nothing but Burn.
"#,
        graph.docs,
        graph.parameter_elements(),
        options.version.requirement().trim_start_matches('='),
    )
}
