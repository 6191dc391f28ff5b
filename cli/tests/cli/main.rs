//! The program as a user meets it: exit codes, reports, and files that are whole or not there.

mod readme;
#[cfg(feature = "run")]
mod run;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const CLEAN: i32 = 0;
const FINDINGS: i32 = 1;
const FAILURE: i32 = 2;

const NET: &str = "model Net(x: vector[4]) -> vector[2] {\n    x -> linear(2) @head\n}\n";
/// An error of a rule: a softmax over a single channel is the constant 1.
const ERROR: &str = "model Net(x: vector[4]) -> vector[4] {\n    x * (x -> linear(1) -> softmax())\n}\n";
/// A warning: heads of four channels.
const WARNING: &str = "model Net(x: tokens[6, 8]) -> tokens[6, 8] {
    attention(x -> linear(8) @q, x -> linear(8) @k, x -> linear(8) @v, heads: 2)
}
";

/// A folder of its own for a test, with files in it.
struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = Self { folder: tempfile::tempdir().expect("a folder") };
        for (name, text) in files {
            std::fs::write(folder.path(name), text).expect("a file");
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("a text")
    }

    /// Names of the files in it.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).expect("a folder");
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<String> = entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn archc(&self, arguments: &[&str]) -> Run {
        run(self.folder.path(), arguments)
    }
}

/// How a run of the program ended.
struct Run {
    code: i32,
    out: String,
    err: String,
}

