//! `UNet2DConditionModel`: the U-Nets of Stable Diffusion 1.x, 2.x and XL.

use super::PROCESS;
use crate::import::config::{Config, list};
use crate::import::key::{Class, Kind, key, only};
use crate::import::levels::{Blocks, attending, groups_divide, layers, sample_size, transformers};
use crate::import::preset::Preset;
use crate::import::residual::{activation, padding, scale_shift, sinusoids};

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
        key("transformer_layers_per_block", Kind::Depths, "1"),
        key("reverse_transformer_layers_per_block", Kind::Depths, "null").or_null(),
        key("mid_block_type", Kind::Word, "\"UNetMidBlock2DCrossAttn\"").or_null(),
        key("mid_block_scale_factor", Kind::Number, "1").is("mid_divide"),
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
        key("time_cond_proj_dim", Kind::Size, "null").or_null().is("guidance"),
        key("timestep_post_act", Kind::Word, "null").or_null(),
        key("time_embedding_act_fn", Kind::Word, "null").or_null(),
        key("flip_sin_to_cos", Kind::Flag, "true"),
        key("freq_shift", Kind::Number, "0").is("shift"),
        key("act_fn", Kind::Word, "\"silu\""),
        key("dropout", Kind::Number, "0.0").is("drop"),
        key("center_input_sample", Kind::Flag, "false").is("center"),
        key("conv_in_kernel", Kind::Size, "3").is("in_kernel"),
        key("conv_out_kernel", Kind::Size, "3").is("out_kernel"),
        key("class_embed_type", Kind::Word, "null").or_null(),
        key("class_embeddings_concat", Kind::Flag, "false").is("class_concat"),
        key("encoder_hid_dim", Kind::Size, "null").or_null(),
        key("resnet_time_scale_shift", Kind::Word, "\"default\""),
        key("downsample_padding", Kind::Index, "1"),
        only("addition_embed_type", &["null", "\"text_time\""]),
        only("attention_type", &["\"default\""]),
        only("cross_attention_norm", &["null"]),
        only("dual_cross_attention", &["false"]),
        only("encoder_hid_dim_type", &["null", "\"text_proj\""]),
        only("mid_block_only_cross_attention", &["null", "false"]),
        only("resnet_out_scale_factor", &["1.0"]),
        only("resnet_skip_time_act", &["false"]),
        only("time_embedding_type", &["\"positional\""]),
    ],
    inert: &["addition_embed_type_num_heads", "upcast_attention"],
    translate,
};

const DOWN: Blocks = Blocks { key: "down_block_types", plain: "DownBlock2D", attending: "CrossAttnDownBlock2D" };
const UP: Blocks = Blocks { key: "up_block_types", plain: "UpBlock2D", attending: "CrossAttnUpBlock2D" };

fn translate(config: &mut Config<'_>, preset: &mut Preset) {
    if let Some(widths) = config.sizes("block_out_channels") {
        let levels = widths.len();
        middle(config, preset);
        let attention = attending(config, levels, &DOWN, &UP);
        let layers = layers(config, preset, levels);
        if let (Some(attention), Some(layers)) = (&attention, &layers) {
            transformers(config, preset, attention, layers);
        }
        let refines = attention.as_ref().is_some_and(|own| own.down.last() == Some(&false));
        let attends =
            attention.map(|own| own.either(config.word("mid_block_type").is_some_and(|kind| kind == ATTENDS)));
        heads(config, preset, &widths, attends.as_deref());
        if let Some(width) = config.same_where("cross_attention_dim", levels, attends.as_deref()) {
            preset.set("text_width", width);
            text(config, preset, width);
        }
        only_cross_attention(config, preset, levels);
        groups_divide(config, &widths);
        sample_size(config, preset, levels);
        let width = time_width(config, preset, &widths);
        conditions(config, preset, width);
        added_conditions(config, preset, refines);
    }
    stages(config, preset);
    preset.note(
        "The network starts as in CompVis/latent-diffusion and Stability-AI/generative-models, with zeros in the last layer \
         of each branch; diffusers has lost that, `last: default` is how it starts there.",
    );
    preset.note(PROCESS);
}

/// The middle that has a transformer.
const ATTENDS: &str = "UNetMidBlock2DCrossAttn";

fn middle(config: &mut Config<'_>, preset: &mut Preset) {
    let count = match config.word("mid_block_type").as_deref() {
        Some(ATTENDS) => 2,
        // With the arguments that this class gives it, diffusers makes one residual block of it.
        Some("UNetMidBlock2D") => 1,
        None => 0,
        Some(other) => {
            let message = format!("the middle is a `{other}`");
            let help = format!("`std.models.stable_diffusion` has `{ATTENDS}`, `UNetMidBlock2D`, or none");
            return config.unsupported(message, &["mid_block_type"], help);
        }
    };
    preset.set("mid_layers", count);
}

