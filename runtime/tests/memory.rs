//! What loading weights costs: the model, and one tensor at a time beside it.
#![cfg(target_os = "linux")]

use archc_compiler::{Options, compile};
use archc_runtime::tensors::TensorFile;
use archc_runtime::{Device, Weights, open};
use std::io::Write;
use std::sync::Arc;

// As in the program. The system allocator keeps what is freed between what is not.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MIB: u64 = 1 << 20;

/// Most bytes that this process has had in memory.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number");
    kib * 1024
}

#[test]
fn loading_takes_the_model_and_one_tensor_more() {
    let source = "model Stack(x: vector[2048]) -> vector[2048] {
    let h = x
    for i in 0..6 { h = h -> linear(2048, bias: false) @layers.{i} }
    let y = h
    for i in 0..6 { y = y + (h -> linear(2048, bias: false) @merged.{i}) }
    y
}
";
    let compiled = compile("stack.arch", None, &[], &[("stack.arch", source)], &Options::default()).expect("a model");
    let graph = Arc::new(compiled.graph.expect("a graph"));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("weights.safetensors");
    let size = 2048 * 2048 * 4_u64;
    let entry = |(at, parameter): (usize, &archc_compiler::ir::Parameter)| {
        let start = at as u64 * size;
        let name = &parameter.path;
        format!(r#""{name}":{{"dtype":"F32","shape":[2048,2048],"data_offsets":[{start},{}]}}"#, start + size)
    };
    let entries: Vec<String> = graph.parameters.iter().enumerate().map(entry).collect();
    let header = format!("{{{}}}", entries.join(","));
    let mut file = std::fs::File::create(&path).expect("a file");
    file.write_all(&(header.len() as u64).to_le_bytes()).expect("a length");
    file.write_all(header.as_bytes()).expect("a header");
    let model = size * graph.parameters.len() as u64;
    // Zeros that nobody has to write.
    file.set_len(8 + header.len() as u64 + model).expect("a length");

    let before = peak();
    let file = TensorFile::open(&path).expect("tensors");
    let session = open(&graph, Device::Cpu, Weights::File(&file)).expect("weights that fit");
    session.materialize();
    let grown = peak() - before;
    assert!(grown > model / 2, "the model itself takes {} MiB, and {} MiB were seen", model / MIB, grown / MIB);
    // The program itself, and what the allocator keeps for later.
    let most = model + size + 48 * MIB;
    assert!(grown < most, "loading {} MiB took {} MiB", model / MIB, grown / MIB);
}
