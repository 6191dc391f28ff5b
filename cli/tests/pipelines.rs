//! Published pipelines from folders that diffusers wrote, with small networks of random weights: what `archc sample` makes
//! equals what diffusers makes of the same noise and text. `tests/reference/pipelines/generate.py` makes the folders.
#![cfg(feature = "run")]

use archc_runtime::HostTensor;
use archc_runtime::tensors::{TensorFile, write};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const FAILURE: i32 = 2;

/// The most that [`off`] may be.
const TOLERANCE: f32 = 1e-4;

/// What the published pipelines say in numbers, and what it is in the small folders: the vocabularies of CLIP and of T5, and
/// the features of an image.
const SMALLER: [(&str, &str); 3] = [("49408", "530"), ("32128", "64"), ("tokens[1, 1024]", "tokens[1, 16]")];

/// The networks of the small folders, under the names of those that the pipelines use.
const SMALL: &str = r#"
use std.models.autoencoder_kl.{AutoencoderKLDecoder}
use std.models.clip_text.{ClipText, ClipTextProjected}
use std.models.clip_vision.{ClipPixels as Pixels, ClipVisionProjected}
use std.models.sd3.{SD3}
use std.models.stable_diffusion.{LatentUNet}
use std.models.svd.{VideoAutoencoderDecoder, VideoAutoencoderEncoder, VideoUNet}
use std.models.t5_encoder.{T5Encoder}

preset sd_vae_decoder = AutoencoderKLDecoder(widths: [8, 8, 12, 12], layers: 1, groups: 4)

preset sd3_vae_decoder = AutoencoderKLDecoder(
    widths: [8, 8, 12, 12], layers: 1, groups: 4,
    latent_channels: 16, scale: 1.5305, shift: 0.0609, post_quant_conv: false,
)

preset clip_vit_l_text = ClipText(vocabulary: 530, dim: 16, hidden: 32, layers: 3, heads: 2)
preset sd21_text = ClipText(vocabulary: 530, dim: 16, hidden: 32, layers: 3, heads: 2, act: gelu)
preset clip_vit_l_text_projected = ClipTextProjected(vocabulary: 530, dim: 16, hidden: 32, layers: 3, heads: 2)
preset openclip_bigg_text = ClipTextProjected(vocabulary: 530, dim: 16, hidden: 32, layers: 3, heads: 2, act: gelu)

preset sd15_unet = LatentUNet(
    widths: [8, 8, 16, 16], heads: [2, 2, 2, 2], layers: 1, text_width: 16, groups: 8, H: 8, W: 16,
)
preset sd21_unet = LatentUNet(
    widths: [8, 8, 16, 16], heads: [1, 1, 2, 2], layers: 1, text_width: 16, groups: 8, linear_projection: true,
    prediction: "v", H: 8, W: 16,
)
preset sdxl_base_unet = LatentUNet(
    widths: [8, 16, 16], depth: [0, 1, 2], mid_depth: 2, heads: [1, 1, 2], layers: 1, text_width: 32, groups: 8,
    linear_projection: true, pooled: 16, ids: 6, id_features: 8, H: 8, W: 16,
)
preset sdxl_refiner_unet = LatentUNet(
    widths: [8, 8, 16, 16], depth: [0, 2, 2, 0], mid_depth: 1, heads: [1, 1, 2, 2], layers: 1, text_width: 16, groups: 8,
    linear_projection: true, pooled: 16, ids: 5, id_features: 8, H: 8, W: 16,
)

preset sd3_medium = SD3(depth: 2, heads: 2, head_dim: 8, text_dim: 64, pooled_dim: 32, size: 16, table: 12, H: 8, W: 16)
preset sd35_medium = SD3()

/// Smaller pictures than CLIP's.
block ClipPixels(x: image[3, H, W], size: int) -> image[3, size / 28, size / 28] { x -> Pixels(size / 28) }
preset openclip_vit_h_vision = ClipVisionProjected(
    size: 8, patch: 4, dim: 16, hidden: 32, layers: 2, heads: 2, projection: 16,
)

preset t5_v1_1_xxl = T5Encoder(
    vocabulary: 64, dim: 64, width: 8, hidden: 48, layers: 2, heads: 2, buckets: 16, max_distance: 40,
)

