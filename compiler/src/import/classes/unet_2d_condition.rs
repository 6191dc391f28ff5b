//! `UNet2DConditionModel`: the U-Nets of Stable Diffusion 1.x, 2.x and XL.

use super::PROCESS;
use crate::import::config::{Config, list};
use crate::import::key::{Class, Kind, key, only};
use crate::import::levels::{Blocks, attending, groups_divide, sample_size, transformers};
use crate::import::preset::Preset;

pub(super) const UNET_2D_CONDITION: Class = Class {
    name: "UNet2DConditionModel",
    family: ("stable_diffusion", "LatentUNet"),
    keys: &[
        key("in_channels", Kind::Size, "4").is("in_channels"),
        key("out_channels", Kind::Size, "4").is("out_channels"),
        key("block_out_channels", Kind::Sizes, "[320, 640, 1280, 1280]").is("widths"),
        key(
            "down_block_types",
            Kind::Words,
            r#"["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"]"#,
        ),
        key(
            "up_block_types",
            Kind::Words,
            r#"["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"]"#,
        ),
        key("layers_per_block", Kind::SizeOrSizes, "2"),
        key("transformer_layers_per_block", Kind::SizeOrSizes, "1"),
        key("attention_head_dim", Kind::SizeOrSizes, "8"),
        key("num_attention_heads", Kind::SizeOrSizes, "null").or_null(),
        key("cross_attention_dim", Kind::SizeOrSizes, "1280"),
        key("use_linear_projection", Kind::Flag, "false").is("linear_projection"),
        key("norm_num_groups", Kind::Size, "32").is("groups"),
        key("norm_eps", Kind::Number, "1e-5").is("eps"),
        key("only_cross_attention", Kind::FlagOrFlags, "false"),
        key("addition_time_embed_dim", Kind::Size, "null").or_null(),
        key("projection_class_embeddings_input_dim", Kind::Size, "null").or_null(),
        key("num_class_embeds", Kind::Size, "null").or_null().is("classes"),
        key("sample_size", Kind::SizeOrSizes, "null").or_null(),
        key("time_embedding_dim", Kind::Size, "null").or_null(),
        only("act_fn", &["\"silu\"", "\"swish\""]),
        only("addition_embed_type", &["null", "\"text_time\""]),
        only("attention_type", &["\"default\""]),
        only("center_input_sample", &["false"]),
        only("class_embed_type", &["null"]),
        only("class_embeddings_concat", &["false"]),
        only("conv_in_kernel", &["3"]),
        only("conv_out_kernel", &["3"]),
        only("cross_attention_norm", &["null"]),
        only("downsample_padding", &["1"]),
        only("dropout", &["0.0"]),
        only("dual_cross_attention", &["false"]),
        only("encoder_hid_dim", &["null"]),
        only("encoder_hid_dim_type", &["null"]),
        only("flip_sin_to_cos", &["true"]),
        only("freq_shift", &["0"]),
        only("mid_block_only_cross_attention", &["null", "false"]),
        only("mid_block_scale_factor", &["1"]),
        only("mid_block_type", &["\"UNetMidBlock2DCrossAttn\""]),
        only("resnet_out_scale_factor", &["1.0"]),
        only("resnet_skip_time_act", &["false"]),
        only("resnet_time_scale_shift", &["\"default\""]),
        only("reverse_transformer_layers_per_block", &["null"]),
        only("time_cond_proj_dim", &["null"]),
        only("time_embedding_act_fn", &["null"]),
        only("time_embedding_type", &["\"positional\""]),
        only("timestep_post_act", &["null"]),
    ],
    inert: &["addition_embed_type_num_heads", "upcast_attention"],
    translate,
};

const DOWN: Blocks = Blocks { key: "down_block_types", plain: "DownBlock2D", attending: "CrossAttnDownBlock2D" };
const UP: Blocks = Blocks { key: "up_block_types", plain: "UpBlock2D", attending: "CrossAttnUpBlock2D" };

fn translate(config: &mut Config<'_>, preset: &mut Preset) {
    only_cross_attention(config);
    if let Some(widths) = config.sizes("block_out_channels") {
        let levels = widths.len();
        let attention = attending(config, levels, &DOWN, &UP);
        if let Some(attention) = &attention {
            transformers(config, preset, attention);
        }
        heads(config, preset, &widths, attention.as_deref());
        if let Some(layers) = config.same_for_all("layers_per_block", levels) {
            preset.set("layers", layers);
        }
        if let Some(width) = config.same_for_all("cross_attention_dim", levels) {
            preset.set("text_width", width);
        }
        groups_divide(config, &widths);
        sample_size(config, preset, levels);
        time_width(config, &widths);
        added_conditions(config, preset, attention.as_deref());
    }
    preset.note(
        "The network starts as in CompVis/latent-diffusion and Stability-AI/generative-models, with zeros in the last layer \
         of each branch; diffusers has lost that, `last: default` is how it starts there.",
    );
    preset.note(PROCESS);
}

