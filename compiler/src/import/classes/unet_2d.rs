//! `UNet2DModel`: the U-Net of DDPM.

use super::PROCESS;
use crate::import::config::{Config, list, number_text};
use crate::import::key::{Class, Kind, key, only};
use crate::import::levels::{Blocks, attending, groups_divide, sample_size};
use crate::import::preset::Preset;

pub(super) const UNET_2D: Class = Class {
    name: "UNet2DModel",
    family: ("ddpm", "DDPM"),
    keys: &[
        key("in_channels", Kind::Size, "3").is("channels"),
        key("out_channels", Kind::Size, "3"),
        key("block_out_channels", Kind::Sizes, "[224, 448, 672, 896]").is("widths"),
        key(
            "down_block_types",
            Kind::Words,
            r#"["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"]"#,
        ),
        key("up_block_types", Kind::Words, r#"["AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"]"#),
        key("layers_per_block", Kind::Size, "2").is("layers"),
        key("attention_head_dim", Kind::Size, "8").or_null(),
        key("norm_num_groups", Kind::Size, "32").is("groups"),
        key("norm_eps", Kind::Number, "1e-5").is("eps"),
        key("dropout", Kind::Number, "0.0").is("drop"),
        key("flip_sin_to_cos", Kind::Flag, "true"),
        key("freq_shift", Kind::Number, "0").is("shift"),
        key("sample_size", Kind::SizeOrSizes, "null").or_null(),
        key("time_embedding_dim", Kind::Size, "null").or_null(),
        only("act_fn", &["\"silu\"", "\"swish\""]),
        only("add_attention", &["true"]),
        only("attn_norm_num_groups", &["null"]),
        only("center_input_sample", &["false"]),
        only("class_embed_type", &["null"]),
        only("downsample_padding", &["1", "0"]),
        only("downsample_type", &["\"conv\""]),
        only("mid_block_scale_factor", &["1"]),
        only("mid_block_type", &["\"UNetMidBlock2D\""]),
        only("num_class_embeds", &["null"]),
        only("resnet_time_scale_shift", &["\"default\""]),
        only("time_embedding_type", &["\"positional\""]),
        only("upsample_type", &["\"conv\""]),
    ],
    inert: &["num_train_timesteps"],
    translate,
};

const DOWN: Blocks = Blocks { key: "down_block_types", plain: "DownBlock2D", attending: "AttnDownBlock2D" };
const UP: Blocks = Blocks { key: "up_block_types", plain: "UpBlock2D", attending: "AttnUpBlock2D" };

fn translate(config: &mut Config<'_>, preset: &mut Preset) {
    if let (Some(out), Some(channels)) = (config.size("out_channels"), config.size("in_channels")) {
        preset.set_unless("out_channels", out, channels);
    }
    if let Some(widths) = config.sizes("block_out_channels") {
        if let Some(attention) = attending(config, widths.len(), &DOWN, &UP) {
            heads(config, preset, &widths, &attention);
            preset.set("attention", list(&attention));
        }
        groups_divide(config, &widths);
        sample_size(config, preset, widths.len());
        time_width(config, &widths);
    }
    if let Some(cosine_first) = config.flag("flip_sin_to_cos") {
        preset.set("sinusoids", if cosine_first { "\"cos_first\"" } else { "\"sin_first\"" });
    }
    preset.set("pad_all", config.size("downsample_padding") == Some(1));
    if !config.is_given("dropout") {
        preset.note("Dropout is that of diffusers' defaults, none; DDPM was trained with 0.1 on CIFAR-10.");
    }
    preset.note(
        "The network starts as in DDPM, with the last layer of each branch next to zero; diffusers starts all layers by \
         PyTorch's default.",
    );
    preset.note(PROCESS);
}

/// In this class `attention_head_dim` is the width of a head, and `null` stands for a single head.
fn heads(config: &mut Config<'_>, preset: &mut Preset, widths: &[u64], attention: &[bool]) {
    let Some(width) = config.size("attention_head_dim") else { return };
    preset.set("head_dim", width);
    // The middle, as wide as the last level, attends always.
    let attending = widths.iter().zip(attention).filter(|(_, attends)| **attends).map(|(width, _)| width);
    if let Some(channels) = attending.chain(widths.last()).find(|channels| *channels % width != 0) {
        let message = format!("heads of {width} channels do not divide a level of {channels}");
        config.contradiction(message, &["attention_head_dim", "block_out_channels"], None);
    }
}

fn time_width(config: &mut Config<'_>, widths: &[u64]) {
    let (Some(dim), Some(first)) = (config.size("time_embedding_dim"), widths.first()) else { return };
    if dim != first.saturating_mul(4) {
        let help = format!("`std.models.{}` has four times the width of the first level", config.class.family.0);
        let message = format!("the time embedding has {} channels", number_text(dim as f64));
        config.unsupported(message, &["time_embedding_dim", "block_out_channels"], help);
    }
}
