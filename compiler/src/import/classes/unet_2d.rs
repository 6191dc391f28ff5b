//! `UNet2DModel`: the U-Net of DDPM.

use super::PROCESS;
use crate::import::config::{Config, list};
use crate::import::key::{Class, Kind, key, only};
use crate::import::levels::{groups_divide, sample_size};
use crate::import::preset::Preset;
use crate::import::residual::{activation, padding, scale_shift, sinusoids};

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
        key("act_fn", Kind::Word, "\"silu\""),
        key("add_attention", Kind::Flag, "true").is("mid_attention"),
        key("attn_norm_num_groups", Kind::Size, "null").or_null(),
        key("center_input_sample", Kind::Flag, "false").is("center"),
        key("class_embed_type", Kind::Word, "null").or_null(),
        key("num_class_embeds", Kind::Size, "null").or_null(),
        key("downsample_padding", Kind::Index, "1"),
        key("downsample_type", Kind::Word, "\"conv\""),
        key("upsample_type", Kind::Word, "\"conv\""),
        key("mid_block_scale_factor", Kind::Number, "1").is("mid_divide"),
        key("mid_block_type", Kind::Word, "\"UNetMidBlock2D\"").or_null(),
        key("resnet_time_scale_shift", Kind::Word, "\"default\""),
        only("time_embedding_type", &["\"positional\""]),
    ],
    inert: &["num_train_timesteps"],
    translate,
};

const DOWN: Way = Way {
    types: "down_block_types",
    plain: "DownBlock2D",
    attending: "AttnDownBlock2D",
    residual: "ResnetDownsampleBlock2D",
};
const UP: Way =
    Way { types: "up_block_types", plain: "UpBlock2D", attending: "AttnUpBlock2D", residual: "ResnetUpsampleBlock2D" };

/// The kinds of blocks on one way, and how the key is called that names them.
struct Way {
    types: &'static str,
    plain: &'static str,
    attending: &'static str,
    residual: &'static str,
}

fn translate(config: &mut Config<'_>, preset: &mut Preset) {
    if let (Some(out), Some(channels)) = (config.size("out_channels"), config.size("in_channels")) {
        preset.set_unless("out_channels", out, channels);
    }
    if let Some(widths) = config.sizes("block_out_channels") {
        let levels = widths.len();
        let down = blocks(config, &DOWN, "downsample_type", levels);
        let up = blocks(config, &UP, "upsample_type", levels).map(|mut up| {
            up.reverse();
            up
        });
        if let (Some(down), Some(up)) = (down, up) {
            ways(preset, &down, &up);
            heads(config, preset, &widths, &down, &up);
        }
        groups_divide(config, &widths);
        sample_size(config, preset, levels);
        let default = widths.first().copied().unwrap_or(0).saturating_mul(4);
        let time = config.size("time_embedding_dim").unwrap_or(default);
        preset.set_unless("time_width", time, default);
        condition(config, preset, time);
    }
    middle(config, preset);
    sinusoids(config, preset);
    scale_shift(config, preset);
    padding(config, preset);
    if let Some(act) = activation(config, "act_fn") {
        preset.set("act", act);
    }
    if !config.is_given("dropout") {
        preset.note("Dropout is that of diffusers' defaults, none; DDPM was trained with 0.1 on CIFAR-10.");
    }
    preset.note(
        "The network starts as in DDPM, with the last layer of each branch next to zero; diffusers starts all layers by \
         PyTorch's default.",
    );
    preset.note(PROCESS);
}

/// What a level is made of, on one way.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Level {
    attends: bool,
    /// Whether the resolution changes in a residual block.
    residual: bool,
}

/// The levels of one way in the order of the key.
fn blocks(config: &mut Config<'_>, way: &Way, key: &'static str, levels: usize) -> Option<Vec<Level>> {
    let resized = config.word(key);
    if let Some(other) = resized.as_deref().filter(|own| !["conv", "resnet"].contains(own)) {
        config.unsupported(format!("`{key}` is \"{other}\""), &[key], "it is `conv` or `resnet`".to_owned());
    }
    let known = [way.plain, way.attending, way.residual];
    let names = config.words(way.types)?;
    config.has_length(way.types, names.len(), levels);
    let mut strangers: Vec<&String> = names.iter().filter(|name| !known.contains(&name.as_str())).collect();
    strangers.dedup();
    for name in &strangers {
        let help = format!("the family is made of `{}`, `{}` and `{}`", way.plain, way.attending, way.residual);
        config.unsupported(format!("`{}` has a `{name}`", way.types), &[way.types], help);
    }
    // Upstream only the blocks that attend read the key.
    let level = |name: &String| Level {
        attends: name == way.attending,
        residual: name == way.residual || name == way.attending && resized.as_deref() == Some("resnet"),
    };
    (strangers.is_empty() && names.len() == levels).then(|| names.iter().map(level).collect())
}

