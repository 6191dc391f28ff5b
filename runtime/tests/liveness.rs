//! The predicted first step at which a parameter moves is the measured one: on the published architectures, and on
//! random networks with zeros in random places.

use archc_compiler::ir::Graph;
use archc_compiler::{Options, compile};
use archc_runtime::init;
use archc_runtime::wake::{self, Awakening};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use std::fmt::Write;
use std::sync::Arc;

/// Steps that are measured; the deepest chain of zeros in these tests wakes up earlier.
const STEPS: u32 = 7;
const NETWORKS: u64 = 300;

fn graph(source: &str, settings: &[(&str, &str)]) -> Arc<Graph> {
    graph_of(source, None, settings)
}

fn graph_of(source: &str, model: Option<&str>, settings: &[(&str, &str)]) -> Arc<Graph> {
    let sources = Specs { source };
    let settings: Vec<_> = settings
        .iter()
        .map(|(name, value)| {
            let value = archc_grammar::parse_expression(value, archc_compiler::FileId(0)).expect("an expression");
            (Arc::from(*name), value)
        })
        .collect();
    let compiled = compile("main.arch", model, &settings, &sources, &Options::default()).expect("it exists");
    let errors: Vec<String> = compiled.diagnostics.iter().map(|problem| problem.message.clone()).collect();
    Arc::new(compiled.graph.ok_or_else(|| format!("{source}\n{}", errors.join("\n"))).expect("the network compiles"))
}

/// A spec in memory.
struct Specs<'s> {
    source: &'s str,
}

impl archc_compiler::source::Sources for Specs<'_> {
    fn read(&self, _: &str) -> Result<String, archc_compiler::source::SourceError> {
        Ok(self.source.to_owned())
    }
}

/// Parameters whose predicted and measured first steps differ.
fn differences(graph: &Arc<Graph>, seed: u64) -> Vec<String> {
    let measured = wake::measure(graph, seed, 4, STEPS).expect("training");
    let differs = measured.into_iter().filter(|own| !own.holds(STEPS));
    let name = |own: Awakening| {
        let path = &graph.parameter(own.parameter).path;
        format!("{path}: predicted {:?}, measured {:?}", own.predicted, own.measured)
    };
    differs.map(name).collect()
}

