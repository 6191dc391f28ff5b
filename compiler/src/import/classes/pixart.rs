//! `PixArtTransformer2DModel`: PixArt-alpha and PixArt-sigma.

use super::PROCESS;
use crate::import::config::{Config, number_text};
use crate::import::key::{Class, Kind, key, only};
use crate::import::preset::Preset;

pub(super) const PIXART: Class = Class {
    name: "PixArtTransformer2DModel",
    family: ("pixart", "PixArt"),
    keys: &[
        key("in_channels", Kind::Size, "4").is("channels"),
        key("out_channels", Kind::Size, "8").or_null(),
        key("patch_size", Kind::Size, "2").is("patch"),
        key("num_layers", Kind::Size, "28").is("depth"),
        key("num_attention_heads", Kind::Size, "16").is("heads"),
        key("attention_head_dim", Kind::Size, "72").is("head_dim"),
        key("cross_attention_dim", Kind::Size, "1152").or_null(),
        key("caption_channels", Kind::Size, "null").or_null().is("text_dim"),
        key("sample_size", Kind::Size, "128"),
        key("interpolation_scale", Kind::Number, "null").or_null(),
        key("use_additional_conditions", Kind::Flag, "null").or_null(),
        only("norm_type", &["\"ada_norm_single\""]),
        only("norm_elementwise_affine", &["false"]),
        only("norm_eps", &["1e-6"]),
        only("activation_fn", &["\"gelu-approximate\""]),
        only("attention_bias", &["true"]),
        only("attention_type", &["\"default\""]),
        only("double_self_attention", &["false"]),
        only("dropout", &["0.0"]),
        only("num_vector_embeds", &["null"]),
        only("only_cross_attention", &["false"]),
    ],
    inert: &["norm_num_groups", "num_embeds_ada_norm", "upcast_attention", "use_linear_projection"],
    translate,
};

fn translate(config: &mut Config<'_>, preset: &mut Preset) {
    if let Some(channels) = config.size("in_channels") {
        // Upstream `null` means as many as go in; the family has twice as many unless told.
        preset.set_unless("out", config.size("out_channels").unwrap_or(channels), channels.saturating_mul(2));
    }
    if config.is_null("caption_channels") {
        let help = "`std.models.pixart` projects the text: `caption_channels` is the width of its encoder".to_owned();
        config.unsupported("the width of the text is not known".to_owned(), &["caption_channels"], help);
    }
    if let (Some(heads), Some(width)) = (config.size("num_attention_heads"), config.size("attention_head_dim")) {
        let dim = heads.saturating_mul(width);
        if let Some(own) = config.size("cross_attention_dim").filter(|own| *own != dim) {
            let message = format!("cross-attention reads {own} channels, and the text is projected to {dim}");
            let help = "`cross_attention_dim` is `num_attention_heads` times `attention_head_dim`".to_owned();
            config.contradiction(message, &["cross_attention_dim", "num_attention_heads", "attention_head_dim"], help);
        }
    }
    sizes(config, preset);
    preset.note(
        "diffusers has lost how the network starts: cross-attention and output at zero, modulation narrow. Here it starts \
         as in PixArt-alpha/PixArt-alpha.",
    );
    preset.note(PROCESS);
}

/// Micro-conditioning and the scale of positions follow from the size unless given.
fn sizes(config: &mut Config<'_>, preset: &mut Preset) {
    let (Some(sample), Some(patch)) = (config.size("sample_size"), config.size("patch_size")) else { return };
    if sample % patch != 0 {
        let message = format!("patches of {patch} do not divide a sample of {sample}");
        config.contradiction(message, &["patch_size", "sample_size"], None);
    }
    if let Some(scale) = config.number("interpolation_scale") {
        if scale > 0.0 {
            preset.set_unless("interpolation", number_text(scale), number_text((sample / 64).max(1) as f64));
        } else {
            let message = format!("positions are divided by {}", number_text(scale));
            config.unsupported(message, &["interpolation_scale"], "it is a number above zero".to_owned());
        }
    }
    let conditioned = config.flag("use_additional_conditions");
    if conditioned.unwrap_or(sample == 128) {
        preset.model = "PixArtMultiScale";
        if conditioned.is_none() {
            preset.note("`use_additional_conditions` is not given; diffusers then has them at a `sample_size` of 128.");
        }
    }
    preset.set("size", sample);
}