preset svd_vae_encoder = VideoAutoencoderEncoder(widths: [32, 32], layers: 1)
preset svd_vae_decoder = VideoAutoencoderDecoder(widths: [32, 32], layers: 1)
preset svd_unet = VideoUNet(widths: [32], depth: [1], heads: [2], layers: 1, context_width: 16, id_features: 8)
"#;

/// What diffusers made, in most folders.
const EXPECTED: &str = "expected.safetensors";

const PROMPT: &str = "A CAT's  photo, 42 caf\u{e9}, by the sea";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folder that diffusers wrote for a pipeline.
fn published(name: &str) -> PathBuf {
    root().join("tests/reference/pipelines").join(name)
}

/// A place for a spec and what it makes.
struct Place {
    folder: tempfile::TempDir,
    spec: String,
    /// One of its pipelines, where it is not the first.
    pipeline: Option<String>,
}

/// How a run of the program ended.
struct Run {
    code: i32,
    err: String,
}

impl Place {
    /// A pipeline of `specs/pipelines` with the small networks in place of the published ones.
    fn of(name: &str) -> Self {
        let spec = std::fs::read_to_string(root().join(format!("specs/pipelines/{name}.arch"))).expect("a spec");
        let small = |line: &str| match line.split_once(".{") {
            Some((before, names)) if before.starts_with("use std.models.") => format!("use \"small.arch\".{{{names}"),
            _ => SMALLER.iter().fold(line.to_owned(), |line, (published, small)| line.replace(published, small)),
        };
        let spec: Vec<String> = spec.lines().map(small).collect();
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("small.arch"), SMALL).expect("a file");
        let place = Self { folder, spec: format!("{name}.arch"), pipeline: None };
        place.write(&spec.join("\n"));
        place
    }

    fn write(&self, text: &str) {
        std::fs::write(self.path(&self.spec), text).expect("a file");
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path(&self.spec)).expect("a text")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn sample(&self, weights: &Path, arguments: &[&str]) -> Run {
        let target = self.pipeline.iter().fold(self.spec.clone(), |spec, name| format!("{spec}#{name}"));
        let output = Command::new(env!("CARGO_BIN_EXE_archc"))
            .args(["sample", &target, "--out", "out.png", "--weights"])
            .arg(weights)
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .expect("the program runs");
        let code = output.status.code().expect("an exit code");
        Run { code, err: String::from_utf8_lossy(&output.stderr).into_owned() }
    }

    fn made(&self, name: &str) -> HostTensor {
        tensor(&self.path("out.safetensors"), name)
    }
}

fn tensor(file: &Path, name: &str) -> HostTensor {
    let file = TensorFile::open(file).expect("a file of tensors");
    file.tensors().and_then(|tensors| tensors.read(name)).expect("a tensor")
}

/// Runs a pipeline, the first of its file or another one, from the noise of its folder, and compares with what diffusers
/// made in as many steps.
fn agrees(name: &str, pipeline: Option<&str>, expected: &str, arguments: &[&str]) {
    agrees_in(&published(name), name, pipeline, expected, arguments);
}

/// The largest difference of an element, as a share of the deviation of all.
fn off(made: &HostTensor, wanted: &HostTensor) -> f32 {
    assert_eq!(made.shape, wanted.shape);
    let pairs = made.to_f32().into_iter().zip(wanted.to_f32());
    pairs.map(|(made, wanted)| (made - wanted).abs()).fold(0.0, f32::max) / wanted.statistics().std as f32
}

/// The same with the weights of another folder.
fn agrees_in(folder: &Path, name: &str, pipeline: Option<&str>, expected: &str, arguments: &[&str]) {
    let mut place = Place::of(name);
    place.pipeline = pipeline.map(str::to_owned);
    let expected = published(name).join(expected);
    let inputs = expected.to_str().expect("a path");
    let run = place.sample(folder, &[arguments, &["--inputs", inputs]].concat());
    assert_eq!(run.code, 0, "{}", run.err);
    let off = ["latents", "samples"].map(|what| off(&place.made(what), &tensor(&expected, what)));
    assert!(off.iter().all(|off| *off < TOLERANCE), "{name}: latents and samples are off by {off:?}");
    let picture = image::open(place.path("out.png")).expect("a picture");
    let samples = place.made("samples");
    let size = [picture.height() as usize, picture.width() as usize];
    // Frames of a video stand beside each other.
    assert!(samples.shape.ends_with(&size) || samples.shape.len() == 5, "{size:?}");
}

