//! Training and sampling as a user meets them: losses that fall, runs that survive being killed, samples, mistakes.

#![expect(clippy::indexing_slicing, reason = "a test stops where something is missing")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// A denoiser that trains in seconds.
const SMALL: [&str; 4] = ["--set", "widths=[8,16]", "--range", "0,16"];

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn archc(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_archc"));
    command.args(arguments).current_dir(project()).env("NO_COLOR", "1");
    command
}

/// `archc train` of the small U-Net on the digits.
fn train(out: &Path, more: &[&str]) -> Command {
    let mut command = archc(&["train", "specs/examples/digits_unet.arch", "--data", "tests/data/digits.npz"]);
    command.args(SMALL).args(["--batch", "16", "--warmup", "5", "--sample-every", "0"]);
    if !more.contains(&"--lr") {
        command.args(["--lr", "2e-3"]);
    }
    command.arg("--out").arg(out).args(more);
    command
}

#[track_caller]
fn succeeds(mut command: Command) -> String {
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{}", text(&output));
    text(&output)
}

#[track_caller]
fn fails(mut command: Command, words: &[&str]) {
    let output = command.output().expect("the program starts");
    let said = text(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for word in words {
        assert!(said.contains(word), "no `{word}` in:\n{said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Losses by update.
fn losses(run: &Path) -> Vec<f64> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    let line = |line: &str| serde_json::from_str::<Value>(line).expect("a line of JSON");
    text.lines().map(|own| line(own)["loss"].as_f64().expect("a loss")).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn the_loss_falls_and_a_killed_run_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    let options = ["--steps", "90", "--save-every", "10", "--keep", "3", "--watch-every", "30"];
    succeeds(train(&whole, &options));
    let found = losses(&whole);
    assert_eq!(found.len(), 90);
    assert!(mean(&found[70..]) < 0.75 * mean(&found[..10]), "{found:?}");

    let mut child = train(&killed, &options).stdout(Stdio::null()).spawn().expect("the program starts");
    let third = killed.join("checkpoints/step-00000030.safetensors");
    while !third.exists() {
        assert!(child.try_wait().expect("a child").is_none(), "it ended before it was killed");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    // Damage the newest checkpoint: the one before it is used.
    let mut saved: Vec<PathBuf> = std::fs::read_dir(killed.join("checkpoints"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "safetensors"))
        .collect();
    saved.sort();
    let newest = saved.pop().expect("a checkpoint");
    let mut bytes = std::fs::read(&newest).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&newest, bytes).expect("a file");

    fails(train(&killed, &options), &["--resume"]);
    let mut resumed = train(&killed, &options);
    resumed.arg("--resume");
    let said = succeeds(resumed);
    assert!(said.contains("damaged") && said.contains("goes on from update"), "{said}");
    let bytes = |run: &Path| std::fs::read(run.join("weights.safetensors")).expect("weights");
    assert!(bytes(&whole) == bytes(&killed), "the weights differ");
    assert_eq!(found, losses(&killed));

    // The same recipe or none; the same model or none.
    let mut other = train(&killed, &options);
    other.args(["--resume", "--seed", "3"]);
    fails(other, &["other options"]);
    let mut other = train(&killed, &options);
    other.args(["--resume", "--set", "layers=2"]);
    fails(other, &["another model"]);

    let picture = folder.path().join("grid.png");
    let sample = |seed: &str| {
        let mut command = archc(&["sample"]);
        command.arg(&killed).args(["--steps", "4", "--labels", "0,7", "--count", "3", "--guidance", "2"]);
        command.args(["--seed", seed, "--out"]).arg(&picture);
        succeeds(command);
        std::fs::read(&picture).expect("a picture")
    };
    let (first, again, other) = (sample("7"), sample("7"), sample("8"));
    assert!(first == again && first != other);
    assert!(image::load_from_memory(&first).is_ok());
    assert!(picture.with_extension("safetensors").exists());
}

/// Running parts of the network twice, several passes for an update, and fewer digits change nothing but rounding.
#[test]
fn ways_to_save_memory_train_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |name: &str, more: &[&str]| {
        let out = folder.path().join(name);
        let mut command = train(&out, &["--steps", "6", "--watch-every", "3", "--final-lr", "1"]);
        command.args(more);
        succeeds(command);
        losses(&out)
    };
    let plain = run("plain", &[]);
    let close = |other: &[f64], tolerance: f64| {
        let worst = plain.iter().zip(other).map(|(a, b)| (a - b).abs() / a).fold(0.0, f64::max);
        assert!(worst < tolerance, "{worst}: {plain:?} {other:?}");
    };
    close(&run("parts", &["--recompute", "4"]), 1e-4);
    close(&run("bf16", &["--dtype", "bf16"]), 0.05);
    let passes = run("passes", &["--accumulate", "2"]);
    assert!(passes.iter().all(|loss| loss.is_finite()) && passes != plain);
}

#[test]
fn a_loss_that_explodes_stops_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    let command = train(&out, &["--steps", "20", "--clip", "0", "--save-every", "1", "--lr", "1e30"]);
    fails(command, &["no longer finite", "the first place is", "checkpoints"]);
}

/// A decoder of one map without bias, and its weights: `[1, 2]`.
fn decoder(folder: &Path) -> (PathBuf, PathBuf) {
    let (spec, weights) = (folder.join("decoder.arch"), folder.join("decoder.safetensors"));
    let text = "model Decoder(z: image[1, H, W]) -> image[2, H, W] { z -> conv2d(2, kernel: 1, bias: false) @out }\n\
                model Wide(z: image[4, H, W]) -> image[4, H, W] { z -> conv2d(4, kernel: 1) @out }\n";
    std::fs::write(&spec, text).expect("a spec");
    let header = r#"{"out.weight":{"dtype":"F32","shape":[2,1,1,1],"data_offsets":[0,8]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend([1.0f32, 2.0].into_iter().flat_map(f32::to_le_bytes));
    std::fs::write(&weights, bytes).expect("weights");
    (spec, weights)
}

/// A linear decoder sees every error alike, so that all ways to measure with it give the loss without it.
#[test]
fn errors_count_as_a_frozen_decoder_sees_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let (spec, weights) = decoder(folder.path());
    let (spec, weights) = (spec.display().to_string(), weights.display().to_string());
    let data = ["--data", "tests/data/digits.npz", "--range", "0,16"];
    let mut sensitivity = archc(&["sensitivity", &spec, "--weights", &weights, "--format", "json"]);
    sensitivity.args(data);
    let report: Value = serde_json::from_str(&succeeds(sensitivity)).expect("JSON");
    let gain = report["channels"][0]["gain"].as_f64().expect("a gain");
    // Forward differences of a linear map are off by rounding alone, which a small step makes a few ten-thousandths of.
    assert!((gain - 2.5).abs() < 1e-3, "(1 + 4) / 2, and not {gain}");

    let run = |name: &str, more: &[&str]| {
        let out = folder.path().join(name);
        let mut command = train(&out, &["--steps", "4"]);
        command.args(more);
        succeeds(command);
        losses(&out)
    };
    let plain = run("plain", &[]);
    for kind in ["static", "features", "jvp"] {
        let options = ["--perceptual", &spec, "--perceptual-weights", &weights, "--perceptual-kind", kind];
        for (seen, plain) in run(kind, &options).into_iter().zip(&plain) {
            assert!((seen - plain).abs() < 1e-4 * plain, "{kind}: {seen} instead of {plain}");
        }
    }

    let refused = |more: &[&str], words: &[&str]| {
        let mut command = train(&folder.path().join("refused"), &["--steps", "4"]);
        command.args(more);
        fails(command, words);
        assert!(!folder.path().join("refused").exists(), "nothing is left behind");
    };
    refused(&["--perceptual", &spec], &["--perceptual-weights"]);
    refused(&["--perceptual-kind", "jvp"], &["--perceptual"]);
    let wide = format!("{spec}#Wide");
    refused(&["--perceptual", &wide, "--perceptual-weights", &weights], &["out.weight"]);
    let at = ["--perceptual", &spec, "--perceptual-weights", &weights, "--perceptual-at", "none"];
    refused(&at, &["none"]);
    refused(&["--perceptual", &spec, "--perceptual-weights", "no.safetensors"], &["no.safetensors"]);
}

