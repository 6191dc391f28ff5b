//! `SD3Transformer2DModel`: Stable Diffusion 3 and 3.5.

use super::PROCESS;
use crate::import::config::{Config, list};
use crate::import::key::{Class, Kind, key, only};
use crate::import::preset::Preset;

pub(super) const SD3: Class = Class {
    name: "SD3Transformer2DModel",
    family: ("sd3", "SD3"),
    keys: &[
        key("in_channels", Kind::Size, "16").is("channels"),
        key("out_channels", Kind::Size, "16").or_null(),
        key("patch_size", Kind::Size, "2").is("patch"),
        key("num_layers", Kind::Size, "18").is("depth"),
        key("num_attention_heads", Kind::Size, "18").is("heads"),
        key("attention_head_dim", Kind::Size, "64").is("head_dim"),
        key("joint_attention_dim", Kind::Size, "4096").is("text_dim"),
        key("pooled_projection_dim", Kind::Size, "2048").is("pooled_dim"),
        key("caption_projection_dim", Kind::Size, "1152"),
        key("sample_size", Kind::Size, "128").is("size"),
        key("pos_embed_max_size", Kind::Size, "96").is("table"),
        only("qk_norm", &["null", "\"rms_norm\""]),
        key("dual_attention_layers", Kind::Indices, "[]"),
    ],
    inert: &[],
    translate,
};

fn translate(config: &mut Config<'_>, preset: &mut Preset) {
    if let Some(channels) = config.size("in_channels") {
        preset.set_unless("out_channels", config.size("out_channels").unwrap_or(channels), channels);
    }
    if let (Some(heads), Some(width)) = (config.size("num_attention_heads"), config.size("attention_head_dim")) {
        projection_is_the_width(config, heads.saturating_mul(width));
    }
    if config.word("qk_norm").is_some() {
        preset.set("qk_norm", true);
    }
    positions_cover_the_sample(config);
    dual_layers(config, preset);
    preset.note(
        "Its training code is not published; parameters start by the framework's defaults, as in diffusers, so that \
         neither modulation nor gates start at zero.",
    );
    preset.note(PROCESS);
}

/// The text is projected to the width of the tokens that it meets.
fn projection_is_the_width(config: &mut Config<'_>, dim: u64) {
    if let Some(own) = config.size("caption_projection_dim").filter(|own| *own != dim) {
        let message = format!("texts have {own} channels and images {dim}, but both meet in one attention");
        let help = "`caption_projection_dim` is `num_attention_heads` times `attention_head_dim`".to_owned();
        let keys = ["caption_projection_dim", "num_attention_heads", "attention_head_dim"];
        config.contradiction(message, &keys, help);
    }
}

fn positions_cover_the_sample(config: &mut Config<'_>) {
    let sizes = (config.size("sample_size"), config.size("patch_size"), config.size("pos_embed_max_size"));
    let (Some(sample), Some(patch), Some(table)) = sizes else { return };
    if sample % patch != 0 {
        let message = format!("patches of {patch} do not divide a sample of {sample}");
        config.contradiction(message, &["patch_size", "sample_size"], None);
    } else if sample / patch > table {
        let message = format!("a sample has {} patches a side, and there are positions for {table}", sample / patch);
        config.contradiction(message, &["pos_embed_max_size", "sample_size", "patch_size"], None);
    }
}

fn dual_layers(config: &mut Config<'_>, preset: &mut Preset) {
    let (Some(dual), Some(layers)) = (config.sizes("dual_attention_layers"), config.size("num_layers")) else { return };
    if let Some(beyond) = dual.iter().find(|own| **own >= layers) {
        let message = format!("there is no layer {beyond} of {layers}, counted from zero");
        config.contradiction(message, &["dual_attention_layers", "num_layers"], None);
    }
    let (first, last) = (dual.first().copied().unwrap_or(0), dual.last().copied().unwrap_or(0));
    let is_run = dual.len() > 2 && dual.iter().copied().eq(first..=last);
    preset.set("dual_layers", if is_run { format!("{first}..{}", last.saturating_add(1)) } else { list(&dual) });
}