#[test]
fn stable_diffusion_1_5() {
    let arguments = ["--prompt", PROMPT, "--negative", "blurry", "--steps", "5"];
    agrees("sd15", None, EXPECTED, &arguments);
}

#[test]
fn stable_diffusion_2_1() {
    // Texts are filled with `!` there, which is a special token by that.
    agrees("sd21", None, EXPECTED, &["--prompt", "Wow!! The cat's", "--guidance", "5", "--steps", "5"]);
}

#[test]
fn sdxl_with_a_negative_text() {
    let arguments = ["--prompt", PROMPT, "--negative", "blurry", "--steps", "6"];
    agrees("sdxl", None, "expected_base.safetensors", &arguments);
}

#[test]
fn sdxl_whose_refiner_takes_over() {
    agrees("sdxl", Some("sdxl_refined"), EXPECTED, &["--prompt", PROMPT, "--steps", "6"]);
}

#[test]
fn stable_diffusion_3_with_t5_and_without() {
    let arguments = ["--prompt", PROMPT, "--negative", "blurry", "--steps", "4"];
    agrees("sd3", None, EXPECTED, &arguments);
    // Some files hold the table of words of T5 twice, or by its other name.
    let (folder, name) = (copy("sd3"), "text_encoder_3/model.safetensors");
    let mut twice = tensors(&folder.path().join(name));
    let table = twice.get("shared.weight").expect("a table").clone();
    twice.insert("encoder.embed_tokens.weight".to_owned(), table);
    write(&folder.path().join(name), &twice).expect("written");
    agrees_in(folder.path(), "sd3", None, EXPECTED, &arguments);

    for part in ["tokenizer_3", "text_encoder_3"] {
        std::fs::remove_dir_all(folder.path().join(part)).expect("removed");
    }
    let words = [
        "tokenizer_3: there is no `vocab.json`",
        "text_encoder_3: config.json",
        "text_encoder_3: there are no weights",
    ];
    fails(&Place::of("sd3"), folder.path(), &arguments, &words);
    agrees_in(folder.path(), "sd3", Some("sd3_without_t5"), "expected_without_t5.safetensors", &arguments);
}

/// The folder of Stable Diffusion 1.5 with other schedulers: what they say is what is done.
#[test]
fn samplers_are_those_of_the_folder() {
    let (folder, schedulers) = (copy("sd15"), published("schedulers"));
    let place = Place::of("sd15");
    let latents = schedulers.join("latents.safetensors");
    let inputs = place.path("inputs.safetensors");
    write(&inputs, &BTreeMap::from([("noise".to_owned(), tensor(&latents, "noise"))])).expect("written");
    let names = ["pndm", "ddim", "ddim_trailing", "euler_karras", "heun", "dpm", "dpm_leading", "dpm_karras"];
    for name in names {
        let to = folder.path().join("scheduler/scheduler_config.json");
        std::fs::copy(schedulers.join(name).with_extension("json"), to).expect("a copy");
        let arguments = ["--prompt", PROMPT, "--negative", "blurry", "--steps", "5", "--inputs", "inputs.safetensors"];
        let run = place.sample(folder.path(), &arguments);
        assert_eq!(run.code, 0, "{name}: {}", run.err);
        let off = off(&place.made("latents"), &tensor(&latents, name));
        assert!(off < TOLERANCE, "{name}: latents are off by {off:e}");
    }
}

#[test]
fn a_scheduler_without_a_sampler_is_said_with_what_else_is_wrong() {
    let (place, folder) = (Place::of("sd15"), copy("sd15"));
    let config = r#"{ "_class_name": "UniPCMultistepScheduler", "beta_schedule": "linear" }"#;
    std::fs::write(folder.path().join("scheduler/scheduler_config.json"), config).expect("a file");
    let differs = "scheduler_config.json: `beta_schedule` is \"linear\" there, and \"scaled_linear\" in the process";
    let none = "scheduler: scheduler_config.json: there is no sampler here for `UniPCMultistepScheduler`; choose with";
    fails(&place, folder.path(), &ANY, &[differs, none]);
    let run = place.sample(folder.path(), &[&ANY[..], &["--sampler", "euler"]].concat());
    assert!(run.err.contains(differs) && !run.err.contains(none), "{}", run.err);
}

