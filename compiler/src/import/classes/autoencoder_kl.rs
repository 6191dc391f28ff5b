//! `AutoencoderKL`: the autoencoder of Stable Diffusion.

use crate::import::config::Config;
use crate::import::key::{Class, Kind, key, only};
use crate::import::levels::{Blocks, attending, groups_divide, sample_size};
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

const DOWN: Blocks = Blocks { key: "down_block_types", plain: "DownEncoderBlock2D", attending: "DownEncoderBlock2D" };
const UP: Blocks = Blocks { key: "up_block_types", plain: "UpDecoderBlock2D", attending: "UpDecoderBlock2D" };

fn translate(config: &mut Config<'_>, preset: &mut Preset) {
    if let Some(widths) = config.sizes("block_out_channels") {
        // There is one kind of block, so the answer says nothing; what is not of it is reported.
        let _ = attending(config, widths.len(), &DOWN, &UP);
        groups_divide(config, &widths);
        sample_size(config, preset, widths.len());
    }
    let scale = config.number("scaling_factor").map(|scale| format!("times {scale}"));
    let shift = config.number("shift_factor").map(|shift| format!("less {shift}"));
    let change: Vec<String> = shift.into_iter().chain(scale).collect();
    if !change.is_empty() {
        preset.note(format!("What the denoiser sees are latents {}; that is no part of the network.", change.join(", ")));
    }
    preset.note("The loss of its training (a perceptual one and a discriminator) is not part of the network.");
}