#[test]
fn published_architectures_wake_up_as_predicted() {
    let dit = graph(
        include_str!("../../specs/dit.arch"),
        &[("size", "8"), ("dim", "32"), ("depth", "2"), ("heads", "2"), ("classes", "5")],
    );
    assert_eq!(differences(&dit, 1), Vec::<String>::new());
    let ddpm = graph(
        include_str!("../../specs/ddpm.arch"),
        &[
            ("widths", "[16, 16]"),
            ("attention", "[false, true]"),
            ("groups", "4"),
            ("layers", "1"),
            ("H", "8"),
            ("W", "8"),
        ],
    );
    assert_eq!(differences(&ddpm, 1), Vec::<String>::new());
    let transformers = [
        (include_str!("../../specs/uvit.arch"), "size: 8, dim: 24, depth: 4, heads: 2"),
        (include_str!("../../specs/pixart.arch"), "size: 8, depth: 2, heads: 2, head_dim: 12, text_dim: 10, M: 5"),
        (include_str!("../../specs/clip_text.arch"), "vocabulary: 12, dim: 16, layers: 2, heads: 2, context: 6"),
        (
            include_str!("../../specs/sd3.arch"),
            "channels: 2, depth: 3, heads: 2, head_dim: 8, text_dim: 6, pooled_dim: 5, size: 8, table: 6, M: 3, H: 8, W: 8, \
             qk_norm: true, dual_layers: [0]",
        ),
        (include_str!("../../specs/point_e.arch"), "width: 16, layers: 2, heads: 2, N: 5"),
        (include_str!("../../specs/gaussians.arch"), "dim: 16, depth: 2, heads: 2, context_dim: 6, N: 5, M: 3"),
        (
            include_str!("../../specs/gaussians.arch"),
            "dim: 16, depth: 2, heads: 2, context_dim: 6, N: 5, M: 3, in_context: true",
        ),
    ];
    for (spec, settings) in transformers {
        let settings: Vec<(&str, &str)> =
            settings.split(',').filter_map(|setting| setting.trim().split_once(": ")).collect();
        assert_eq!(differences(&graph(spec, &settings), 1), Vec::<String>::new(), "{settings:?}");
    }
    let levels = [("mult", "[1, 2]"), ("attention", "[false, true]"), ("layers", "1"), ("width", "16")];
    let adm = [("classes", "3"), ("head_width", "16"), ("groups", "4"), ("H", "8"), ("W", "8")];
    let edm = [("classes", "3"), ("augment", "2"), ("size", "8"), ("H", "8"), ("W", "8")];
    let edm2 =
        [("classes", "3"), ("head_width", "16"), ("size", "8"), ("H", "8"), ("W", "8"), ("logvar_channels", "4")];
    for (source, settings) in [
        (include_str!("../../specs/adm.arch"), &adm[..]),
        (include_str!("../../specs/edm.arch"), &edm),
        (include_str!("../../specs/edm2.arch"), &edm2),
    ] {
        let graph = graph(source, &[&levels, settings].concat());
        // What only the second output sees moves with the first one's loss by nothing.
        let found: Vec<String> = differences(&graph, 1).into_iter().filter(|name| !name.contains("logvar")).collect();
        assert_eq!(found, Vec::<String>::new());
    }
    let latent = graph(
        include_str!("../../specs/stable_diffusion.arch"),
        &[
            ("widths", "[16, 16]"),
            ("depth", "[0, 1]"),
            ("heads", "[1, 2]"),
            ("groups", "4"),
            ("layers", "1"),
            ("text_width", "8"),
            ("pooled", "6"),
            ("ids", "2"),
            ("id_features", "4"),
            ("L", "3"),
            ("H", "4"),
            ("W", "8"),
        ],
    );
    assert_eq!(differences(&latent, 1), Vec::<String>::new());
    let video = graph(
        include_str!("../../specs/svd.arch"),
        &[
            ("widths", "[16]"),
            ("depth", "[1]"),
            ("heads", "[2]"),
            ("groups", "4"),
            ("layers", "1"),
            ("context_width", "8"),
            ("id_features", "4"),
            ("T", "3"),
            ("L", "2"),
            ("H", "3"),
            ("W", "4"),
        ],
    );
    assert_eq!(differences(&video, 1), Vec::<String>::new());
}