impl Run {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let run = Self {
            code: output.status.code().expect("an exit code"),
            out: text(output.stdout),
            err: text(output.stderr),
        };
        assert!(!run.err.contains("panicked"), "{}", run.err);
        run
    }

    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\nstdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    fn fails_with(self, words: &[&str]) {
        let run = self.expect(FAILURE);
        for word in words {
            assert!(run.err.contains(word), "no `{word}` in:\n{}", run.err);
        }
    }
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_archc"));
    command.args(arguments).current_dir(folder).env("NO_COLOR", "1");
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Run {
    Run::of(command(folder, arguments).output().expect("the program starts"))
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn check_is_silent_about_nothing_and_exits_by_what_it_finds() {
    let folder = Folder::with(&[("net.arch", NET), ("error.arch", ERROR), ("warning.arch", WARNING)]);
    folder.archc(&["check", "net.arch"]).expect(CLEAN);
    let error = folder.archc(&["check", "error.arch"]).expect(FINDINGS);
    assert!(error.out.contains("gate/softmax-singleton"), "{}", error.out);
    assert!(error.out.contains("error.arch:2:"), "{}", error.out);
    let warning = folder.archc(&["check", "warning.arch"]).expect(CLEAN);
    assert!(warning.out.contains("attention/heads"), "{}", warning.out);
    folder.archc(&["check", "warning.arch", "--deny", "warnings"]).expect(FINDINGS);
    // The folder stands for all of them.
    folder.archc(&["check", "."]).expect(FINDINGS);
}

#[test]
fn check_looks_at_one_model_of_a_file() {
    let both = format!("{NET}\n{}", WARNING.replacen("Net", "Heads", 1));
    let folder = Folder::with(&[("both.arch", both.as_str())]);
    folder.archc(&["check", "both.arch", "--deny", "warnings"]).expect(FINDINGS);
    folder.archc(&["check", "both.arch#Net", "--deny", "warnings"]).expect(CLEAN);
    folder.archc(&["check", "both.arch#Nest"]).fails_with(&["Nest"]);
    folder.archc(&["check", "none.arch#Net"]).fails_with(&["none.arch"]);
    folder.archc(&["check", "both.arch#Net", "--fix"]).fails_with(&["whole files"]);
}

/// `archc.yaml` beside, above and in place of each other.
#[test]
fn levels_come_from_the_nearest_file_and_from_the_command_line() {
    let folder = Folder::with(&[("archc.yaml", "rules:\n  attention/heads: deny\n"), ("net.arch", WARNING)]);
    folder.archc(&["check", "net.arch"]).expect(FINDINGS);
    folder.archc(&["check", "net.arch", "--warn", "attention/*"]).expect(CLEAN);
    folder.archc(&["check", "net.arch", "--allow", "*", "--deny", "attention/heads"]).expect(FINDINGS);
    let silent = folder.archc(&["check", "net.arch", "--deny", "attention/heads", "--allow", "*"]).expect(CLEAN);
    assert!(silent.out.contains("nothing to report"), "{}", silent.out);
    folder.archc(&["check", "net.arch", "--deny", "atention/heads"]).fails_with(&["did you mean `attention/heads`?"]);
    std::fs::create_dir(folder.path("inner")).expect("a folder");
    std::fs::write(folder.path("inner/net.arch"), WARNING).expect("a file");
    folder.archc(&["check", "inner/net.arch"]).expect(FINDINGS);
    std::fs::write(folder.path("inner/archc.yaml"), "rules: { '*': allow }\n").expect("a file");
    folder.archc(&["check", "inner/net.arch"]).expect(CLEAN);
    folder.archc(&["check", "inner/net.arch", "--config", "archc.yaml"]).expect(FINDINGS);
    folder.archc(&["check", "inner/net.arch", "--config", "none.yaml"]).fails_with(&["none.yaml"]);
}

#[test]
fn mistakes_in_archc_yaml_are_shown_where_they_stand() {
    let text = "rules:\n  atention/heads: deny\nstatistics:\n  sigma: [1]\n  data: { std: -1 }\n";
    let folder = Folder::with(&[("archc.yaml", text), ("net.arch", NET)]);
    for command in ["check", "predict", "config"] {
        let words = ["archc.yaml:2:3", "did you mean `attention/heads`?", "archc.yaml:5:16", "2 mistakes"];
        folder.archc(&[command, "net.arch"]).fails_with(&words);
    }
    assert_eq!(folder.text("net.arch"), NET);
}

#[test]
fn declared_statistics_are_what_predictions_start_from() {
    let net = "model Net(x: image[4, 8, 8], text: tokens[6, 8]) -> tokens[6, 8] { text -> identity() }\n";
    let square = |text: &str, more: &[&str]| {
        let folder = Folder::with(&[("archc.yaml", text), ("net.arch", net)]);
        folder.archc(&[&["predict", "net.arch", "--format", "json"], more].concat()).expect(CLEAN).out
    };
    let declared = "statistics:\n  sigma: [0.5, 80]\n  data: { std: 0.5 }\n  inputs: { text: { mean: 1, std: 2 } }\n";
    let sigmas =
        |text: &str| serde_json::from_str::<Value>(text).expect("JSON").get("sigmas").cloned().expect("noise levels");
    assert_eq!(sigmas(&square(declared, &[])), serde_json::json!([0.5, 80.0]));
    assert_eq!(sigmas(&square(declared, &["--sigma", "1"])), serde_json::json!([1.0]));
    assert_eq!(sigmas(&square("{}", &[])), serde_json::json!([null]));
    let folder = Folder::with(&[("net.arch", net)]);
    folder.archc(&["predict", "net.arch", "--sigma-data", "1"]).fails_with(&["--sigma"]);
    folder.archc(&["config", "--schema"]).expect(CLEAN);
    let none = folder.archc(&["config", "net.arch"]).expect(CLEAN);
    assert!(none.out.contains("nothing is declared"), "{}", none.out);
}

#[test]
fn statistics_of_what_is_no_input_are_pointed_out() {
    let net = "model Net(text: tokens[6, 8]) -> tokens[6, 8] { text -> identity() }\n";
    let said = |declared: &str| {
        let text = format!("statistics:\n  inputs: {{ {declared} }}\n");
        let folder = Folder::with(&[("archc.yaml", &text), ("net.arch", net)]);
        folder.archc(&["check", "net.arch"]).expect(CLEAN).out
    };
    let misspelt = said("txet: { std: 2 }");
    for words in ["settings/unknown-input", "`txet`", "did you mean `text`?", "nothing is declared of this one"] {
        assert!(misspelt.contains(words), "{misspelt}");
    }
    // What another model of the folder may have.
    assert!(!said("pooled: { std: 2 }").contains("settings/"));
    assert!(!said("txet: { std: 2 }, text: { std: 1 }").contains("settings/"));
}

#[test]
fn data_is_measured_once() {
    let net = "model Net(x: image[4, 8, 8]) -> image[4, 8, 8] {\n    \
               process { schedule: linear; prediction: v; weighting: edm(sigma_data: 0.5); data_std: 0.5 }\n    \
               x -> conv2d(4, kernel: 3) @conv\n}\n";
    let check = |std: &str, more: &[&str]| {
        let text = format!("statistics: {{ data: {{ std: {std} }} }}\n");
        let folder = Folder::with(&[("archc.yaml", &text), ("net.arch", net)]);
        let said = folder.archc(&[&["check", "net.arch"], more].concat()).expect(CLEAN).out;
        (said, folder.text("net.arch"))
    };
    assert!(!check("0.55", &[]).0.contains("process/sigma-data-mismatch"));
    let (said, _) = check("1", &[]);
    for words in ["process/sigma-data-mismatch", "archc.yaml declares data of deviation 1", "assumes 0.5"] {
        assert!(said.contains(words), "{said}");
    }
    let (_, fixed) = check("1", &["--fix", "--unsafe-fixes"]);
    assert!(fixed.contains("edm(sigma_data: 1); data_std: 1"), "{fixed}");
}

const CONFIG: &str =
    r#"{"_class_name": "DiTTransformer2DModel", "num_layers": 2, "norm_eps": 1e-6, "out_channels": 8}"#;

#[test]
fn a_configuration_becomes_a_spec_that_works_anywhere() {
    let folder = Folder::with(&[("config.json", CONFIG)]);
    let printed = folder.archc(&["import", "config.json"]).expect(CLEAN);
    assert!(printed.out.contains("use std.models.dit.{DiT}"), "{}", printed.out);
    let written = folder.archc(&["import", "config.json", "-o", "My DiT 2.arch"]).expect(CLEAN);
    assert!(written.out.contains("My DiT 2.arch#my_dit_2"), "{}", written.out);
    assert!(folder.text("My DiT 2.arch").contains("preset my_dit_2 = DiT(depth: 2)"));
    folder.archc(&["check", "--deny", "warnings", "My DiT 2.arch"]).expect(CLEAN);
    folder.archc(&["fmt", "--check", "My DiT 2.arch"]).expect(CLEAN);
    let parameters = folder.archc(&["params", "My DiT 2.arch#my_dit_2"]).expect(CLEAN);
    assert!(parameters.out.contains("blocks.1.mlp.fc2.weight\t1152x4608\n"), "{}", parameters.out);
    // An import over it replaces it.
    folder.archc(&["import", "config.json", "-o", "My DiT 2.arch"]).expect(CLEAN);
    assert_eq!(folder.names(), ["My DiT 2.arch", "config.json"]);
}

#[test]
fn a_configuration_with_mistakes_leaves_nothing_behind() {
    let config = CONFIG.replace("num_layers", "num_layer").replace("1e-6", "[]");
    let folder = Folder::with(&[("config.json", &config), ("broken.json", "{"), ("taken.arch", NET)]);
    let run = folder.archc(&["import", "config.json", "-o", "new.arch"]).expect(FINDINGS);
    for words in ["config/unknown-key", "did you mean `num_layers`?", "config/value", "config.json:1:"] {
        assert!(run.err.contains(words), "no `{words}` in:\n{}", run.err);
    }
    folder.archc(&["import", "config.json", "-o", "taken.arch"]).expect(FINDINGS);
    assert_eq!(folder.text("taken.arch"), NET);
    folder.archc(&["import", "broken.json"]).expect(FINDINGS);
    folder.archc(&["import", "nowhere.json"]).fails_with(&["nowhere.json", "there is no such file"]);
    std::fs::write(folder.path("config.json"), CONFIG).expect("a file");
    folder.archc(&["import", "config.json", "-o", "."]).fails_with(&["folder"]);
    folder.archc(&["import", "config.json", "-o", "no/where.arch"]).fails_with(&["no/where.arch"]);
    assert_eq!(folder.names(), ["broken.json", "config.json", "taken.arch"]);
}

#[test]
fn check_reports_json_for_machines() {
    let folder = Folder::with(&[("error.arch", ERROR)]);
    let run = folder.archc(&["check", "error.arch", "--format", "json"]).expect(FINDINGS);
    let report: Value = serde_json::from_str(&run.out).expect("JSON and nothing else");
    let at = |place: &str| report.pointer(place).cloned().unwrap_or_default();
    assert_eq!(at("/errors"), 1);
    assert_eq!(at("/diagnostics/0/id"), "gate/softmax-singleton");
    assert_eq!(at("/diagnostics/0/level"), "error");
    assert_eq!(at("/diagnostics/0/labels/0/file"), "error.arch");
    assert_eq!(at("/diagnostics/0/labels/0/line"), 2);
    assert!(at("/diagnostics/0/message").as_str().is_some_and(|message| !message.is_empty()));
}

/// What `check` finds in a spec of the project: levels and ids, once each.
fn findings(spec: &str) -> (i32, Vec<String>) {
    let run = run(&project(), &["check", spec, "--format", "json"]);
    let report: Value = serde_json::from_str(&run.out).expect("JSON and nothing else");
    let field = |finding: &Value, name| finding.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let found = report.get("diagnostics").and_then(Value::as_array).expect("a list");
    let mut found: Vec<String> =
        found.iter().map(|one| format!("{} {}", field(one, "level"), field(one, "id"))).collect();
    found.dedup();
    (run.code, found)
}

/// Examples that are to be trained, not mended.
const TRAINED: [&str; 2] = ["specs/examples/digits_unet.arch", "specs/examples/digits_dit.arch"];

#[test]
fn every_example_teaches_its_one_lesson() {
    let lessons = [
        ("specs/examples/additive_skip.arch", CLEAN, "warning skip/unnormalized-add"),
        ("specs/examples/missing_zero_init.arch", CLEAN, "warning init/missing-zero"),
        ("specs/examples/dead_branch.arch", FINDINGS, "error init/dead-product"),
    ];
    for (spec, code, lesson) in lessons {
        assert_eq!(findings(spec), (code, vec![lesson.to_owned()]), "{spec}");
    }
    let examples = std::fs::read_dir(project().join("specs/examples")).expect("a folder");
    let is_spec = |entry: &std::io::Result<std::fs::DirEntry>| {
        entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|ending| ending == "arch"))
    };
    for spec in TRAINED {
        assert_eq!(findings(spec), (CLEAN, vec![]), "{spec}");
    }
    assert_eq!(examples.filter(is_spec).count(), lessons.len() + TRAINED.len(), "an example is not listed here");
}