/// The decoder of Stable Diffusion at a reduced width, with the weights of the reference.
#[test]
fn the_decoder_of_latents_weighs_their_errors() {
    let folder = tempfile::tempdir().expect("a folder");
    let (spec, data) = (folder.path().join("net.arch"), folder.path().join("latents.npy"));
    let net = |process: &str| {
        let text = format!(
            "model Net(x: image[4, 8, 8], t: timestep) -> image[4, 8, 8] {{\n    process {{ {process} }}\n    \
             x -> conv2d(4, kernel: 3) @out\n}}\n"
        );
        std::fs::write(&spec, text).expect("a spec");
    };
    let mut npy = b"\x93NUMPY\x01\x00".to_vec();
    let header = format!("{:<117}\n", "{'descr': '<f4', 'fortran_order': False, 'shape': (8, 4, 8, 8), }");
    npy.extend((header.len() as u16).to_le_bytes());
    npy.extend(header.as_bytes());
    npy.extend((0..8 * 4 * 64).flat_map(|at| ((at as f32 * 0.7).sin() * 1.4).to_le_bytes()));
    std::fs::write(&data, npy).expect("latents");
    let decoder = ["--perceptual", "specs/autoencoder_kl.arch#sd_vae_decoder"];
    let width = ["--perceptual-set", "widths=[16, 32, 32]", "--perceptual-set", "groups=8"];
    let weights = ["--perceptual-weights", "tests/reference/tiny/sd_vae/weights.safetensors"];
    let run = |name: &str, kind: &[&str]| {
        let mut command = archc(&["train"]);
        command.arg(&spec).arg("--data").arg(&data).arg("--out").arg(folder.path().join(name));
        command.args(["--steps", "2", "--batch", "2", "--sample-every", "0", "--watch-every", "0"]);
        command.args(kind);
        command
    };
    net("schedule: scaled_linear; prediction: eps");
    succeeds(run("plain", &[]));
    let plain = losses(&folder.path().join("plain"));
    for kind in ["static", "features", "jvp"] {
        succeeds(run(kind, &[&decoder[..], &width, &weights, &["--perceptual-kind", kind]].concat()));
        for (seen, plain) in losses(&folder.path().join(kind)).into_iter().zip(&plain) {
            // As much as the plain loss would count a decoder that sees nothing.
            assert!(seen.is_finite() && seen > 0.0 && (seen - plain).abs() > 1e-3 * plain, "{kind}: {seen}, {plain}");
        }
    }
    net("schedule: scaled_linear(zero_terminal_snr: true); prediction: eps");
    let features = [&decoder[..], &width, &weights, &["--perceptual-kind", "features"]].concat();
    fails(run("blind", &features), &["let the prediction be `v`"]);
}

