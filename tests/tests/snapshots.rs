//! Texts that people read, with the sources they come from: graphs, parameters and reports.
//!
//! `INSTA_UPDATE=always cargo test -p archc-tests --test snapshots` writes them anew; read the difference.

use archc_compiler::emit::pytorch;
use archc_compiler::emit::rust::{Options as Emit, emit_single};
use archc_compiler::{Compiled, FileId, Options, compile, library};
use archc_grammar::ast::ItemKind;
use archc_grammar::parse;
use archc_tests::corpus;
use archc_tests::report::report;
use std::collections::BTreeMap;
use std::fmt::Write;

/// A spec with small settings.
fn spec(name: &str, target: Option<&str>, settings: &[(&str, &str)]) -> Compiled {
    let text = corpus::read(name);
    let settings: Vec<_> = settings
        .iter()
        .map(|(name, value)| {
            let value = archc_grammar::parse_expression(value, FileId(u32::MAX));
            ((*name).into(), value.expect("a setting is an expression"))
        })
        .collect();
    compile(name, target, &settings, &[(name, text.as_str())], &Options::default()).expect("the spec is there")
}

fn ir(compiled: &Compiled) -> String {
    let said = report(&compiled.diagnostics, &compiled.program.sources);
    compiled.graph.as_ref().map_or(said, |graph| graph.to_text())
}

#[test]
fn dit() {
    let settings = [("depth", "3"), ("dim", "32"), ("heads", "2"), ("size", "8"), ("classes", "10")];
    insta::assert_snapshot!(ir(&spec("specs/dit.arch", Some("dit_s_2"), &settings)));
}

#[test]
fn ddpm() {
    let settings = [("widths", "[32, 64]"), ("attention", "[false, false]"), ("layers", "1"), ("H", "8"), ("W", "8")];
    insta::assert_snapshot!(ir(&spec("specs/ddpm.arch", None, &settings)));
}

/// One line for each operation, as `archc ir --flat` prints it.
#[test]
fn flat() {
    let source = "use std.transformer.{Attention}

model Block(x: tokens[N, 32], c: vector[8]) -> tokens[N, 32] {
    let [shift, scale, gate] = c -> silu() -> linear(3 * 32, init: zero) @modulation -> chunk(3)
    x -> residual(gate: gate) { layer_norm(affine: false) -> modulate(shift, scale) -> Attention(2) @attn }
}
";
    let compiled = compile("block.arch", None, &[], &[("block.arch", source)], &Options::default());
    let graph = compiled.ok().and_then(|compiled| compiled.graph).expect("nothing is wrong with it");
    insta::assert_snapshot!(format!("{source}\n----\n\n{}", graph.to_flat_text()));
}

/// Names, shapes and starts, in checkpoint order.
#[test]
fn parameters() {
    let settings = [("widths", "[32]"), ("attention", "[true]"), ("layers", "1"), ("H", "8"), ("W", "8")];
    let compiled = spec("specs/ddpm.arch", None, &settings);
    let graph = compiled.graph.expect("nothing is wrong with it");
    let mut table = String::new();
    for parameter in &graph.parameters {
        let shape: Vec<String> = parameter.shape.iter().map(u64::to_string).collect();
        let _ = writeln!(table, "{}\t{}\t{}", parameter.path, shape.join("x"), parameter.init);
    }
    insta::assert_snapshot!(table);
}

fn broken(name: &str) -> String {
    let compiled = spec(name, None, &[]);
    report(&compiled.diagnostics, &compiled.program.sources)
}

#[test]
fn additive_skip() {
    insta::assert_snapshot!(broken("specs/examples/additive_skip.arch"));
}

#[test]
fn dead_branch() {
    insta::assert_snapshot!(broken("specs/examples/dead_branch.arch"));
}

#[test]
fn missing_zero_init() {
    insta::assert_snapshot!(broken("specs/examples/missing_zero_init.arch"));
}