#[test]
fn specs_of_published_networks_and_the_library_are_clean_and_formatted() {
    let mut specs = vec!["specs/std".to_owned()];
    for entry in std::fs::read_dir(project().join("specs")).expect("a folder") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        if name.ends_with(".arch") {
            specs.push(format!("specs/{name}"));
        }
    }
    for spec in specs {
        assert_eq!(findings(&spec), (CLEAN, vec![]), "{spec}");
    }
    run(&project(), &["fmt", "--check", "specs"]).expect(CLEAN);
}

#[test]
fn what_cannot_be_read_is_said() {
    let folder = Folder::with(&[("net.arch", NET)]);
    std::fs::write(folder.path("latin.arch"), b"model \xe9\n").expect("a file");
    folder.archc(&["check", "no.arch"]).fails_with(&["no.arch"]);
    folder.archc(&["check", "latin.arch"]).fails_with(&["latin.arch", "UTF-8"]);
    folder.archc(&["run", "net.arch#Nat"]).fails_with(&["Nat", "did you mean `Net`"]);
    folder.archc(&["run", "net.arch", "--set", "depth"]).fails_with(&["name=value"]);
    folder.archc(&["explain", "init/missing-zeros"]).fails_with(&["init/missing-zero"]);
    folder.archc(&["frobnicate"]).fails_with(&["frobnicate"]);
}