/// Names of activations and other words of the class.
fn stages(config: &mut Config<'_>, preset: &mut Preset) {
    for (key, stage) in [("act_fn", "act"), ("timestep_post_act", "time_act"), ("time_embedding_act_fn", "emb_act")] {
        if let Some(act) = activation(config, key) {
            preset.set(stage, act);
        }
    }
    for key in ["conv_in_kernel", "conv_out_kernel"] {
        if config.size(key).is_some_and(|kernel| kernel % 2 == 0) {
            config.unsupported(format!("`{key}` is even, which changes the size"), &[key], "it is odd".to_owned());
        }
    }
    sinusoids(config, preset);
    scale_shift(config, preset);
    padding(config, preset);
}

/// The text as it comes, where a linear map stands in front of all that attends to it.
fn text(config: &mut Config<'_>, preset: &mut Preset, width: u64) {
    match config.size("encoder_hid_dim") {
        Some(features) => {
            preset.set("text_features", features);
            preset.set_unless("text_projection", true, features != width);
        }
        None if config.word("encoder_hid_dim_type").is_some() => {
            let message = "the width of the text that is projected is not given".to_owned();
            config.contradiction(message, &["encoder_hid_dim_type", "encoder_hid_dim"], None);
        }
        None => {}
    }
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
    let attends = |at: usize| attention.is_none_or(|own| own.get(at).copied().unwrap_or(true));
    let odd = widths.iter().zip(&heads).enumerate().find(|(at, (width, heads))| attends(*at) && *width % *heads != 0);
    if let Some((_, (width, heads))) = odd {
        let message = format!("{heads} heads do not divide a level of {width} channels");
        let help = "in this class `attention_head_dim` is the number of heads, not their width".to_owned();
        config.contradiction(message, &["attention_head_dim", "block_out_channels"], help);
    }
    preset.set("heads", list(&heads));
}

/// Levels that attend to the text alone; the middle of this class does not take part.
fn only_cross_attention(config: &mut Config<'_>, preset: &mut Preset, levels: usize) {
    const KEY: &str = "only_cross_attention";
    if !config.any_flag(KEY) {
        return;
    }
    let own = config.flags(KEY).unwrap_or_else(|| vec![true; levels]);
    config.has_length(KEY, own.len(), levels);
    preset.set("cross_only", list(&own));
}

fn time_width(config: &Config<'_>, preset: &mut Preset, widths: &[u64]) -> u64 {
    let default = widths.first().copied().unwrap_or(0).saturating_mul(4);
    let width = config.size("time_embedding_dim").unwrap_or(default);
    preset.set_unless("time_width", width, default);
    width
}

/// A class, or what else `class_labels` may be in diffusers.
fn conditions(config: &mut Config<'_>, preset: &mut Preset, time: u64) {
    const TOTAL: &str = "projection_class_embeddings_input_dim";
    let Some(kind) = config.word("class_embed_type") else {
        if config.flag("class_embeddings_concat") == Some(true) && config.is_null("num_class_embeds") {
            let message = "there is no class embedding to stand behind the time".to_owned();
            config.contradiction(message, &["class_embeddings_concat", "class_embed_type", "num_class_embeds"], None);
        } else if config.flag("class_embeddings_concat") == Some(true) {
            let help = "`std.models.stable_diffusion` adds the embedding of a class to the time".to_owned();
            config.unsupported("a class stands behind the time".to_owned(), &["class_embeddings_concat"], help);
        }
        return;
    };
    if !config.is_null("num_class_embeds") {
        let message = format!("classes are counted, and their embedding is a `{kind}`");
        config.contradiction(message, &["num_class_embeds", "class_embed_type"], None);
    }
    let width = match kind.as_str() {
        "timestep" => Some(1),
        "identity" => Some(time),
        "projection" | "simple_projection" => config.size(TOTAL),
        _ => {
            let help = "`timestep`, `identity`, `projection` or `simple_projection`".to_owned();
            return config.unsupported(format!("`class_embed_type` is \"{kind}\""), &["class_embed_type"], help);
        }
    };
    let Some(width) = width else {
        let message = format!("a `{kind}` needs the width of what it projects");
        return config.contradiction(message, &["class_embed_type", TOTAL], None);
    };
    preset.set("class_embedding", format!("\"{kind}\""));
    preset.set("class_width", width);
    preset.note("What diffusers calls `class_labels` are no labels here: they are the input `class_features`.");
}

/// Width of the pooled text of OpenCLIP bigG, which SDXL is conditioned on.
const BIG_G: u64 = 1280;

/// Pooled text and numbers beside the time, of which the configuration gives only the total.
fn added_conditions(config: &mut Config<'_>, preset: &mut Preset, refines: bool) {
    const TOTAL: &str = "projection_class_embeddings_input_dim";
    const EACH: &str = "addition_time_embed_dim";
    let is_read = config.word("class_embed_type").is_some_and(|kind| kind.ends_with("projection"));
    if config.size(TOTAL).is_some() && config.is_null("addition_embed_type") && !is_read {
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