/// The example of the design: a skip that does not fit, with both places.
#[test]
fn a_skip_that_does_not_fit() {
    let source = "model UNet(x: image[8, 15, 16]) {
    skip long(fuse: add)
    long <- x
    let h = x -> conv2d(8, kernel: 3, stride: 2) @down -> silu()
    h -> upsample(2) -> join(long)
}
";
    let compiled = compile("unet.arch", None, &[], &[("unet.arch", source)], &Options::default());
    let compiled = compiled.expect("the source is there");
    insta::assert_snapshot!(report(&compiled.diagnostics, &compiled.program.sources));
}

/// The code of a model as `archc build --stdout` prints it.
fn emitted(compiled: &Compiled) -> String {
    let graph = compiled.graph.as_ref().expect("nothing is wrong with it");
    emit_single(graph, &compiled.program, Emit::default()).expect("it can be written")
}

#[test]
fn emitted_dit() {
    insta::assert_snapshot!(emitted(&spec("specs/dit.arch", Some("dit_s_2"), &[])));
}

#[test]
fn emitted_ddpm() {
    insta::assert_snapshot!(emitted(&spec("specs/ddpm.arch", None, &[])));
}

/// What no published network and no example needs.
const REST: &str = "
use std.diffusers.{VectorEmbedding}
use std.edm.{FourierEmbedding, FusedDownsample}
use std.noise.{log_snr_linear, log_snr_scaled_linear, log_snr_ve, log_snr_flow}
use std.skip.{token_projection}

