//! `DiTTransformer2DModel`.

use super::PROCESS;
use crate::import::config::Config;
use crate::import::key::{Class, Kind, key, only};
use crate::import::preset::Preset;

pub(super) const DIT: Class = Class {
    name: "DiTTransformer2DModel",
    family: ("dit", "DiT"),
    keys: &[
        key("in_channels", Kind::Size, "4").is("channels"),
        key("out_channels", Kind::Size, "null").or_null(),
        key("patch_size", Kind::Size, "2").is("patch"),
        key("sample_size", Kind::Size, "32").is("size"),
        key("num_layers", Kind::Size, "28").is("depth"),
        key("num_attention_heads", Kind::Size, "16").is("heads"),
        key("attention_head_dim", Kind::Size, "72"),
        key("num_embeds_ada_norm", Kind::Size, "1000").is("classes"),
        key("norm_eps", Kind::Number, "1e-5"),
        only("norm_type", &["\"ada_norm_zero\""]),
        only("norm_elementwise_affine", &["false"]),
        only("activation_fn", &["\"gelu-approximate\""]),
        only("attention_bias", &["true"]),
        only("attention_type", &["\"default\""]),
        only("caption_channels", &["null"]),
        only("cross_attention_dim", &["null"]),
        only("double_self_attention", &["false"]),
        only("dropout", &["0.0"]),
        only("interpolation_scale", &["null", "1"]),
        only("num_vector_embeds", &["null"]),
        only("only_cross_attention", &["false"]),
        only("use_additional_conditions", &["null", "false"]),
    ],
    inert: &["norm_num_groups", "upcast_attention", "use_linear_projection"],
    translate,
};

fn translate(config: &mut Config<'_>, preset: &mut Preset) {
    if let Some(channels) = config.size("in_channels") {
        // Upstream `null` means as many as go in; the family has twice as many unless told.
        preset.set_unless("out_channels", config.size("out_channels").unwrap_or(channels), channels.saturating_mul(2));
    }
    if let (Some(heads), Some(width)) = (config.size("num_attention_heads"), config.size("attention_head_dim")) {
        preset.set("dim", heads.saturating_mul(width));
    }
    if let (Some(sample), Some(patch)) = (config.size("sample_size"), config.size("patch_size"))
        && sample % patch != 0
    {
        let message = format!("patches of {patch} do not divide a sample of {sample}");
        config.contradiction(message, &["patch_size", "sample_size"], None);
    }
    eps(config, preset);
    preset.note(
        "diffusers has lost how the network starts: a `DiTTransformer2DModel` that is trained from scratch has no zeros \
         in modulation and output (adaLN-Zero). Here they start as in facebookresearch/DiT.",
    );
    preset.note(
        "Parameters have the names of facebookresearch/DiT. A checkpoint of diffusers calls them otherwise, and holds a \
         copy of the time and label embedding for each block.",
    );
    preset.note(PROCESS);
}

/// diffusers uses the key for one of the three norms, and 1e-6, which the release has for all, for the others.
fn eps(config: &mut Config<'_>, preset: &mut Preset) {
    match config.number("norm_eps") {
        Some(1e-5) => preset.note(
            "`norm_eps` is 1e-5 by default in diffusers, for the norm in front of each feed-forward alone; the network \
             was trained with 1e-6 everywhere, and so it is here.",
        ),
        Some(1e-6) | None => {}
        Some(other) => {
            let help = "`std.models.dit` has 1e-6 everywhere, and stands for the 1e-5 of diffusers too".to_owned();
            config.unsupported(format!("`norm_eps` is {other}"), &["norm_eps"], help);
        }
    }
}