/// The other models of the files.
#[test]
fn further_models_wake_up_as_predicted() {
    let (clip, uvit) = (include_str!("../../specs/clip_text.arch"), include_str!("../../specs/uvit.arch"));
    let (pixart, point_e) = (include_str!("../../specs/pixart.arch"), include_str!("../../specs/point_e.arch"));
    let (adm, kl) = (include_str!("../../specs/edm.arch"), include_str!("../../specs/autoencoder_kl.arch"));
    let svd = include_str!("../../specs/svd.arch");
    let small = "width: 16, layers: 2, heads: 2, N: 5";
    let autoencoder = "widths: [16; 16], layers: 1, groups: 4";
    let models = [
        (clip, "ClipTextProjected", "vocabulary: 12, dim: 16, layers: 2, heads: 2, context: 6".to_owned()),
        (uvit, "UViTClass", "size: 8, dim: 24, depth: 4, heads: 2, classes: 3".to_owned()),
        (uvit, "UViTText", "size: 8, dim: 24, depth: 4, heads: 2, text_dim: 5".to_owned()),
        (
            pixart,
            "PixArtMultiScale",
            "size: 8, depth: 2, heads: 2, head_dim: 12, text_dim: 10, M: 5, H: 8, W: 8".to_owned(),
        ),
        (point_e, "PointEGrid", format!("{small}, features: 6, M: 3")),
        (point_e, "PointEVector", format!("{small}, features: 6")),
        (point_e, "PointEUpsample", format!("{small}, features: 6, M: 3, K: 4")),
        (
            adm,
            "EDMADM",
            "mult: [1; 2], attention: [false; true], layers: 1, width: 16, head_width: 16, classes: 3, size: 8, H: 8, W: 8"
                .to_owned(),
        ),
        (kl, "AutoencoderKL", format!("{autoencoder}, H: 8, W: 8")),
        (kl, "AutoencoderKLDecoder", format!("{autoencoder}, H: 4, W: 4")),
        (svd, "VideoAutoencoder", format!("{autoencoder}, T: 3, H: 8, W: 8")),
        (svd, "VideoAutoencoderEncoder", format!("{autoencoder}, H: 8, W: 8")),
        (svd, "VideoAutoencoderDecoder", format!("{autoencoder}, T: 3, H: 4, W: 4")),
        (
            include_str!("../../specs/clip_vision.arch"),
            "ClipVisionProjected",
            "layers: 2, dim: 16, heads: 2, size: 8, patch: 4, projection: 6".to_owned(),
        ),
    ];
    for (spec, model, settings) in models {
        let settings: Vec<(&str, String)> = settings
            .split(", ")
            .filter_map(|setting| setting.trim().split_once(": "))
            // Lists are written with another sign than the one between settings.
            .map(|(name, value)| (name, value.replace(';', ",")))
            .collect();
        let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(differences(&graph_of(spec, Some(model), &settings), 1), Vec::<String>::new(), "{model}");
    }
}

/// Joined sequences of which nobody knows the length: where a part begins is known in front of them alone.
#[test]
fn sequences_of_unknown_length_wake_up_as_predicted() {
    const CONDITIONS: &[(&str, u64)] = &[
        ("a -> linear(16) -> to_tokens()", 1),
        ("a -> linear(16, init: zero) -> to_tokens()", 1),
        ("b -> to_tokens()", 1),
        ("parameter(tokens[2, 16], init: zero)", 2),
        ("parameter(tokens[2, 16], init: normal(1.0))", 2),
        ("concat(a -> linear(16, init: zero) -> to_tokens(), b -> linear(16) -> to_tokens(), along: tokens)", 2),
    ];
    const PARTS: &[&str] = &[
        "linear(16)",
        "linear(16, init: zero)",
        "layer_norm()",
        "residual { layer_norm() -> linear(16) -> silu() -> linear(16, init: zero) }",
        "{ h => attention(h -> linear(16), h -> linear(16), h -> linear(16), heads: 2) }",
        "residual { h => attention(h -> linear(16), h -> linear(16), h -> linear(16, init: zero), heads: 2) -> linear(16) }",
    ];
    let mut failures = vec![];
    for seed in 0..60 {
        let mut rng = init::stream(seed, "sequences");
        let mut pick = || CONDITIONS.choose(&mut rng).copied().unwrap_or(("b -> to_tokens()", 1));
        let ((first, one), (second, two)) = (pick(), pick());
        let front = rng.random_bool(0.5);
        let whole = if front { "concat(e, x, along: tokens)" } else { "concat(x, e, along: tokens)" };
        let start = if front { one + two } else { 0 };
        let mut source =
            "model Net(x: tokens[N, 16], a: vector[4], b: vector[16], N: dim = 6) -> tokens[N, 8] {\n".to_owned();
        let _ = writeln!(source, "    let c1 = {first}\n    let c2 = {second}");
        let _ = writeln!(source, "    let e = concat(c1, c2, along: tokens)\n    let h = {whole}");
        for _ in 0..rng.random_range(1..4) {
            let part = PARTS.choose(&mut rng).copied().unwrap_or("silu()");
            let _ = writeln!(source, "    h = h -> {part}");
        }
        let _ = writeln!(source, "    h -> slice({start}, N, along: tokens) -> linear(8)\n}}");
        let found = differences(&graph(&source, &[]), seed);
        if !found.is_empty() {
            failures.push(format!("seed {seed}\n{source}{}\n", found.join("\n")));
        }
    }
    let shown: Vec<&String> = failures.iter().take(3).collect();
    assert!(failures.is_empty(), "{} networks differ; the first:\n{shown:#?}", failures.len());
}