model Rest(x: image[4, 8, 8], t: scalar, sigma: scalar, class: vector[6]) -> (tokens[16, 8], vector[8]) {
    let low = x -> FusedDownsample(8) @low
    let tokens = token_projection(low -> to_tokens(), low -> silu() -> to_tokens()) @fusion
    let levels = t -> log_snr_linear() + t -> log_snr_scaled_linear() + sigma -> log_snr_ve() + t -> log_snr_flow()
    (tokens, levels -> FourierEmbedding(8) @noise + class -> VectorEmbedding(8, \"projection\", 8) @class)
}
";

/// The code of each block of the standard library, file by file, as it is first needed by one of the published networks or of
/// the examples of mechanisms.
#[test]
fn emitted_standard_library() {
    let mut structs: BTreeMap<String, String> = BTreeMap::new();
    let mut models: Vec<_> = networks().iter().map(|(file, target)| spec(file, target.as_deref(), &[])).collect();
    let rest = compile("rest.arch", None, &[], &[("rest.arch", REST)], &Options::default());
    models.push(rest.expect("the source is there"));
    for model in &models {
        for (name, code) in blocks(&emitted(model)) {
            structs.entry(name).or_insert(code);
        }
    }
    for (module, source) in library::STD {
        let mut text = String::new();
        for item in parse(source, FileId(0)).file.items {
            let ItemKind::Definition(definition) = item.kind else { continue };
            let name = &definition.name.text;
            match names(name).iter().find_map(|name| structs.get(name)) {
                Some(code) => text.push_str(code),
                None => text.push_str(&format!("// `{name}` is written where it is used.\n")),
            }
            text.push('\n');
        }
        insta::assert_snapshot!(format!("emitted_std_{module}"), text);
    }
}

/// Files of published networks with the names of their presets, then the examples of mechanisms.
fn networks() -> Vec<(String, Option<String>)> {
    let mut all: Vec<_> = published().into_iter().map(|(file, id)| (file, Some(id))).collect();
    all.extend(corpus::files("specs/examples/mechanisms", "arch").into_iter().map(|file| (file, None)));
    all
}

/// Structs of an emitted model with their configs, and its functions, by name.
fn blocks(code: &str) -> Vec<(String, String)> {
    let is_start = |line: &str| line.starts_with("    #[derive(Module, Debug)]") || line.starts_with("    pub fn ");
    let mut found: Vec<Vec<&str>> = vec![vec![]];
    let mut comment = vec![];
    for line in code.lines() {
        // An item begins with its comment; a module ends with a brace at the margin.
        if line.starts_with("    ///") {
            comment.push(line);
            continue;
        }
        if is_start(line) || line == "}" {
            found.push(vec![]);
        }
        if let Some(item) = found.last_mut() {
            item.append(&mut comment);
            item.push(line);
        }
    }
    let named = |lines: Vec<&str>| {
        let header = lines.iter().map(|line| line.trim()).find(|line| line.starts_with("pub "))?;
        let name = header.split([' ', '<', '(']).nth(2)?.to_owned();
        let text: Vec<&str> = lines.iter().map(|line| line.strip_prefix("    ").unwrap_or(line)).collect();
        Some((name, text.join("\n").trim_end().to_owned() + "\n"))
    };
    found.into_iter().skip(1).filter_map(named).collect()
}

/// Names under which a block may have been emitted: that of a struct is in upper case, and has a number where it is taken.
fn names(block: &str) -> [String; 4] {
    let word = |word: &str| word.get(..1).unwrap_or_default().to_uppercase() + word.get(1..).unwrap_or_default();
    let upper: String = block.split('_').map(word).collect();
    [block.to_owned(), upper.clone(), format!("{block}2"), format!("{upper}2")]
}

/// The code of a model as `archc build --target pytorch --stdout` prints it.
fn emitted_pytorch(compiled: &Compiled) -> String {
    let graph = compiled.graph.as_ref().expect("nothing is wrong with it");
    pytorch::emit_single(graph, &compiled.program, pytorch::Options::default()).expect("it can be written")
}

#[test]
fn emitted_pytorch_dit() {
    insta::assert_snapshot!(emitted_pytorch(&spec("specs/dit.arch", Some("dit_s_2"), &[])));
}

#[test]
fn emitted_pytorch_ddpm() {
    insta::assert_snapshot!(emitted_pytorch(&spec("specs/ddpm.arch", None, &[])));
}

/// Sizes that the spec knows, and those of another image.
#[test]
fn emitted_resizing() {
    let source = "model Pair(x: image[3, H, W], like: image[3, K, L]) -> image[6, K, L] {
    concat(x -> resize(K, L), like) -> resize(8, 6) -> conv2d(6, kernel: 3) @map -> resize(K, L)
}
";
    let compiled = compile("pair.arch", None, &[], &[("pair.arch", source)], &Options::default());
    let compiled = compiled.expect("the source is there");
    insta::assert_snapshot!(format!("{source}\n{}\n{}", emitted(&compiled), emitted_pytorch(&compiled)));
}

/// The script that trains a model and its process, and a process that learns variances.
#[test]
fn emitted_pytorch_training() {
    let file = |compiled: &Compiled, name: &str| {
        let graph = compiled.graph.as_ref().expect("nothing is wrong with it");
        let files = pytorch::emit(graph, &compiled.program, pytorch::Options::default()).expect("it can be written");
        files.into_iter().find(|(path, _)| path.ends_with(name)).expect("it is trained").1
    };
    let (digits, dit) =
        (spec("specs/examples/digits_dit.arch", None, &[]), spec("specs/dit.arch", Some("dit_s_2"), &[]));
    insta::assert_snapshot!(format!(
        "# process.py\n{}\n\n# train.py\n{}\n\n# process.py of dit_s_2\n{}",
        file(&digits, "process.py"),
        file(&digits, "train.py"),
        file(&dit, "process.py")
    ));
}

/// Every published network at its full size, with a place for each of its parameters.
#[test]
fn published_networks_are_emitted_for_pytorch() {
    let networks = published();
    for (file, id) in &networks {
        let text = emitted_pytorch(&spec(file, Some(id), &[]));
        assert!(text.contains("OUTPUTS = (\"out\","), "{id} has no model");
    }
    assert_eq!(networks.len(), 25);
}

/// Files of the networks that there is reference data for, and their presets.
fn published() -> Vec<(String, String)> {
    let reference = corpus::root().join("tests/reference/tiny");
    let mut found = vec![];
    for entry in std::fs::read_dir(reference).expect("the reference") {
        let folder = entry.expect("a folder");
        let id = folder.file_name().to_string_lossy().into_owned();
        let case = std::fs::read_to_string(folder.path().join("spec.yaml")).expect("a description");
        let name = case.lines().find_map(|line| line.strip_prefix("spec: ")).expect("a spec");
        found.push((format!("specs/{name}"), id));
    }
    found.sort();
    found
}
