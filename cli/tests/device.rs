//! What a device cannot do is said before anything is allocated, with exit code 2.

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
