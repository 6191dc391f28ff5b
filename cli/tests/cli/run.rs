//! `archc run`: numbers of a model, and what is refused before any are computed.

use super::{CLEAN, FAILURE, FINDINGS, Folder, NET};
use archc_runtime::tensors::TensorFile;
use std::fmt::Write;

/// A safetensors file by hand, so that it can be wrong.
fn safetensors(tensors: &[(&str, &str, &[usize], usize)]) -> Vec<u8> {
    let (mut header, mut end) = (String::new(), 0);
    for (name, dtype, shape, bytes) in tensors {
        let comma = if header.is_empty() { "" } else { "," };
        let _ = write!(
            header,
            "{comma}\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[{end},{}]}}",
            end + bytes
        );
        end += bytes;
    }
    let header = format!("{{{header}}}");
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.bytes());
    // Every element is 0.5 as an f32.
    file.extend(std::iter::repeat_n(0.5_f32.to_le_bytes(), end.div_ceil(4)).flatten());
    file
}

fn weights() -> Vec<u8> {
    safetensors(&[("head.weight", "F32", &[2, 4], 32), ("head.bias", "F32", &[2], 8)])
}

fn inputs() -> Vec<u8> {
    safetensors(&[("in.x", "F32", &[3, 4], 48)])
}

fn folder(files: &[(&str, Vec<u8>)]) -> Folder {
    let folder = Folder::with(&[("net.arch", NET)]);
    for (name, bytes) in files {
        std::fs::write(folder.path(name), bytes).expect("a file");
    }
    folder
}

#[test]
fn weights_and_inputs_give_the_outputs() {
    let folder = folder(&[("w.safetensors", weights()), ("x.safetensors", inputs())]);
    let arguments = ["run", "net.arch", "--weights", "w.safetensors", "--inputs", "x.safetensors"];
    let more = ["--output", "y.safetensors", "--gradients", "--mid", "head"];
    folder.archc(&[&arguments[..], &more[..]].concat()).expect(CLEAN);
    let file = TensorFile::open(&folder.path("y.safetensors")).expect("a file");
    let tensors = file.tensors().expect("tensors");
    assert_eq!(tensors.names(), ["grad.head.bias", "grad.head.weight", "grad.in.x", "loss", "mid.head", "out"]);
    // 4 * 0.5 * 0.5 + 0.5 everywhere; its square is the loss.
    let read = |name| tensors.read(name).expect("a tensor");
    assert_eq!((read("out").shape.clone(), read("out").to_f32()), (vec![3, 2], vec![1.5; 6]));
    assert_eq!(read("loss").to_f32(), [2.25]);
    // d loss / d bias = 2 * 1.5 * 3 / 6
    assert_eq!(read("grad.head.bias").to_f32(), [1.5, 1.5]);
    assert_eq!(read("grad.head.weight").shape, [2, 4]);
    assert_eq!(read("mid.head").to_f32(), read("out").to_f32());
}

#[test]
fn the_seed_decides_the_numbers() {
    let folder = folder(&[]);
    let out = |seed: &str, name: &str| {
        folder.archc(&["run", "net.arch", "--seed", seed, "--output", name]).expect(CLEAN);
        std::fs::read(folder.path(name)).expect("a file")
    };
    assert_eq!(out("1", "a.safetensors"), out("1", "b.safetensors"));
    assert_ne!(out("1", "a.safetensors"), out("2", "b.safetensors"));
}

#[test]
fn weights_that_do_not_fit_are_listed_together() {
    let wrong = safetensors(&[("head.weight", "F32", &[4, 2], 32), ("head.scale", "F32", &[2], 8)]);
    let integers = safetensors(&[("head.weight", "I32", &[2, 4], 32), ("head.bias", "F32", &[2], 8)]);
    let folder = folder(&[("wrong.safetensors", wrong), ("integers.safetensors", integers)]);
    folder.archc(&["run", "net.arch", "--weights", "wrong.safetensors", "--output", "y.safetensors"]).fails_with(&[
        "`head.weight` is [4, 2], the model has [2, 4]",
        "missing: `head.bias`",
        "left over: `head.scale`",
    ]);
    folder.archc(&["run", "net.arch", "--weights", "integers.safetensors"]).fails_with(&["`head.weight`", "I32"]);
    assert_eq!(folder.names(), ["integers.safetensors", "net.arch", "wrong.safetensors"]);
}