#[test]
fn stable_video_diffusion_of_an_image() {
    agrees("svd", None, EXPECTED, &["--steps", "4", "--columns", "3"]);
    let (place, folder) = (Place::of("svd"), published("svd"));
    fails(&place, &folder, &[], &["image: is needed"]);
    fails(&place, &folder, &["--prompt", "a cat"], &["takes no text"]);
}

#[test]
fn an_image_is_a_file_and_noise_that_is_not_given_is_drawn() {
    let (place, folder, expected) = (Place::of("svd"), published("svd"), published("svd").join(EXPECTED));
    let mut given = tensors(&expected);
    let image = given.remove("image").expect("an image");
    let size = image.shape.iter().skip(2).map(|size| *size as u32).collect::<Vec<_>>();
    let [height, width] = <[u32; 2]>::try_from(size).expect("a height and a width");
    let bytes: Vec<u8> = image.to_f32().iter().map(|value| ((value + 1.0) * 127.5).round() as u8).collect();
    let picture = image::RgbImage::from_fn(width, height, |x, y| {
        let channel = |at: u32| bytes.get((((at * height) + y) * width + x) as usize).copied().expect("a pixel");
        image::Rgb([channel(0), channel(1), channel(2)])
    });
    picture.save(place.path("picture.png")).expect("a picture");
    write(&place.path("all.safetensors"), &given).expect("written");
    given.remove("augmentation");
    write(&place.path("start.safetensors"), &given).expect("written");

    let whole = expected.to_str().expect("a path").to_owned();
    let latents = |arguments: &[&str]| {
        let run = place.sample(&folder, &[&["--steps", "1"], arguments].concat());
        assert_eq!(run.code, 0, "{}", run.err);
        place.made("latents")
    };
    let picture = ["--image", "image=picture.png"];
    let of_tensors = latents(&["--inputs", &whole]);
    let of_file = latents(&[&picture[..], &["--inputs", "all.safetensors"]].concat());
    assert!(off(&of_file, &of_tensors) < TOLERANCE);
    let drawn = |seed: &str| latents(&[&picture[..], &["--inputs", "start.safetensors", "--seed", seed]].concat());
    let first = drawn("1");
    assert!(first != drawn("2") && first != of_file);

    let inputs = |image: &str, words: &[&str]| {
        let run = place.sample(&folder, &["--image", image]);
        assert_eq!(run.code, FAILURE, "{}", run.err);
        words.iter().for_each(|word| assert!(run.err.contains(word), "no `{word}` in:\n{}", run.err));
    };
    inputs("picture.png", &["write NAME=FILE"]);
    inputs("picture=picture.png", &["there is no image `picture`"]);
    inputs("image=start.safetensors", &["start.safetensors"]);
    // A spec says how large latents are.
    inputs("image=picture.png", &["`image` has H = 8, another input has H = 72"]);
}

/// A copy of a published folder, to be spoiled.
fn copy(name: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    for part in std::fs::read_dir(published(name)).expect("a folder") {
        let part = part.expect("an entry");
        if !part.path().is_dir() {
            continue;
        }
        let to = copy.path().join(part.file_name());
        std::fs::create_dir(&to).expect("a folder");
        for file in std::fs::read_dir(part.path()).expect("a folder") {
            let file = file.expect("an entry");
            std::fs::copy(file.path(), to.join(file.file_name())).expect("a copy");
        }
    }
    copy
}