#[test]
fn unknown_hyperparameters_are_findings() {
    let folder = Folder::with(&[("net.arch", NET)]);
    let run = folder.archc(&["params", "net.arch", "--set", "dept=3"]).expect(FINDINGS);
    assert!(run.err.contains("dept"), "{}", run.err);
    assert_eq!(run.out, "");
}

/// A gate at zero times a projection at zero.
const DEAD: &str = "model Net(x: tokens[4, 8], c: vector[8]) -> tokens[4, 8] {
    let gate = c -> linear(8, init: zero) @gate
    x -> residual(gate: gate) { layer_norm() @norm -> linear(8, init: zero) @proj }
}
";

#[test]
fn fixes_are_made_where_they_may_be() {
    let folder = Folder::with(&[("net.arch", DEAD)]);
    folder.archc(&["check", "--fix", "net.arch"]).expect(FINDINGS);
    assert_eq!(folder.text("net.arch"), DEAD, "an unsafe fix needs to be asked for");
    folder.archc(&["check", "--unsafe-fixes", "net.arch"]).fails_with(&["--fix"]);
    let shown = folder.archc(&["check", "--diff", "--unsafe-fixes", "net.arch"]).expect(FINDINGS);
    assert!(
        shown.out.contains("+    x -> residual(gate: gate) { layer_norm() @norm -> linear(8) @proj }"),
        "{}",
        shown.out
    );
    assert_eq!(folder.text("net.arch"), DEAD, "`--diff` writes nothing");
    let fixed = folder.archc(&["check", "--fix", "--unsafe-fixes", "net.arch"]).expect(CLEAN);
    assert_eq!(folder.text("net.arch"), DEAD.replace("linear(8, init: zero) @proj", "linear(8) @proj"));
    for part in ["never: 6 -> ", "starts differently", "weights of before still load", "nothing to report"] {
        assert!(fixed.out.contains(part), "{part}: {}", fixed.out);
    }
    folder.archc(&["check", "--fix", "--unsafe-fixes", "net.arch"]).expect(CLEAN);
    assert_eq!(folder.names(), ["net.arch"], "nothing is left beside it");
}