/// Zeros of every mechanism: gates, scales, residuals, fusions.
#[test]
fn mechanisms_wake_up_as_predicted() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs/examples/mechanisms");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let source = std::fs::read_to_string(&path).expect("a spec");
        assert_eq!(differences(&graph(&source, &[]), 1), Vec::<String>::new(), "{}", path.display());
        count += 1;
    }
    assert!(count > 5, "{count} specs");
}

/// Frames of a video whose positions are all alike are alike too: a norm of them is zero.
#[test]
fn frames_of_a_uniform_video_are_uniform() {
    let source = "model Net(x: video[3, 8, 2, 3]) -> video[3, 8, 2, 3] {
        let h = exp(x -> conv3d(8, kernel: 1, init: zero))
        (h -> residual { to_frames() -> group_norm(4) -> conv2d(8, kernel: 1, init: zero) -> to_video() }) -> conv3d(8, kernel: 1)
    }";
    assert_eq!(differences(&graph(source, &[]), 1), Vec::<String>::new());
}

/// Zeros behind and before everything that moves positions between the batch and a sample, reduces, and bounds.
#[test]
fn networks_of_videos_wake_up_as_predicted() {
    const PARTS: &[&str] = &[
        "conv3d(8, kernel: 3)",
        "conv3d(8, kernel: [3, 1, 1], init: zero)",
        "conv3d(8, kernel: 1, init: zero)",
        "residual { group_norm(2) -> silu() -> conv3d(8, kernel: [3, 1, 1], init: zero) }",
        "to_frames() -> conv2d(8, kernel: 3, init: zero) -> to_video()",
        "residual { to_frames() -> group_norm(4) -> conv2d(8, kernel: 3, init: zero) -> silu() -> to_video() }",
        "{ h => h * (h -> reduce(mean, over: positions) -> linear(8, init: zero) -> sigmoid()) }",
        "{ h => let y = h -> to_frames(); let z = y * (y -> reduce(mean, over: positions) -> linear(8) -> tanh() -> reduce(sum)); z -> to_video() }",
        "{ h => let y = (h -> to_frames()) * (c -> linear(8, init: zero)); y -> to_video() }",
        "clip(-1, 2)",
        "{ h => let w = parameter(vector[1], init: constant(0.5)) -> sigmoid(); w * h + (1 - w) * (h -> residual { conv3d(8, kernel: 1, init: zero) }) }",
        "{ h => let w = c -> linear(8, init: zero) -> sigmoid(); w * (h -> residual { conv3d(8, kernel: 1) -> silu() -> conv3d(8, kernel: 1, init: zero) }) + (1 - w) * h }",
        "{ h => exp(0.1 * h) }",
        "to_frames() -> fourier(radius: 1, low: 0.5) -> to_video()",
        "residual { to_frames() -> conv2d(8, kernel: 3, init: zero) -> fourier(low: 0) -> to_video() }",
        "to_frames() -> fourier(high: 0, band: half_open) -> group_norm(4) -> to_video()",
        "to_frames() -> resize(5, 2) -> conv2d(8, kernel: 1, init: zero) -> resize(2, 3) -> to_video()",
        "residual { to_frames() -> group_norm(4) -> resize(1, 1) -> conv2d(8, kernel: 1, init: zero) -> resize(2, 3) -> to_video() }",
        "to_frames() -> to_tokens() -> transpose_tokens() -> linear(8) -> { h =>
             let [q, k, v] = h -> linear(24) -> chunk(3)
             h + (attention(q, k, v, heads: 2) -> linear(8, init: zero))
         } -> transpose_tokens() -> to_image(2, 3) -> to_video()",
        "to_frames() -> to_tokens() -> transpose_tokens() -> { h =>
             h + (indices(3) -> sinusoid(4) -> linear(8, init: zero))
         } -> transpose_tokens() -> to_image(2, 3) -> to_video()",
        "to_frames() -> to_tokens() -> { h =>
             let bias = relative_buckets(6, buckets: 8, max_distance: 5) -> embedding(2) -> to_image(6, 6)
             attention(h -> linear(8, init: zero), h -> linear(8), h -> linear(8), bias: bias, heads: 2)
         } -> to_image(2, 3) -> to_video()",
        "to_frames() -> to_tokens() -> { h =>
             let bias = relative_buckets(6) -> embedding(2, init: zero) -> to_image(6, 6)
             h + attention(text -> linear(8) -> slice(0, 1, along: tokens) + 0 * h, h, h -> linear(8), bias: bias, heads: 2)
         } -> to_image(2, 3) -> to_video()",
        "to_frames() -> to_tokens() -> { h =>
             attention(h -> linear(8), text -> linear(8), text -> linear(8, init: zero), heads: 2)
         } -> to_image(2, 3) -> to_video()",
    ];
    let mut failures = vec![];
    for seed in 0..60 {
        let mut rng = init::stream(seed, "video");
        let mut source =
            "model Net(x: video[3, 8, 2, 3], c: vector[8], text: tokens[4, 5]) -> video[3, 8, 2, 3] {\n".to_owned();
        source.push_str("    let h = x\n");
        for _ in 0..rng.random_range(1..4) {
            let part = PARTS.choose(&mut rng).copied().unwrap_or("silu()");
            let _ = writeln!(source, "    h = h -> {part}");
        }
        source.push_str("    h -> conv3d(8, kernel: 1)\n}\n");
        let found = differences(&graph(&source, &[]), seed);
        if !found.is_empty() {
            failures.push(format!("seed {seed}\n{source}{}\n", found.join("\n")));
        }
    }
    let shown: Vec<&String> = failures.iter().take(3).collect();
    assert!(failures.is_empty(), "{} networks differ; the first:\n{shown:#?}", failures.len());
}

