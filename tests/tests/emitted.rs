//! Emitted Rust is the same network: the small configurations of all published networks are written as modules, compiled
//! in one test crate, and compared with the released code.
//!
//! That crate, `tests/emitted`, is built by cargo in the target folder of the workspace, with the same selection of packages,
//! so that Burn is not compiled again.

use archc_compiler::emit::rust::{Options as Emit, sources};
use archc_compiler::source::Files;
use archc_compiler::{FileId, Options, compile};
use archc_tests::corpus::root;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// `tests/reference/tiny/<id>/spec.yaml`
#[derive(Deserialize)]
struct Case {
    spec: String,
    tiny: BTreeMap<String, String>,
}

fn ids() -> Vec<String> {
    let folders = std::fs::read_dir(root().join("tests/reference/tiny")).expect("the reference");
    let mut ids: Vec<String> =
        folders.map(|entry| entry.expect("a folder").file_name().to_string_lossy().into_owned()).collect();
    ids.sort();
    ids
}

/// Writes a file if its text is another one, so that cargo does not compile it again.
fn write(path: &Path, text: &str) {
    if std::fs::read_to_string(path).is_ok_and(|old| old == text) {
        return;
    }
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, text).expect("a file");
}

/// Networks that are also written with kernels: maps, convolutions, both norms, every kind of attention.
const WITH_KERNELS: [&str; 4] = ["clip_vit_l_text", "dit_s_2", "pixart_alpha", "sd15_unet"];

/// Writes the modules of a network and the test that compares them.
fn emit(id: &str, kernels: bool, folder: &Path) -> Result<(), String> {
    let case = std::fs::read_to_string(root().join("tests/reference/tiny").join(id).join("spec.yaml"));
    let case: Case = serde_yaml::from_str(&case.expect("a description")).expect("a description");
    let settings: Vec<_> = case
        .tiny
        .iter()
        .map(|(name, value)| {
            let value = archc_grammar::parse_expression(value, FileId(0)).expect("an expression");
            (Arc::from(&**name), value)
        })
        .collect();
    let specs = Files::under(root().join("specs"));
    let compiled = compile(&case.spec, Some(id), &settings, &specs, &Options::default()).expect("a model");
    let graph = compiled.graph.expect("a graph");
    // Gradients are compared without random masks.
    let options = Emit { masks: false, kernels, ..Emit::default() };
    let sources = sources(&graph, &compiled.program, options).map_err(|error| format!("{id}: {error}"))?;
    let mut checks = String::new();
    let mut arguments = vec![];
    for input in &graph.inputs {
        let used = sources.inputs.iter().find(|own| own.input == input.name);
        let Some(used) = used else { continue };
        let how = if graph.node(input.node).ty.kind.is_index() { "classes" } else { "input" };
        let _ = writeln!(checks, "    let {} = case.{how}(\"{}\");", used.name, input.name);
        arguments.push(used.name.clone());
    }
    let outputs: Vec<String> = graph.outputs.iter().map(|output| output.name.to_string()).collect();
    let pattern = if outputs.len() == 1 { "out".to_owned() } else { format!("({})", outputs.join(", ")) };
    let _ = writeln!(checks, "    let {pattern} = model.forward({});", arguments.join(", "));
    for output in &outputs {
        let name = if output == "out" { "out".to_owned() } else { format!("out.{output}") };
        let _ = writeln!(checks, "    case.output(\"{name}\", &{output});");
    }
    let names: Vec<String> = sources
        .checkpoint
        .names
        .iter()
        .map(|name| format!("    (\"{}\", \"{}\"),\n", name.published, name.place))
        .collect();
    let count: u64 = graph.parameters.iter().map(|parameter| parameter.elements()).sum();
    let model = &sources.model;
    let kernels = if kernels { "use super::kernels;\n" } else { "" };
    let module = format!(
        "pub mod model;\npub mod ops;\npub mod weights;\n\nuse archc_emitted::{{B, Case}};\n{kernels}
const NAMES: &[(&str, &str)] = &[\n{}];\n
pub fn check() {{
    let mut case = Case::open(\"{id}\");
    let model = model::{model}Config::new().init::<B>(&Default::default());
    let model = weights::load(model, case.weights()).expect(\"weights that fit\");
{checks}    case.gradients(&model, out, NAMES, {count});
    case.conclude();
}}\n",
        names.concat(),
    );
    write(&folder.join("mod.rs"), &module);
    write(&folder.join("model.rs"), &sources.modules);
    write(&folder.join("ops.rs"), &sources.ops);
    write(&folder.join("weights.rs"), &sources.weights);
    for (name, text) in &sources.kernels {
        write(&folder.with_file_name("kernels").join(name), text);
    }
    Ok(())
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

#[test]
fn emitted_networks_are_the_released_ones() {
    let folder = target().join("emitted");
    let (mut modules, mut problems) = (String::new(), vec![]);
    let only = std::env::var("ARCHC_ONLY").ok();
    let mut emitted: Vec<(String, bool)> = ids().into_iter().map(|id| (id, false)).collect();
    emitted.extend(WITH_KERNELS.map(|id| (id.to_owned(), true)));
    emitted.retain(|(id, _)| only.as_ref().is_none_or(|only| only.split(',').any(|own| own == id)));
    for (id, kernels) in &emitted {
        let name = if *kernels { format!("{id}_with_kernels") } else { id.clone() };
        if let Err(problem) = emit(id, *kernels, &folder.join(&name)) {
            problems.push(problem);
            continue;
        }
        let path = folder.join(&name).join("mod.rs");
        let _ = writeln!(modules, "#[path = {path:?}]\nmod {name};\n");
        let _ = writeln!(modules, "#[test]\nfn {name}_equals_the_released_code() {{\n    {name}::check();\n}}\n");
    }
    if emitted.iter().any(|(_, kernels)| *kernels) {
        let path = folder.join("kernels").join("mod.rs");
        let _ = writeln!(modules, "#[path = {path:?}]\npub mod kernels;\n");
    }
    write(&folder.join("networks.rs"), &modules);
    assert!(cargo("test", &folder, &[]), "emitted networks do not compile or are not the same");
    // Clippy is no part of a minimal toolchain.
    if Command::new(env!("CARGO")).args(["clippy", "--version"]).output().is_ok_and(|found| found.status.success()) {
        // Shapes are known where they are indexed, and types have the names of the blocks.
        let but = ["clippy::indexing_slicing", "clippy::upper_case_acronyms"].map(|lint| format!("-A{lint}"));
        let flags: Vec<&str> = ["--", "-Dwarnings"].into_iter().chain(but.iter().map(String::as_str)).collect();
        assert!(cargo("clippy", &folder, &flags), "clippy finds fault with emitted networks");
    }
    assert_eq!(problems, Vec::<String>::new());
}

/// Runs a command of cargo on the test crate with the emitted networks; whether it succeeds.
fn cargo(command: &str, networks: &Path, flags: &[&str]) -> bool {
    let run = Command::new(env!("CARGO"))
        .args([command, "--offline", "--workspace", "--features", "archc-emitted/generated", "--test", "networks"])
        .args(flags)
        .current_dir(root())
        .env("ARCHC_EMITTED", networks)
        .status();
    run.expect("cargo runs").success()
}
