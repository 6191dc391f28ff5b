//! `CLIPVisionModelWithProjection` of transformers.

use super::TRANSFORMERS_INERT;
use super::clip::tower;
use crate::import::config::Config;
use crate::import::key::{Class, Key, Kind, key, only};
use crate::import::preset::Preset;

pub(super) const CLIP_VISION_WITH_PROJECTION: Class = Class {
    name: "CLIPVisionModelWithProjection",
    family: ("clip_vision", "ClipVisionProjected"),
    keys: KEYS,
    inert: TRANSFORMERS_INERT,
    translate,
};

const KEYS: &[Key] = &[
    key("image_size", Kind::Size, "224").is("size"),
    key("patch_size", Kind::Size, "32").is("patch"),
    key("hidden_size", Kind::Size, "768").is("dim"),
    key("intermediate_size", Kind::Size, "3072"),
    key("num_hidden_layers", Kind::Size, "12").is("layers"),
    key("num_attention_heads", Kind::Size, "12").is("heads"),
    key("projection_dim", Kind::Size, "512").is("projection"),
    key("hidden_act", Kind::Word, "\"quick_gelu\""),
    key("layer_norm_eps", Kind::Number, "1e-5").is("eps"),
    only("num_channels", &["3"]),
    only("attention_dropout", &["0.0"]),
    only("initializer_factor", &["1.0"]),
    only("initializer_range", &["0.02"]),
    only("model_type", &["\"clip_vision_model\""]),
];

fn translate(config: &mut Config<'_>, preset: &mut Preset) {
    tower(config, preset);
    if let (Some(size), Some(patch)) = (config.size("image_size"), config.size("patch_size"))
        && size % patch != 0
    {
        config.contradiction(
            format!("patches of {patch} do not divide {size} pixels"),
            &["patch_size", "image_size"],
            None,
        );
    }
}
