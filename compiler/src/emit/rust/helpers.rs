//! What Burn lacks, as source: functions of one small module, of which a crate gets those that it uses.

use indexmap::IndexSet;

/// Name, source, and the other helpers it calls.
type Helper = (&'static str, &'static str, &'static [&'static str]);

macro_rules! helpers {
    ($folder:literal: $($name:literal => [$($needs:literal),*]),* $(,)?) => {
        &[$(($name, include_str!(concat!($folder, $name, ".rs")), &[$($needs),*])),*]
    };
}

const HELPERS: &[Helper] = helpers! {
    "helpers/":
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
    "relative_buckets" => [],
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
    "resize" => ["resize_weights"],
    "resize_weights" => [],
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
};

/// Helpers of crates with kernels, in place of those of the same name or by themselves.
const WITH_KERNELS: &[Helper] = helpers! {
    "helpers/kernels/":
    "linear" => ["primitive", "tensor"],
    "conv2d" => ["primitive", "tensor"],
    "attend" => ["primitive", "tensor"],
    "activation" => ["primitive", "tensor"],
    "layer_norm" => ["normalize"],
    "affine_layer_norm" => ["layer_norm", "normalize"],
    "group_norm" => ["normalize"],
    "affine_group_norm" => ["group_norm", "normalize"],
    "normalize" => ["primitive", "tensor"],
    "add" => ["primitive", "tensor"],
    "multiply" => ["primitive", "tensor"],
    "primitive" => [],
    "tensor" => [],
};

/// Items of Burn that helpers name, and where they are.
const ITEMS: &[(&str, &[&str])] = &[
    ("burn::module", &["Initializer", "Param"]),
    ("burn::nn::conv", &["Conv1d", "Conv1dConfig", "Conv2d", "Conv2dConfig", "Conv3d", "Conv3dConfig"]),
    ("burn::nn", &["GroupNorm", "LayerNorm", "Linear", "LinearConfig", "PaddingConfig2d", "RmsNorm"]),
    ("burn::tensor", &["TensorPrimitive"]),
    ("burn::tensor::ops", &["FloatTensor"]),
];

/// Items of kernels that helpers name, and where they are.
const ITEMS_OF_KERNELS: &[(&str, &[&str])] = &[
    ("super::kernels", &["Function", "Kernels"]),
    ("super::kernels::attention", &["Heads"]),
    ("super::kernels::broadcast", &["Binary", "Spread"]),
    ("super::kernels::conv2d", &["Window"]),
    ("super::kernels::norm", &["Rows"]),
];

/// The module with the helpers of those names and all that they call, in the order of the list.
pub(super) fn file(names: &IndexSet<&'static str>, kernels: bool) -> String {
    let own: &[Helper] = if kernels { WITH_KERNELS } else { &[] };
    let is_replaced = |(name, ..): &&Helper| !own.iter().any(|(other, ..)| other == name);
    let helpers: Vec<&Helper> = HELPERS.iter().filter(is_replaced).chain(own).collect();
    let mut wanted = names.clone();
    // Which of them need a backend that has kernels.
    let mut runs_kernels: Vec<&str> = own.iter().map(|(name, ..)| *name).collect();
    // Helpers call those that are further down or up the list; a few rounds reach all.
    for _ in 0..4 {
        for (name, _, needs) in &helpers {
            if wanted.contains(name) {
                wanted.extend(needs.iter().copied());
            }
            if needs.iter().any(|need| runs_kernels.contains(need)) && !runs_kernels.contains(name) {
                runs_kernels.push(*name);
            }
        }
    }
    let source = |(name, source, _): &&Helper| {
        let is_plain = !runs_kernels.contains(name) || matches!(*name, "primitive" | "tensor");
        if is_plain { (*source).to_owned() } else { source.replace("B: Backend", "B: Kernels") }
    };
    let sources: Vec<String> = helpers.iter().filter(|(name, ..)| wanted.contains(name)).map(source).collect();
    let body = sources.join("\n");
    let mut uses = String::new();
    let items_of_kernels = if kernels { ITEMS_OF_KERNELS } else { &[] };
    for (path, items) in items_of_kernels.iter().chain(ITEMS) {
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