#[test]
fn files_that_lie_are_refused() {
    let good = weights();
    let cut = |at: usize| good.iter().copied().take(at).collect::<Vec<u8>>();
    let with_length = |length: u64| {
        let mut file = good.clone();
        file.splice(..8, length.to_le_bytes());
        file
    };
    let overlap = "{\"head.weight\":{\"dtype\":\"F32\",\"shape\":[2,4],\"data_offsets\":[0,32]},\
                   \"head.bias\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";
    let mut overlapping = (overlap.len() as u64).to_le_bytes().to_vec();
    overlapping.extend(overlap.bytes().chain([0; 40]));
    let huge = "{\"head.weight\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,32]}}";
    let mut overflowing = (huge.len() as u64).to_le_bytes().to_vec();
    overflowing.extend(huge.bytes().chain([0; 32]));
    let files = [
        ("empty", vec![]),
        ("short", cut(5)),
        ("header", cut(40)),
        ("data", cut(good.len() - 4)),
        ("longer", [good.clone(), vec![0; 4]].concat()),
        ("length", with_length(u64::MAX)),
        ("zero", with_length(0)),
        ("overlapping", overlapping),
        ("overflowing", overflowing),
        ("not-json", [&8_u64.to_le_bytes()[..], &b"not json"[..]].concat()),
    ];
    for (name, bytes) in files {
        let folder = folder(&[("w.safetensors", bytes)]);
        let run = folder.archc(&["run", "net.arch", "--weights", "w.safetensors", "--output", "y.safetensors"]);
        assert_eq!(run.code, FAILURE, "{name}: {}", run.out);
        assert!(run.err.contains("w.safetensors"), "{name}: {}", run.err);
        assert_eq!(folder.names(), ["net.arch", "w.safetensors"], "{name}");
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let misshapen = safetensors(&[("x", "F32", &[3, 5], 60)]);
    let labels = safetensors(&[("x", "I64", &[1, 4], 32)]);
    let missing = safetensors(&[("z", "F32", &[1, 4], 16)]);
    let files = [("misshapen", misshapen), ("labels", labels), ("missing", missing)];
    for (name, bytes) in files {
        let folder = folder(&[("x.safetensors", bytes)]);
        let run = folder.archc(&["run", "net.arch", "--inputs", "x.safetensors", "--output", "y.safetensors"]);
        assert_eq!(run.code, FAILURE, "{name}: {}", run.out);
        assert!(run.err.contains("`x`"), "{name}: {}", run.err);
        assert_eq!(folder.names(), ["net.arch", "x.safetensors"], "{name}");
    }
}

#[test]
fn outputs_that_cannot_be_written_are_said_before_the_run() {
    let folder = folder(&[]);
    std::fs::create_dir(folder.path("taken.safetensors")).expect("a folder");
    for output in ["nowhere/y.safetensors", "taken.safetensors"] {
        let run = folder.archc(&["run", "net.arch", "--output", output]);
        assert_eq!(run.code, FAILURE, "{output}");
        assert!(!run.out.contains("forward pass"), "{}", run.out);
    }
    assert_eq!(folder.names(), ["net.arch", "taken.safetensors"]);
}

#[test]
fn unknown_values_and_devices_are_said() {
    let folder = folder(&[]);
    folder.archc(&["run", "net.arch", "--mid", "haed"]).fails_with(&["did you mean `head`"]);
    if cfg!(not(feature = "cuda")) {
        folder.archc(&["run", "net.arch", "--device", "cuda"]).fails_with(&["--features cuda"]);
    }
}

#[test]
fn a_spec_with_errors_does_not_run() {
    let folder = Folder::with(&[("bad.arch", "model Net(x: vector[4]) -> vector[2] { x -> linear(3) }\n")]);
    let run = folder.archc(&["run", "bad.arch", "--output", "y.safetensors"]).expect(FINDINGS);
    assert!(run.err.contains("vector[3]"), "{}", run.err);
    assert_eq!(folder.names(), ["bad.arch"]);
}

#[test]
fn the_tour_of_the_readme_runs() {
    let run = super::run(
        &super::project(),
        &["run", "specs/dit.arch", "--set", "depth=4", "--set", "dim=256", "--set", "heads=4"],
    )
    .expect(CLEAN);
    for words in [
        "DiT",
        "parameters",
        "forward pass in",
        "predicted",
        "measured",
        "is exactly zero: the spec initialises its last layer",
    ] {
        assert!(run.out.contains(words), "no `{words}` in:\n{}", run.out);
    }
}