fn ways(preset: &mut Preset, down: &[Level], up: &[Level]) {
    let attends = |way: &[Level]| list(&way.iter().map(|own| own.attends).collect::<Vec<_>>());
    preset.set("attention", attends(down));
    preset.set_unless("up_attention", attends(up), attends(down));
    for (name, way) in [("residual_down", down), ("residual_up", up)] {
        if way.iter().any(|own| own.residual) {
            preset.set(name, list(&way.iter().map(|own| own.residual).collect::<Vec<_>>()));
        }
    }
}

fn middle(config: &mut Config<'_>, preset: &mut Preset) {
    match config.word("mid_block_type").as_deref() {
        Some("UNetMidBlock2D") => {}
        None => preset.set("mid_layers", 0),
        Some(other) => {
            let help = "it is `UNetMidBlock2D`, or `null` for none".to_owned();
            config.unsupported(format!("`mid_block_type` is \"{other}\""), &["mid_block_type"], help);
        }
    }
    let own = config.size("attn_norm_num_groups");
    let is_scaled = config.word("resnet_time_scale_shift").is_some_and(|kind| kind == "scale_shift");
    if let (Some(width), Some(own)) = (config.sizes("block_out_channels").and_then(|own| own.last().copied()), own)
        && width % own != 0
    {
        let message = format!("{own} groups do not divide a middle of {width} channels");
        config.contradiction(message, &["attn_norm_num_groups", "block_out_channels"], None);
    }
    match own {
        Some(own) => preset.set_unless("mid_groups", own, config.size("norm_num_groups").unwrap_or(own)),
        // With `scale_shift` diffusers leaves the norm out unless its groups are given.
        None if is_scaled => preset.set("mid_groups", 0),
        None => {}
    }
}

/// A class, or what else `class_labels` may be in diffusers.
fn condition(config: &mut Config<'_>, preset: &mut Preset, time: u64) {
    let kind = config.word("class_embed_type");
    let width = match kind.as_deref() {
        None => {
            if let Some(classes) = config.size("num_class_embeds") {
                preset.set("classes", classes);
            }
            return;
        }
        Some("timestep") => 1,
        Some("identity") => time,
        Some(other) => {
            let help = "it is `timestep` or `identity`".to_owned();
            return config.unsupported(format!("`class_embed_type` is \"{other}\""), &["class_embed_type"], help);
        }
    };
    if !config.is_null("num_class_embeds") {
        let message = "classes are counted, and what is embedded is none".to_owned();
        config.contradiction(message, &["num_class_embeds", "class_embed_type"], None);
    }
    preset.set("class_embedding", format!("\"{}\"", kind.unwrap_or_default()));
    preset.set("class_width", width);
    preset.note("What diffusers calls `class_labels` are no labels here: they are the input `class_features`.");
}

/// In this class `attention_head_dim` is the width of a head, and `null` stands for a single head.
fn heads(config: &mut Config<'_>, preset: &mut Preset, widths: &[u64], down: &[Level], up: &[Level]) {
    let Some(width) = config.size("attention_head_dim") else { return };
    preset.set("head_dim", width);
    let middle = config.flag("add_attention") == Some(true) && !config.is_null("mid_block_type");
    let attends = |level: usize| {
        let own = [down.get(level), up.get(level)];
        own.into_iter().flatten().any(|own| own.attends) || middle && level + 1 == widths.len()
    };
    let odd = widths.iter().enumerate().find(|(level, channels)| attends(*level) && *channels % width != 0);
    if let Some((_, channels)) = odd {
        let message = format!("heads of {width} channels do not divide a level of {channels}");
        config.contradiction(message, &["attention_head_dim", "block_out_channels"], None);
    }
}
