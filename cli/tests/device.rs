//! What a device cannot do is said before anything is allocated, with exit code 2.

use archc_runtime::tensors::TensorFile;
use std::path::Path;
use std::process::Command;

const NET: &str =
    "model Net(x: tokens[64, 64]) -> tokens[64, 64] {\n    x -> linear(64) @first -> silu() -> linear(64) @head\n}\n";

/// Runs the program on a small network, and returns its exit code with all that it says.
fn archc(arguments: &[&str]) -> (i32, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let net = folder.path().join("net.arch");
    std::fs::write(&net, NET).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_archc"));
    command.args(arguments.iter().take(1)).arg(&net).args(arguments.iter().skip(1));
    let output = command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR"))).env("NO_COLOR", "1").output();
    let output = output.expect("the program starts");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().expect("an exit code"), text)
}

#[track_caller]
fn fails(arguments: &[&str], words: &[&str]) {
    let (code, text) = archc(arguments);
    assert_eq!(code, 2, "{text}");
    for word in words {
        assert!(text.contains(word), "no `{word}` in:\n{text}");
    }
    assert!(!text.contains("panicked"), "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn too_little_memory_is_said_before_it_is_allocated() {
    for command in ["run", "bench"] {
        fails(&[command, "--batch", "4000000000"], &["this needs about", "GiB for values", "are available", "--batch"]);
    }
}

#[test]
fn what_a_device_computes_is_compared_operator_by_operator() {
    let (code, text) = archc(&["verify"]);
    assert_eq!(code, 0, "{text}");
    for word in ["linear(features: 64, bias: true)", "[1, 64, 64] [64, 64] [64]", "silu", "all 2 agree"] {
        assert!(text.contains(word), "no `{word}` in:\n{text}");
    }
}

#[cfg(not(feature = "cuda"))]
#[test]
fn a_device_that_is_not_there_is_said() {
    for command in ["run", "bench", "verify"] {
        fails(&[command, "--device", "cuda"], &["built without CUDA", "--features cuda"]);
    }
}

#[test]
fn products_of_sixteen_bits_are_near_those_of_thirty_two() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = |dtype: &str| {
        let path = folder.path().join(dtype);
        let (code, text) = archc(&["run", "--dtype", dtype, "--output", &path.to_string_lossy()]);
        assert_eq!(code, 0, "{text}");
        let file = TensorFile::open(&path).expect("a file");
        file.tensors().expect("tensors").read("out").expect("the output").to_f32()
    };
    let exact = output("f32");
    let largest = exact.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    // Products of hundreds of terms, with operands rounded to 8 and 11 bits.
    for (dtype, least, most) in [("bf16", 1e-4, 1e-2), ("f16", 1e-5, 2e-3)] {
        let apart = output(dtype).iter().zip(&exact).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
        assert!((least..most).contains(&(apart / largest)), "{dtype}: {}", apart / largest);
    }
    for (command, wish) in [("run", "--gradients"), ("bench", "--train")] {
        fails(&[command, "--dtype", "bf16", wish], &["computed in f32", "leave out `--dtype`"]);
    }
}