fn write_image(path: &Path, side: u32) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    image::GrayImage::from_fn(side, side, |x, y| image::Luma([(x * 20 + y) as u8])).save(path).expect("an image");
}

#[test]
fn folders_of_images_have_classes_and_one_size() {
    let folder = tempfile::tempdir().expect("a folder");
    let images = folder.path().join("images");
    for class in 0..10 {
        write_image(&images.join(format!("{class}/a.png")), 8);
        write_image(&images.join(format!("{class}/b.png")), 8);
    }
    let batches = |out: &str, batch: &str| {
        let mut command = archc(&["train", "specs/examples/digits_dit.arch", "--set", "dim=24", "--set", "depth=1"]);
        command.arg("--data").arg(&images).arg("--out").arg(folder.path().join(out));
        command.args(["--batch", batch, "--steps", "2", "--sample-every", "2"]);
        command
    };
    let train = |out: &str| batches(out, "4");
    succeeds(train("good"));
    assert!(folder.path().join("good/samples-00000002.png").exists());
    fails(batches("many", "21"), &["20 samples", "too few for a batch of 21"]);

    // A run does not go on with other data.
    let resumed = || {
        let mut command = train("good");
        command.arg("--resume");
        command
    };
    succeeds(resumed());
    write_image(&images.join("3/c.png"), 8);
    fails(resumed(), &["made from other data"]);

    write_image(&images.join("3/c.png"), 9);
    fails(train("mixed"), &["one size", "3/c.png is 9 x 9"]);
    std::fs::write(images.join("3/c.png"), b"\x89PNG\r\n\x1a\nno").expect("a file");
    fails(train("broken"), &["3/c.png"]);
    std::fs::remove_file(images.join("3/c.png")).expect("a file");
    write_image(&images.join("x/a.png"), 8);
    fails(train("labels"), &["label 10", "10 classes"]);
    write_image(&images.join("loose.png"), 8);
    fails(train("loose"), &["in the folder and in subfolders"]);
}