#[test]
fn what_cannot_be_fixed_is_left_whole() {
    let folder = Folder::with(&[("net.arch", DEAD)]);
    let mut permissions = std::fs::metadata(folder.path("net.arch")).expect("a file").permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(folder.path("net.arch"), permissions).expect("permissions");
    folder.archc(&["check", "--fix", "--unsafe-fixes", "net.arch"]).fails_with(&["net.arch", "read-only"]);
    assert_eq!(folder.text("net.arch"), DEAD);
    folder.archc(&["check", "--fix", "none.arch"]).fails_with(&["none.arch"]);
    // A block of another file is not changed unless that file is named too.
    let block = "block Gate(x: tokens[N, D], cond c: vector[D]) -> tokens[N, D] {
    let gate = c -> linear(D, init: zero) @gate
    x -> residual(gate: gate) { layer_norm() @norm -> linear(D, init: zero) @proj }
}
";
    let main = "use gate.{Gate}\n\nmodel Net(x: tokens[4, 8], c: vector[8]) -> tokens[4, 8] { x -> Gate(c) @block }\n";
    let folder = Folder::with(&[("gate.arch", block), ("net.arch", main)]);
    folder.archc(&["check", "--fix", "--unsafe-fixes", "net.arch"]).expect(FINDINGS);
    assert_eq!((folder.text("gate.arch"), folder.text("net.arch")), (block.to_owned(), main.to_owned()));
    folder.archc(&["check", "--fix", "--unsafe-fixes", "net.arch", "gate.arch"]).expect(CLEAN);
    assert_eq!(folder.text("gate.arch"), block.replace("linear(D, init: zero) @proj", "linear(D) @proj"));
    // Syntax errors have no fix and lose nothing.
    let broken = "model Net(x: vector[4] {";
    let folder = Folder::with(&[("net.arch", broken)]);
    folder.archc(&["check", "--fix", "net.arch"]).expect(FINDINGS);
    assert_eq!(folder.text("net.arch"), broken);
}

