//! `AutoencoderKLTemporalDecoder`: the autoencoder of Stable Video Diffusion.

use super::autoencoder_kl::{DOWN, latents};
use crate::import::config::Config;
use crate::import::key::{Class, Kind, key};
use crate::import::levels::{groups_divide, kinds};
use crate::import::preset::Preset;

pub(super) const AUTOENCODER_KL_TEMPORAL: Class = Class {
    name: "AutoencoderKLTemporalDecoder",
    family: ("svd", "VideoAutoencoder"),
    keys: &[
        key("in_channels", Kind::Size, "3").is("in_channels"),
        key("out_channels", Kind::Size, "3").is("out_channels"),
        key("latent_channels", Kind::Size, "4").is("latent_channels"),
        key("block_out_channels", Kind::Sizes, "[64]").is("widths"),
        key("down_block_types", Kind::Words, r#"["DownEncoderBlock2D"]"#),
        key("layers_per_block", Kind::Size, "1").is("layers"),
        key("scaling_factor", Kind::Number, "0.18215").or_null(),
        // No key of diffusers, where it is always 32.
        key("norm_num_groups", Kind::Size, "32").is("groups"),
    ],
    // The network takes frames of any size; what published files say here is not what it was trained on.
    inert: &["force_upcast", "sample_size"],
    translate,
};

fn translate(config: &mut Config<'_>, preset: &mut Preset) {
    if let Some(widths) = config.sizes("block_out_channels") {
        let _ = kinds(config, &DOWN, widths.len());
        groups_divide(config, &widths);
    }
    if config.is_given("norm_num_groups") {
        preset.note("diffusers has no `norm_num_groups` for this class: its norms have 32 groups.");
    }
    latents(config, preset);
}
