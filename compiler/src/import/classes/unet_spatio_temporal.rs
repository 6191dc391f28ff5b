//! `UNetSpatioTemporalConditionModel`: the U-Net of Stable Video Diffusion.

use super::PROCESS;
use crate::import::config::{Config, list};
use crate::import::key::{Class, Kind, key};
use crate::import::levels::{Blocks, attending, groups_divide, layers, transformers};
use crate::import::preset::Preset;

pub(super) const UNET_SPATIO_TEMPORAL: Class = Class {
    name: "UNetSpatioTemporalConditionModel",
    family: ("svd", "VideoUNet"),
    keys: &[
        key("in_channels", Kind::Size, "8").is("in_channels"),
        key("out_channels", Kind::Size, "4").is("out_channels"),
        key("block_out_channels", Kind::Sizes, "[320, 640, 1280, 1280]").is("widths"),
        key(
            "down_block_types",
            Kind::Words,
            r#"["CrossAttnDownBlockSpatioTemporal", "CrossAttnDownBlockSpatioTemporal",
                "CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"]"#,
        ),
        key(
            "up_block_types",
            Kind::Words,
            r#"["UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal",
                "CrossAttnUpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"]"#,
        ),
        key("layers_per_block", Kind::SizeOrSizes, "2"),
        key("transformer_layers_per_block", Kind::SizeOrSizes, "1"),
        key("num_attention_heads", Kind::SizeOrSizes, "[5, 10, 20, 20]"),
        key("cross_attention_dim", Kind::SizeOrSizes, "1024"),
        key("addition_time_embed_dim", Kind::Size, "256").is("id_features"),
        key("projection_class_embeddings_input_dim", Kind::Size, "768"),
        key("num_frames", Kind::Size, "25").is("T"),
        // No key of diffusers, where it is always 32.
        key("norm_num_groups", Kind::Size, "32").is("groups"),
    ],
    // The network takes frames of any size; what published files say here is not what it was trained on.
    inert: &["sample_size"],
    translate,
};

const DOWN: Blocks =
    Blocks { key: "down_block_types", plain: "DownBlockSpatioTemporal", attending: "CrossAttnDownBlockSpatioTemporal" };
const UP: Blocks =
    Blocks { key: "up_block_types", plain: "UpBlockSpatioTemporal", attending: "CrossAttnUpBlockSpatioTemporal" };

fn translate(config: &mut Config<'_>, preset: &mut Preset) {
    if let Some(widths) = config.sizes("block_out_channels") {
        let levels = widths.len();
        let attention = attending(config, levels, &DOWN, &UP);
        let layers = layers(config, preset, levels);
        if let (Some(attention), Some(layers)) = (&attention, &layers) {
            transformers(config, preset, attention, layers);
        }
        // The middle attends always.
        let attends = attention.map(|own| own.either(true));
        if let Some(heads) = config.per_level("num_attention_heads", levels) {
            let used = |at: usize| attends.as_ref().is_none_or(|own| own.get(at).copied().unwrap_or(true));
            let odd = widths.iter().zip(&heads).enumerate().find(|(at, (width, own))| used(*at) && *width % *own != 0);
            if let Some((_, (width, heads))) = odd {
                let message = format!("{heads} heads do not divide a level of {width} channels");
                config.contradiction(message, &["num_attention_heads", "block_out_channels"], None);
            }
            preset.set("heads", list(&heads));
        }
        if let Some(width) = config.same_where("cross_attention_dim", levels, attends.as_deref()) {
            preset.set("context_width", width);
        }
        groups_divide(config, &widths);
    }
    numbers(config, preset);
    if config.is_given("norm_num_groups") {
        preset.note("diffusers has no `norm_num_groups` for this class: its norms have 32 groups.");
    }
    preset.note(
        "The network starts as in Stability-AI/generative-models, with zeros in the last layer of each branch; diffusers has \
         lost that, `last: default` is how it starts there. Some of its norms have another eps there, see `attended_eps`.",
    );
    preset.note(PROCESS);
}

/// Frames per second, motion, noise: as many numbers as there is room for.
fn numbers(config: &mut Config<'_>, preset: &mut Preset) {
    const TOTAL: &str = "projection_class_embeddings_input_dim";
    const EACH: &str = "addition_time_embed_dim";
    let (Some(total), Some(each)) = (config.size(TOTAL), config.size(EACH)) else { return };
    if total % each != 0 {
        let message = format!("numbers of {each} sinusoids each do not add up to {total}");
        config.contradiction(message, &[TOTAL, EACH], None);
    }
    preset.set("ids", total / each);
}
