//! `archc build`: a crate that is whole or not there.

use std::path::Path;
use std::process::{Command, Output};

const NET: &str = "/// A network with names that Rust keeps for itself.
model Net(mod: tokens[N, 8], heads: int = 2, N: dim = 6) -> tokens[N, 8] {
    let fn = mod -> layer_norm() @impl -> linear(24) @match
    let [q, k, v] = fn -> chunk(3)
    attention(q, k, v, heads: heads) -> linear(8, init: zero) @type.0
}
";

fn archc(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_archc")).args(arguments).current_dir(folder).output().expect("archc runs")
}

fn folder(spec: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("net.arch"), spec).expect("a spec");
    folder
}

/// Fails as bad usage does, says why, and leaves the folder as it was.
fn refuses(folder: &Path, arguments: &[&str], words: &str) {
    let before = names(folder);
    let output = archc(folder, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(words), "{words:?} is missing in {said}");
    assert_eq!(names(folder), before);
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_crate_is_written_and_written_again() {
    let folder = folder(NET);
    let out = folder.path().join("out");
    let build = |more: &[&str]| {
        let output = archc(folder.path(), &[&["build", "net.arch", "--out", "out"], more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    };
    build(&[]);
    assert_eq!(names(&out), [".archc", "Cargo.toml", "README.md", "src", "tests"]);
    assert_eq!(names(&out.join("src")), ["lib.rs", "model.rs", "ops.rs", "weights.rs"]);
    // What cargo built there stays.
    std::fs::create_dir(out.join("target")).expect("a folder");
    build(&["--bin"]);
    assert_eq!(names(&out), [".archc", "Cargo.toml", "README.md", "src", "target", "tests"]);
    assert_eq!(names(&out.join("src")), ["lib.rs", "main.rs", "model.rs", "ops.rs", "weights.rs"]);
    assert_eq!(names(folder.path()), ["net.arch", "out"]);
    let text = std::fs::read_to_string(out.join("src/model.rs")).expect("a source");
    for words in ["pub r#impl: LayerNorm<B>", "pub r#type: Linear<B>", "self.r#match", "pub heads: usize"] {
        assert!(text.contains(words), "{words:?} is missing in {text}");
    }
}

/// Kernels are those of the runtime, with the libraries that it is built on.
#[test]
fn a_crate_can_bring_kernels() {
    let folder = folder(NET);
    let build = |more: &[&str]| {
        let output = archc(folder.path(), &[&["build", "net.arch", "--out", "out"], more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let out = folder.path().join("out");
    let read = |name: &str| std::fs::read_to_string(out.join(name)).expect("a file");
    build(&["--kernels"]);
    assert!(read("src/lib.rs").contains("pub mod kernels;"));
    assert!(read("src/model.rs").contains("impl<B: Kernels> Net<B>"));
    for name in names(&out.join("src/kernels")) {
        let text = read(&format!("src/kernels/{name}"));
        assert!(!text.contains("cfg(test)") && !text.contains("archc_"), "{name} is not whole by itself");
    }
    let workspace = include_str!("../../Cargo.toml");
    let manifest = read("Cargo.toml");
    let libraries =
        manifest.lines().filter(|line| ["gemm", "multiversion", "rayon"].iter().any(|own| line.starts_with(own)));
    let libraries: Vec<&str> = libraries.collect();
    assert_eq!(libraries.len(), 3, "{manifest}");
    for line in libraries {
        assert!(workspace.contains(line), "{line} is another version than that of the runtime");
    }
    build(&[]);
    assert!(!out.join("src/kernels").exists() && !read("Cargo.toml").contains("gemm"));
}

/// The script that trains a PyTorch package starts from the same recipe as `archc train`.
#[test]
fn a_package_trains_as_archc_does() {
    let process = "process { schedule: flow; prediction: flow }";
    let spec =
        format!("model Net(x: vector[8], t: timestep) -> vector[8] {{\n    {process}\n    x -> linear(8) @out\n}}\n");
    let folder = folder(&spec);
    let output = archc(folder.path(), &["build", "net.arch", "--target", "pytorch", "--out", "out"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(folder.path().join("out/train.py")).expect("a script");
    let recipe = archc_runtime::train::Recipe::default();
    let defaults = [
        ("steps", recipe.steps as f64),
        ("batch", recipe.batch as f64),
        ("lr", recipe.rate),
        ("warmup", recipe.warmup as f64),
        ("final-lr", recipe.final_rate),
        ("weight-decay", recipe.weight_decay),
        ("clip", recipe.clip.unwrap_or(0.0)),
        ("ema", recipe.ema),
        ("seed", recipe.seed as f64),
    ];
    for (name, expected) in defaults {
        let line = text.lines().find(|line| line.contains(&format!("\"--{name}\""))).expect("an option");
        let default = line.split("default=").nth(1).and_then(|rest| rest.split([',', ')']).next());
        assert_eq!(default.and_then(|number| number.parse().ok()), Some(expected), "{line}");
    }
    // AdamW of PyTorch has these by default.
    assert_eq!((recipe.betas, recipe.epsilon), ((0.9, 0.999), 1e-8));
}

/// What is trained by more than an error has no script, and the README says so.
#[test]
fn a_package_without_training_says_why() {
    let folder = folder("model Net(x: vector[8]) -> vector[2] {\n    x -> linear(2) @out\n}\n");
    let output = archc(folder.path(), &["build", "net.arch", "--target", "pytorch", "--out", "out"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!folder.path().join("out/train.py").exists());
    let readme = std::fs::read_to_string(folder.path().join("out/README.md")).expect("a README");
    assert!(readme.contains("declares no `process`"), "{readme}");
}

#[test]
fn one_file_can_be_piped() {
    let folder = folder(NET);
    let output = archc(folder.path(), &["build", "net.arch", "--stdout"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0));
    for words in ["pub mod model {", "pub mod ops {", "pub mod weights {", "pub struct NetConfig {"] {
        assert!(text.contains(words), "{words:?} is missing in {text}");
    }
    assert_eq!(names(folder.path()), ["net.arch"]);
}

#[test]
fn what_cannot_be_built_is_said_and_leaves_nothing_behind() {
    let folder = folder(NET);
    let path = folder.path();
    std::fs::create_dir(path.join("mine")).expect("a folder");
    std::fs::write(path.join("mine/letter.txt"), "dear").expect("a file");
    refuses(path, &["build", "net.arch", "--out", "mine"], "was not written by archc");
    assert_eq!(names(&path.join("mine")), ["letter.txt"]);
    refuses(path, &["build", "net.arch", "--out", "net.arch"], "this is a file");
    refuses(path, &["build", "net.arch", "--out", "new", "--burn", "0.9"], "0.21");
    refuses(path, &["build", "net.arch", "--out", "new", "--target", "pytorch", "--bin"], "only crates on Burn");
    refuses(path, &["build", "net.arch", "--out", "new", "--target", "pytorch", "--kernels"], "only crates on Burn");
    refuses(path, &["build", "net.arch", "--stdout", "--kernels"], "cannot be used with");
    refuses(path, &["build", "net.arch"], "--out");
    refuses(path, &["build", "none.arch", "--out", "new"], "there is no such file");
    refuses(path, &["build", "net.arch#Other", "--out", "new"], "there is no model or preset");
    std::fs::write(path.join("broken.arch"), "model Net(x: vector[4]) -> vector[2] { x -> linear(3) }")
        .expect("a spec");
    refuses(path, &["build", "broken.arch", "--out", "new"], "shape/mismatch");
    std::fs::write(path.join("plain.arch"), "model Plain(x: vector[4]) { x -> silu() }").expect("a spec");
    for target in ["burn", "pytorch"] {
        refuses(path, &["build", "plain.arch", "--target", target, "--out", "new"], "has no parameters");
    }
    let output = archc(path, &["build", "net.arch", "--out", "mine", "--force"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(path.join("mine/Cargo.toml").is_file() && !path.join("mine/letter.txt").exists());
}