/// In this class `attention_head_dim` is the number of heads: an old mistake that diffusers keeps, since published files
/// rely on it. It refuses the key that would name them rightly, and so does this.
fn heads(config: &mut Config<'_>, preset: &mut Preset, widths: &[u64], attention: Option<&[bool]>) {
    if config.is_given("num_attention_heads") && !config.is_null("num_attention_heads") {
        let message = "`num_attention_heads` is given, which diffusers refuses for this class".to_owned();
        let help = "`attention_head_dim` is the number of heads in published files: use it alone".to_owned();
        config.contradiction(message, &["num_attention_heads", "attention_head_dim"], help);
    }
    let Some(heads) = config.per_level("attention_head_dim", widths.len()) else { return };
    let last = widths.len().saturating_sub(1);
    let attends = |at: usize| at == last || attention.is_none_or(|own| own.get(at).copied().unwrap_or(true));
    let odd = widths.iter().zip(&heads).enumerate().find(|(at, (width, heads))| attends(*at) && *width % *heads != 0);
    if let Some((_, (width, heads))) = odd {
        let message = format!("{heads} heads do not divide a level of {width} channels");
        let help = "in this class `attention_head_dim` is the number of heads, not their width".to_owned();
        config.contradiction(message, &["attention_head_dim", "block_out_channels"], help);
    }
    preset.set("heads", list(&heads));
}

fn only_cross_attention(config: &mut Config<'_>) {
    if config.any_flag("only_cross_attention") {
        let help = "`std.models.stable_diffusion` attends to itself and to the text".to_owned();
        let message = "`only_cross_attention` leaves out self-attention".to_owned();
        config.unsupported(message, &["only_cross_attention"], help);
    }
}

fn time_width(config: &mut Config<'_>, widths: &[u64]) {
    let (Some(dim), Some(first)) = (config.size("time_embedding_dim"), widths.first()) else { return };
    if dim != first.saturating_mul(4) {
        let help = "`std.models.stable_diffusion` has four times the width of the first level".to_owned();
        let message = format!("the time embedding has {dim} channels");
        config.unsupported(message, &["time_embedding_dim", "block_out_channels"], help);
    }
}

/// Width of the pooled text of OpenCLIP bigG, which SDXL is conditioned on.
const BIG_G: u64 = 1280;

/// Pooled text and numbers beside the time, of which the configuration gives only the total.
fn added_conditions(config: &mut Config<'_>, preset: &mut Preset, attention: Option<&[bool]>) {
    const TOTAL: &str = "projection_class_embeddings_input_dim";
    const EACH: &str = "addition_time_embed_dim";
    if config.size(TOTAL).is_some() && config.is_null("addition_embed_type") {
        let message = format!("`{TOTAL}` is given, and there is nothing that it is the size of");
        config.contradiction(message, &[TOTAL, "addition_embed_type"], None);
    }
    if config.word("addition_embed_type").is_none_or(|kind| kind != "text_time") {
        return;
    }
    let (Some(total), Some(each)) = (config.size(TOTAL), config.size(EACH)) else {
        let message = "`text_time` needs the sizes of both its parts".to_owned();
        let help = format!("give `{TOTAL}` and `{EACH}`");
        config.contradiction(message, &["addition_embed_type", TOTAL, EACH], help);
        return;
    };
    // The base has six numbers, the refiner five, and no transformer in its last level.
    let rest = |ids: u64| total.checked_sub(ids.saturating_mul(each)).filter(|pooled| *pooled > 0);
    let refines = attention.is_some_and(|own| own.last() == Some(&false));
    let by_text = [6, 5].into_iter().find(|ids| rest(*ids) == Some(BIG_G));
    let ids = by_text.unwrap_or(if refines { 5 } else { 6 });
    let Some(pooled) = rest(ids) else {
        let message = format!("{ids} numbers of {each} sinusoids each leave nothing of {total} for the pooled text");
        config.contradiction(message, &[TOTAL, EACH], None);
        return;
    };
    preset.set("pooled", pooled);
    preset.set("ids", ids);
    preset.set("id_features", each);
    preset.note(format!(
        "Of the {total} channels of added conditions it says only that each number has {each}. Here they are {ids} numbers, \
         as in the {} of SDXL, and a pooled text of {pooled}.",
        if ids == 6 { "base model" } else { "refiner" },
    ));
}