#[test]
fn random_networks_wake_up_as_predicted() {
    let mut failures = vec![];
    for seed in 0..NETWORKS {
        let source = Random::new(seed).network();
        let graph = graph(&source, &[]);
        let found = differences(&graph, seed);
        if !found.is_empty() {
            failures.push(format!("seed {seed}\n{source}{}\n", found.join("\n")));
        }
    }
    let shown: Vec<&String> = failures.iter().take(3).collect();
    assert!(failures.is_empty(), "{} of {NETWORKS} networks differ; the first:\n{shown:#?}", failures.len());
}

/// Writes networks over six tokens of sixteen channels and a condition.
struct Random {
    rng: ChaCha8Rng,
    text: String,
    /// Names of token values and of vectors that are bound.
    tokens: Vec<String>,
    vectors: Vec<String>,
    count: usize,
}

impl Random {
    fn new(seed: u64) -> Self {
        let mut random = Self {
            rng: init::stream(seed, "network"),
            text: String::new(),
            tokens: vec!["x".to_owned()],
            vectors: vec!["c".to_owned()],
            count: 0,
        };
        random.text.push_str("model Net(x: tokens[6, 16], c: vector[16]) -> tokens[6, 8] {\n");
        random
    }

    fn network(mut self) -> String {
        for _ in 0..self.rng.random_range(2..7) {
            match self.rng.random_range(0..12) {
                0 | 1 => self.vector(),
                2..=5 => self.simple(),
                6 => self.gated(),
                7 => self.modulated(),
                8 => self.attention(),
                9 => self.joined(),
                10 => self.residual(),
                _ => self.learned(),
            }
        }
        let (h, head) = (self.token(), self.linear(8));
        let _ = writeln!(self.text, "    {h} -> {head}\n}}");
        self.text
    }