#[test]
fn other_commands_say_what_a_pipeline_is() {
    let place = Place::of("sdxl");
    let archc = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_archc"));
        let output = command.args(arguments).current_dir(place.folder.path()).output().expect("the program runs");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().expect("an exit code"), String::from_utf8_lossy(&text).into_owned())
    };
    assert_eq!(
        archc(&["check", "sdxl.arch#sdxl_refined", "--allow", "attention/heads"]),
        (0, "1 file checked, nothing to report\n".to_owned())
    );
    let (code, text) = archc(&["ir", "sdxl.arch#sdxl"]);
    assert!(code == FAILURE && text.contains("`sdxl` is a pipeline"), "{text}");
    let (code, text) = archc(&["ir", "sdxl.arch"]);
    assert!(code == FAILURE && text.contains("only pipelines"), "{text}");
    let (code, text) = archc(&["models", "sdxl.arch"]);
    assert!(
        code == 0 && text.contains("sdxl.arch#sdxl_refined") && text.contains("tokenizer_2: ids[77, 530]"),
        "{text}"
    );
}

/// What is found in a network stands once, at its `denoise`, with the way to it.
#[test]
fn networks_are_checked_where_a_pipeline_calls_them() {
    const RULE: &str = "condition/additive-time";
    let place = Place::of("sd15");
    let check = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_archc"));
        command.args(["check", "sd15.arch", "--remarks", "--format", "json"]).args(more);
        let output = command.current_dir(place.folder.path()).output().expect("the program runs");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a report");
        let all = report.get("diagnostics").and_then(serde_json::Value::as_array).cloned().expect("a list");
        let is_found = |problem: &serde_json::Value| problem.get("id").is_some_and(|id| id == RULE);
        let found: Vec<_> = all.into_iter().filter(is_found).collect();
        (output.status.code().expect("an exit code"), found)
    };
    let text = place.text();
    let line = 1 + text.lines().position(|line| line.contains("denoise(")).expect("a denoise");
    let (code, found) = check(&[]);
    assert_eq!((code, found.len()), (0, 1), "{found:?}");
    let said = |path: &str| found.first().and_then(|problem| problem.pointer(path)).cloned().unwrap_or_default();
    assert_eq!((said("/labels/0/file"), said("/labels/0/line")), ("sd15.arch".into(), line.into()));
    assert!(said("/chain").to_string().contains("sd15"), "{found:?}");
    assert_eq!(check(&["--deny", RULE]).0, 1);

    let allow = format!("#[allow({RULE}, \"as published\")]");
    for before in ["    let latents", "pipeline sd15"] {
        place.write(&text.replace(before, &format!("{allow}\n{before}")));
        assert_eq!(check(&["--deny", RULE]), (0, vec![]), "{before}");
    }
}

/// All tensors of a file.
fn tensors(path: &Path) -> BTreeMap<String, HostTensor> {
    let file = TensorFile::open(path).expect("a file of tensors");
    let tensors = file.tensors().expect("tensors");
    tensors.names().into_iter().map(|name| (name.clone(), tensors.read(&name).expect("a tensor"))).collect()
}

#[test]
fn weights_may_be_in_several_files_and_have_earlier_names() {
    let folder = copy("sd15");
    let name = "diffusion_pytorch_model.safetensors";
    let early = |name: String| {
        let today = [(".to_q.", ".query."), (".to_k.", ".key."), (".to_v.", ".value."), (".to_out.0.", ".proj_attn.")];
        today.iter().fold(name, |name, (now, before)| name.replace(now, before))
    };
    let vae = folder.path().join("vae").join(name);
    let renamed = tensors(&vae).into_iter().map(|(name, tensor)| (early(name), tensor)).collect();
    write(&vae, &renamed).expect("written");
    let encoder = folder.path().join("text_encoder/model.safetensors");
    let mut with_ids = tensors(&encoder);
    let ids = HostTensor::i64(vec![1, 77], (0..77).collect());
    with_ids.insert("text_model.embeddings.position_ids".to_owned(), ids);
    write(&encoder, &with_ids).expect("written");

    let unet = folder.path().join("unet");
    let mut first = tensors(&unet.join(name));
    let second = first.split_off("mid_block");
    std::fs::remove_file(unet.join(name)).expect("removed");
    let mut map = serde_json::Map::new();
    for (file, tensors) in [("one.safetensors", first), ("two.safetensors", second)] {
        write(&unet.join(file), &tensors).expect("written");
        map.extend(tensors.into_keys().map(|name| (name, file.into())));
    }
    let index = serde_json::json!({ "weight_map": map }).to_string();
    std::fs::write(unet.join(format!("{name}.index.json")), index).expect("written");
    let arguments = ["--prompt", PROMPT, "--negative", "blurry", "--steps", "5"];
    agrees_in(folder.path(), "sd15", None, EXPECTED, &arguments);
}

