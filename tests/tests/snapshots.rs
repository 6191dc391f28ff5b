//! Texts that people read, with the sources they come from: graphs, parameters and reports.
//!
//! `INSTA_UPDATE=always cargo test -p archc-tests --test snapshots` writes them anew; read the difference.

use archc_compiler::emit::pytorch;
use archc_compiler::emit::rust::{Options as Emit, emit_single};
use archc_compiler::{Compiled, FileId, Options, compile};
use archc_tests::corpus;
use archc_tests::report::report;
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

/// Every published network at its full size, with a place for each of its parameters.
#[test]
fn published_networks_are_emitted_for_pytorch() {
    let reference = corpus::root().join("tests/reference/tiny");
    let mut written = 0;
    for entry in std::fs::read_dir(reference).expect("the reference") {
        let folder = entry.expect("a folder");
        let id = folder.file_name().to_string_lossy().into_owned();
        let case = std::fs::read_to_string(folder.path().join("spec.yaml")).expect("a description");
        let name = case.lines().find_map(|line| line.strip_prefix("spec: ")).expect("a spec");
        let compiled = spec(&format!("specs/{name}"), Some(&id), &[]);
        let text = emitted_pytorch(&compiled);
        assert!(text.contains("OUTPUTS = (\"out\","), "{id} has no model");
        written += 1;
    }
    assert_eq!(written, 23);
}
