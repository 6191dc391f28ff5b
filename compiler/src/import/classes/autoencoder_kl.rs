//! `AutoencoderKL`: the autoencoder of Stable Diffusion.

use crate::import::config::Config;
use crate::import::key::{Class, Kind, key, only};
use crate::import::levels::{Blocks, groups_divide, kinds, sample_size};
use crate::import::preset::Preset;

pub(super) const AUTOENCODER_KL: Class = Class {
    name: "AutoencoderKL",
    family: ("autoencoder_kl", "AutoencoderKL"),
    keys: &[
        key("in_channels", Kind::Size, "3").is("in_channels"),
        key("out_channels", Kind::Size, "3").is("out_channels"),
        key("latent_channels", Kind::Size, "4").is("latent_channels"),
        key("block_out_channels", Kind::Sizes, "[64]").is("widths"),
        key("down_block_types", Kind::Words, r#"["DownEncoderBlock2D"]"#),
        key("up_block_types", Kind::Words, r#"["UpDecoderBlock2D"]"#),
        key("layers_per_block", Kind::Size, "1").is("layers"),
        key("norm_num_groups", Kind::Size, "32").is("groups"),
        key("mid_block_add_attention", Kind::Flag, "true").is("attention"),
        key("use_quant_conv", Kind::Flag, "true").is("quant_conv"),
        key("use_post_quant_conv", Kind::Flag, "true").is("post_quant_conv"),
        key("sample_size", Kind::SizeOrSizes, "32").or_null(),
        key("scaling_factor", Kind::Number, "0.18215").or_null(),
        key("shift_factor", Kind::Number, "null").or_null(),
        only("act_fn", &["\"silu\"", "\"swish\""]),
    ],
    inert: &["force_upcast", "latents_mean", "latents_std"],
    translate,
};

pub(super) const DOWN: Blocks =
    Blocks { key: "down_block_types", plain: "DownEncoderBlock2D", attending: "DownEncoderBlock2D" };
const UP: Blocks = Blocks { key: "up_block_types", plain: "UpDecoderBlock2D", attending: "UpDecoderBlock2D" };

fn translate(config: &mut Config<'_>, preset: &mut Preset) {
    if let Some(widths) = config.sizes("block_out_channels") {
        // There is one kind of block, so the answers say nothing; what is not of it is reported.
        let _ = kinds(config, &DOWN, widths.len());
        let _ = kinds(config, &UP, widths.len());
        groups_divide(config, &widths);
        sample_size(config, preset, widths.len());
    }
    latents(config, preset);
}

/// What stands between an autoencoder and a denoiser.
pub(super) fn latents(config: &Config<'_>, preset: &mut Preset) {
    let shift = config.number("shift_factor").map(|shift| format!("less {shift}"));
    let scale = config.number("scaling_factor").map(|scale| format!("times {scale}"));
    let change: Vec<String> = shift.into_iter().chain(scale).collect();
    if !change.is_empty() {
        let change = change.join(", then ");
        preset.note(format!("What a denoiser sees are latents {change}; that is no part of the network."));
    }
    preset.note("Its loss, with a perceptual part and a discriminator, is no part of the network either.");
}