/// Runs a pipeline that cannot run, and looks for what it says of that.
#[track_caller]
fn fails(place: &Place, weights: &Path, arguments: &[&str], words: &[&str]) {
    let run = place.sample(weights, arguments);
    assert_eq!(run.code, FAILURE, "{}", run.err);
    for word in words {
        assert!(run.err.contains(word), "no `{word}` in:\n{}", run.err);
    }
    assert!(!place.path("out.png").exists());
}

const ANY: [&str; 4] = ["--prompt", "a cat", "--steps", "5"];

#[test]
fn what_is_missing_in_a_folder_is_listed_at_once() {
    let (place, folder) = (Place::of("sd15"), copy("sd15"));
    std::fs::remove_dir_all(folder.path().join("vae")).expect("removed");
    std::fs::remove_file(folder.path().join("tokenizer/merges.txt")).expect("removed");
    std::fs::write(folder.path().join("unet/diffusion_pytorch_model.safetensors"), "no tensors").expect("a file");
    let words = [
        "tokenizer: there is no `merges.txt`",
        "vae: config.json",
        "vae: there are no weights",
        "unet: ",
        "safetensors",
    ];
    fails(&place, folder.path(), &ANY, &words);
    fails(&place, &folder.path().join("nowhere"), &ANY, &["there is no such folder"]);
}

#[test]
fn a_folder_of_another_pipeline_is_told_by_what_it_says() {
    let words = [
        "text_encoder: config.json: `act` is gelu there, and quick_gelu in the pipeline",
        "unet: config.json: `heads` is [1, 1, 2, 2] there, and [2, 2, 2, 2] in the pipeline",
        "unet: config.json: `linear_projection` is true there, and false in the pipeline",
        "scheduler: scheduler_config.json: `prediction_type` is \"v_prediction\" there",
    ];
    fails(&Place::of("sd15"), &published("sd21"), &ANY, &words);
    let place = Place::of("sd15");
    place.write(&place.text().replace("sd_vae_decoder()", "sd_vae_decoder(scale: 0.5)"));
    fails(&place, &published("sd15"), &ANY, &["vae: config.json: `scale` is 0.18215 there, and 0.5 in the pipeline"]);
}

#[test]
fn weights_of_another_network_are_not_loaded() {
    let (place, folder) = (Place::of("sd15"), copy("sd15"));
    let weights = "unet/diffusion_pytorch_model.safetensors";
    std::fs::copy(published("sd21").join(weights), folder.path().join(weights)).expect("a copy");
    let words = ["the weights do not fit", "down_blocks.0.attentions.0.proj_in.weight", "[8, 8]", "[8, 8, 1, 1]"];
    fails(&place, folder.path(), &ANY, &words);
}

#[test]
fn a_text_is_not_cut() {
    let (place, folder) = (Place::of("sd15"), published("sd15"));
    let text = "cat ".repeat(100);
    fails(&place, &folder, &["--prompt", &text], &["tokenizer: the text has 102 tokens", "77 is the most"]);
    let negative = ["--prompt", "a cat", "--guidance", "2", "--negative", &text];
    fails(&place, &folder, &negative, &["tokenizer: the text has 102 tokens"]);
}

#[test]
fn options_that_make_no_sense_are_said_before_anything_runs() {
    let (place, folder) = (Place::of("sd15"), published("sd15"));
    fails(&place, &folder, &[], &["--prompt"]);
    fails(&place, &folder, &["--prompt", "a cat", "--labels", "1"], &["--labels"]);
    fails(&place, &folder, &["--prompt", "a cat", "--sampler", "flow_euler"], &["does not fit the schedule"]);
    fails(&place, &folder, &["--prompt", "a cat", "--spacing", "linspace", "--offset", "1"], &["`leading`"]);
    place.write(&place.text().replace("guidance: 7.5", "first_guidance: 1, guidance: 7.5"));
    fails(&place, &folder, &ANY, &["only a video has frames"]);
}