#[test]
fn fmt_rewrites_and_checks() {
    let folder = Folder::with(&[
        ("messy.arch", "model  Net( x:vector[4] )->vector[2]{\nx->linear( 2 )@head\n}"),
        ("broken.arch", "model Net( x:vector[4] {\n"),
    ]);
    let messy = folder.text("messy.arch");
    let check = folder.archc(&["fmt", "--check", "messy.arch"]).expect(FINDINGS);
    assert!(check.out.contains("messy.arch"), "{}", check.out);
    assert_eq!(folder.text("messy.arch"), messy, "`--check` changes nothing");
    folder.archc(&["fmt", "messy.arch"]).expect(CLEAN);
    assert_eq!(folder.text("messy.arch"), NET);
    folder.archc(&["fmt", "--check", "messy.arch"]).expect(CLEAN);
    // A file that does not parse stays as it is.
    let broken = folder.text("broken.arch");
    let run = folder.archc(&["fmt", "broken.arch"]);
    assert_ne!(run.code, CLEAN);
    assert_eq!(folder.text("broken.arch"), broken);
    assert_eq!(folder.names(), ["broken.arch", "messy.arch"]);
}

#[cfg(unix)]
#[test]
fn fmt_keeps_permissions_and_leaves_read_only_files() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::with(&[("net.arch", &NET.replace("x -> linear", "x  ->  linear"))]);
    let path = folder.path("net.arch");
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("permissions");
    mode(0o444);
    let before = folder.text("net.arch");
    folder.archc(&["fmt", "net.arch"]).fails_with(&["net.arch", "read-only"]);
    assert_eq!(folder.text("net.arch"), before);
    mode(0o640);
    folder.archc(&["fmt", "net.arch"]).expect(CLEAN);
    assert_eq!(folder.text("net.arch"), NET);
    assert_eq!(std::fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, 0o640);
}

#[test]
fn graphs_are_printed_in_every_format() {
    let folder = Folder::with(&[("net.arch", NET)]);
    let text = folder.archc(&["ir", "net.arch"]).expect(CLEAN).out;
    assert!(text.contains("linear"), "{text}");
    let json = folder.archc(&["ir", "net.arch", "--format", "json"]).expect(CLEAN).out;
    serde_json::from_str::<Value>(&json).expect("JSON");
    let yaml = folder.archc(&["ir", "net.arch", "--format", "yaml"]).expect(CLEAN).out;
    assert!(yaml.contains("head"), "{yaml}");
    let dot = folder.archc(&["ir", "net.arch", "--format", "dot"]).expect(CLEAN).out;
    assert!(dot.starts_with("digraph"), "{dot}");
}

#[test]
fn params_are_names_and_shapes() {
    let folder = Folder::with(&[("net.arch", NET)]);
    let run = folder.archc(&["params", "net.arch"]).expect(CLEAN);
    assert_eq!(run.out, "head.weight\t2x4\nhead.bias\t2\n");
}

#[test]
fn models_lists_models_and_presets() {
    let run = run(&project(), &["models", "specs/dit.arch", "--format", "json"]).expect(CLEAN);
    let list: Value = serde_json::from_str(&run.out).expect("JSON");
    let names: Vec<&str> =
        list.as_array().expect("a list").iter().filter_map(|entry| entry.get("name")?.as_str()).collect();
    assert_eq!(names.len(), 13, "{names:?}");
    assert_eq!(names.first_chunk(), Some(&["DiT", "dit_s_2", "dit_s_4", "dit_s_8", "dit_b_2"]));
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let mut child = command(&project(), &["ir", "specs/dit.arch", "--flat"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let ended = Run::of(child.wait_with_output().expect("it ends"));
    assert_eq!((ended.code, ended.err.as_str()), (CLEAN, ""));
}