#[test]
fn options_that_do_not_fit_are_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("x.png");
    let sample = |more: &[&str]| {
        let mut command = archc(&["sample", "specs/examples/digits_unet.arch", "--weights", "tests/data/digits.npz"]);
        command.arg("--out").arg(&out).args(more);
        command
    };
    fails(sample(&[]), &["safetensors"]);
    let mut bare = archc(&["sample", "specs/examples/digits_unet.arch", "--out"]);
    bare.arg(&out);
    fails(bare, &["--weights"]);
    let run = folder.path().join("run");
    succeeds(train(&run, &["--steps", "1"]));
    let sample = |more: &[&str]| {
        let mut command = archc(&["sample"]);
        command.arg(&run).arg("--out").arg(&out).args(more);
        command
    };
    fails(sample(&["--sampler", "eulr"]), &["no sampler `eulr`", "ddim, ddpm, pndm, euler, euler_a, heun, dpmpp_2m"]);
    fails(sample(&["--sampler", "flow_euler"]), &["does not fit the schedule", "dpmpp_2m"]);
    fails(sample(&["--labels", "11"]), &["no class 11", "from 0 to 9"]);
    fails(sample(&["--eta", "0.5", "--sampler", "heun"]), &["no option `eta`"]);
    fails(sample(&["--spacing", "odd"]), &["linspace"]);
    fails(sample(&["--steps", "5000"]), &["1000"]);
    for name in ["ddim", "ddpm", "pndm", "euler", "euler_a", "heun", "dpmpp_2m"] {
        succeeds(sample(&["--sampler", name, "--steps", "3", "--labels", "4"]));
    }
    fails(train(&folder.path().join("a"), &["--ema", "1"]), &["`ema`"]);
    fails(train(&folder.path().join("a"), &["--devices", "0,1"]), &["--device cuda"]);
    let several = ["--device", "cuda", "--devices", "0,1", "--accumulate", "3"];
    fails(train(&folder.path().join("a"), &several), &["a multiple of 2"]);
    let mut process = archc(&["train", "specs/uvit.arch", "--data", "tests/data/digits.npz", "--out"]);
    process.arg(folder.path().join("b"));
    fails(process, &["declares no process"]);
}

/// A limit on the size of files stands for a disk that is full.
#[cfg(unix)]
#[test]
fn a_full_disk_costs_nothing_but_the_new_checkpoint() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    succeeds(train(&run, &["--steps", "2"]));
    let saved = run.join("checkpoints/step-00000002.safetensors");
    let (before, weights) = (std::fs::read(&saved).expect("a file"), std::fs::read(run.join("weights.safetensors")));
    let resumed = train(&run, &["--steps", "4", "--resume"]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$@\"", "sh"]).arg(resumed.get_program());
    limited.args(resumed.get_args()).current_dir(project());
    fails(limited, &["step-00000004.safetensors", "too large"]);
    let names: Vec<_> = std::fs::read_dir(run.join("checkpoints")).expect("a folder").collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert_eq!(std::fs::read(&saved).expect("a file"), before);
    assert_eq!(std::fs::read(run.join("weights.safetensors")).expect("a file"), weights.expect("a file"));
    succeeds(train(&run, &["--steps", "4", "--resume"]));
}
