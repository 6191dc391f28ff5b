//! What Burn lacks, as source: functions of one small module, of which a crate gets those that it uses.

use indexmap::IndexSet;

macro_rules! helpers {
    ($($name:literal => [$($needs:literal),*]),* $(,)?) => {
        /// Name, source, and the other helpers it calls.
        const HELPERS: &[(&str, &str, &[&str])] =
            &[$(($name, include_str!(concat!("helpers/", $name, ".rs")), &[$($needs),*])),*];
    };
}

helpers! {
    "linear" => [],
    "new_linear" => [],
    "new_conv1d" => [],
    "new_conv2d" => [],
    "new_conv3d" => [],
    "attention" => ["attend"],
    "causal_attention" => ["attend"],
    "biased_attention" => ["attend"],
    "attend" => [],
    "gelu_tanh" => [],
    "quick_gelu" => [],
    "layer_norm" => [],
    "rms_norm" => [],
    "head_norm" => [],
    "group_norm" => ["layer_norm"],
    "pixel_norm" => ["magnitude"],
    "mp_linear" => ["unit_rows"],
    "mp_conv2d" => ["unit_rows"],
    "unit_rows" => ["magnitude"],
    "magnitude" => [],
    "sinusoid" => ["waves"],
    "sinusoid_sin_first" => ["waves"],
    "waves" => [],
    "indices" => [],
    "sincos_grid" => ["sincos_values"],
    "sincos_values" => [],
    "crop_grid" => [],
    "table" => [],
    "to_image" => [],
    "to_video" => [],
    "transpose_tokens" => [],
    "unpatchify" => [],
    "upsample" => [],
    "average_pool" => [],
    "resample" => [],
    "resample_up" => [],
    "fourier" => ["low_frequencies"],
    "low_frequencies" => [],
    "filter" => ["filter_values"],
    "filter_values" => [],
    "chunk" => [],
    "chunk_groups" => ["slice_groups"],
    "slice_groups" => [],
    "softmax_positions" => [],
    "repeat_each" => [],
    "repeat_all" => [],
    "drop_label" => [],
    "drop_elements" => ["dropout"],
    "drop_samples" => ["drop_path"],
    "drop_path" => ["dropout"],
    "dropout" => [],
    "end_token" => ["first_token"],
    "end_token_of" => ["first_token"],
    "first_token" => [],
}

/// Items of Burn that helpers name, and where they are.
const ITEMS: &[(&str, &[&str])] = &[
    ("burn::module", &["Initializer", "Param"]),
    ("burn::nn::conv", &["Conv1d", "Conv1dConfig", "Conv2d", "Conv2dConfig", "Conv3d", "Conv3dConfig"]),
    ("burn::nn", &["Linear", "LinearConfig", "RmsNorm"]),
];

/// The module with the helpers of those names and all that they call, in the order of the list.
pub(super) fn file(names: &IndexSet<&'static str>) -> String {
    let mut wanted = names.clone();
    // Helpers call those that are further down or up the list; a few rounds reach all.
    for _ in 0..4 {
        for (name, _, needs) in HELPERS {
            if wanted.contains(name) {
                wanted.extend(needs.iter().copied());
            }
        }
    }
    let sources: Vec<&str> =
        HELPERS.iter().filter(|(name, ..)| wanted.contains(name)).map(|(_, source, _)| *source).collect();
    let body = sources.join("\n");
    let mut uses = String::new();
    for (path, items) in ITEMS {
        let found: Vec<&str> = items.iter().copied().filter(|item| mentions(&body, item)).collect();
        match found.as_slice() {
            [] => {}
            [only] => uses.push_str(&format!("use {path}::{only};\n")),
            many => uses.push_str(&format!("use {path}::{{{}}};\n", many.join(", "))),
        }
    }
    let prelude = if body.is_empty() { "" } else { "use burn::prelude::*;\n" };
    format!("//! What Burn lacks.\n\n{uses}{prelude}\n{body}")
}

/// Whether a text has a word.
fn mentions(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|own| own == word)
}