    fn pick<'a>(&mut self, options: &[&'a str]) -> &'a str {
        options.choose(&mut self.rng).copied().unwrap_or("")
    }

    /// Mostly the newest value, so that networks are deep.
    fn token(&mut self) -> String {
        let newest = self.rng.random_bool(0.7).then(|| self.tokens.last().cloned()).flatten();
        newest.or_else(|| self.tokens.choose(&mut self.rng).cloned()).unwrap_or_default()
    }

    fn a_vector(&mut self) -> String {
        self.vectors.choose(&mut self.rng).cloned().unwrap_or_default()
    }

    fn linear(&mut self, features: usize) -> String {
        let bias = self.pick(&["", "", ", bias: false"]);
        let init = self.pick(&["", "", ", init: zero", ", bias_init: zero"]);
        let init = if bias.is_empty() { init } else { self.pick(&["", ", init: zero"]) };
        format!("linear({features}{bias}{init})")
    }

    fn act(&mut self) -> &'static str {
        // No relu: where its input is zero up to rounding, its slope is 0 or 1 by chance.
        self.pick(&["silu()", "gelu()", "tanh()", "sigmoid()", "softmax()", "cos()", "sin()", "clip(-9, 9)"])
    }

    fn norm(&mut self) -> &'static str {
        self.pick(&[
            "layer_norm()",
            "layer_norm(affine: false)",
            "layer_norm(init: zero)",
            "group_norm(4)",
            "group_norm(16)",
            "group_norm(1, affine: false)",
            "rms_norm()",
            "rms_norm(heads: 4)",
            "rms_norm(affine: false)",
            "rms_norm(heads: 2, init: zero)",
            "pixel_norm()",
            "pixel_norm(4)",
        ])
    }

    fn bind_token(&mut self, expression: &str) {
        self.count += 1;
        let name = format!("h{}", self.count);
        let _ = writeln!(self.text, "    let {name} = {expression}");
        self.tokens.push(name);
    }

    fn bind_vector(&mut self, expression: &str) {
        self.count += 1;
        let name = format!("v{}", self.count);
        let _ = writeln!(self.text, "    let {name} = {expression}");
        self.vectors.push(name);
    }

    fn vector(&mut self) {
        let (v, linear) = (self.a_vector(), self.linear(16));
        let act = self.pick(&["", " -> silu()", " -> sigmoid()", " -> relu()", " -> layer_norm()"]);
        self.bind_vector(&format!("{v} -> {linear}{act}"));
    }

    fn simple(&mut self) {
        let h = self.token();
        let stage = match self.rng.random_range(0..8) {
            0 | 1 => self.linear(16),
            2 | 3 => self.act().to_owned(),
            4 | 5 => self.norm().to_owned(),
            6 => self.mixed(),
            _ => self.resampled(),
        };
        self.bind_token(&format!("{h} -> {stage}"));
    }

    /// Maps other than `linear`.
    fn mixed(&mut self) -> String {
        let init = self.pick(&["", "", ", init: zero"]);
        match self.rng.random_range(0..3) {
            0 => format!("conv1d(16, kernel: 1{init})"),
            1 => format!("conv1d(16, kernel: 3{init})"),
            _ => format!("mp_linear(16{init})"),
        }
    }

    /// To an image of another resolution and back.
    fn resampled(&mut self) -> String {
        let filter = self.pick(&["", "", ", filter: [1, 3, 3, 1]"]);
        let init = self.pick(&["", ", init: zero"]);
        let inner = match self.rng.random_range(0..3) {
            0 => String::new(),
            1 => format!(" -> mp_conv2d(16, kernel: 3{init})"),
            _ => format!(" -> conv2d(16, kernel: 3{init})"),
        };
        format!("to_image(2, 3) -> resample(up: 2{filter}){inner} -> resample(down: 2{filter}) -> to_tokens()")
    }

    fn gated(&mut self) {
        let (h, v) = (self.token(), self.a_vector());
        let factor = self.pick(&["", "1 + "]);
        self.bind_token(&format!("{h} * ({factor}{v})"));
    }

    fn modulated(&mut self) {
        let (h, v, norm, linear) = (self.token(), self.a_vector(), self.norm(), self.linear(48));
        self.count += 1;
        let n = self.count;
        let _ = writeln!(self.text, "    let [a{n}, b{n}, g{n}] = {v} -> {linear} -> chunk(3)");
        let inner = self.linear(16);
        self.bind_token(&format!("{h} -> residual(gate: g{n}) {{ {norm} -> modulate(a{n}, b{n}) -> {inner} }}"));
    }

    fn residual(&mut self) {
        let (h, norm, first, act, second) = (self.token(), self.norm(), self.linear(16), self.act(), self.linear(16));
        let scale = self.pick(&["", "(scale: learned(0.0))", "(scale: learned(0.1, per: channel))", "(scale: 0.5)"]);
        self.bind_token(&format!("{h} -> residual{scale} {{ {norm} -> {first} -> {act} -> {second} }}"));
    }

    fn attention(&mut self) {
        let (q, k, v) = (self.token(), self.token(), self.token());
        let (lq, lk, lv) = (self.linear(16), self.linear(16), self.linear(16));
        let causal = self.pick(&["", "", ", causal: true"]);
        self.bind_token(&format!("attention({q} -> {lq}, {k} -> {lk}, {v} -> {lv}, heads: 2{causal})"));
    }

    fn joined(&mut self) {
        let (a, b) = (self.token(), self.token());
        match self.rng.random_range(0..5) {
            0 => {
                let linear = self.linear(16);
                self.bind_token(&format!("concat({a}, {b}) -> {linear}"));
            }
            2 => {
                self.count += 1;
                let (n, linear) = (self.count, self.linear(32));
                let _ = writeln!(self.text, "    let [p{n}, q{n}] = {a} -> {linear} -> chunk(2, groups: 4)");
                self.bind_token(&format!("p{n} * (1 + q{n})"));
            }
            3 => {
                let linear = self.linear(16);
                self.bind_vector(&format!("{a} -> to_vector() -> {linear}"));
            }
            1 => self.bind_token(&format!("{a} + {b}")),
            // Extra tokens, attention over all, and the extra ones dropped again.
            _ => {
                let start = self.pick(&["zero", "normal(1.0)"]);
                let (lq, lk, lv) = (self.linear(16), self.linear(16), self.linear(16));
                self.count += 1;
                let n = self.count;
                let _ = writeln!(self.text, "    let e{n} = parameter(tokens[2, 16], init: {start})");
                let _ = writeln!(self.text, "    let j{n} = concat(e{n}, {a}, along: tokens)");
                self.bind_token(&format!(
                    "attention(j{n} -> {lq}, j{n} -> {lk}, j{n} -> {lv}, heads: 2) -> slice(2, 6, along: tokens)"
                ));
            }
        }
    }

    fn learned(&mut self) {
        let h = self.token();
        match self.rng.random_range(0..3) {
            0 => {
                let start = self.pick(&["0.0", "0.1", "1.0"]);
                let per = self.pick(&["", ", per: channel"]);
                self.bind_token(&format!("{h} -> learned({start}{per})"));
            }
            1 => {
                let start = self.pick(&["zero", "normal(1.0)"]);
                self.bind_token(&format!("{h} + parameter(tokens[6, 16], init: {start})"));
            }
            _ => {
                let start = self.pick(&["zero", "normal(1.0)", "one"]);
                self.bind_token(&format!("{h} + parameter(vector[16], init: {start})"));
            }
        }
    }
}
