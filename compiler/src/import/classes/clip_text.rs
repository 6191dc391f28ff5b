//! `CLIPTextModel` and `CLIPTextModelWithProjection` of transformers.

use super::TRANSFORMERS_INERT;
use super::clip::tower;
use crate::import::config::Config;
use crate::import::key::{Class, Key, Kind, key, only};
use crate::import::preset::Preset;

pub(super) const CLIP_TEXT: Class = Class {
    name: "CLIPTextModel",
    family: ("clip_text", "ClipText"),
    keys: KEYS,
    inert: TRANSFORMERS_INERT,
    translate,
};

pub(super) const CLIP_TEXT_WITH_PROJECTION: Class = Class {
    name: "CLIPTextModelWithProjection",
    family: ("clip_text", "ClipTextProjected"),
    keys: KEYS,
    inert: TRANSFORMERS_INERT,
    translate: |config, preset| {
        translate(config, preset);
        if let (Some(projection), Some(dim)) = (config.size("projection_dim"), config.size("hidden_size")) {
            preset.set_unless("projection", projection, dim);
        }
    },
};

const KEYS: &[Key] = &[
    key("vocab_size", Kind::Size, "49408").is("vocabulary"),
    key("hidden_size", Kind::Size, "512").is("dim"),
    key("intermediate_size", Kind::Size, "2048"),
    key("num_hidden_layers", Kind::Size, "12").is("layers"),
    key("num_attention_heads", Kind::Size, "8").is("heads"),
    // Without a projection the key says nothing.
    key("projection_dim", Kind::Size, "512"),
    key("max_position_embeddings", Kind::Size, "77").is("context"),
    key("hidden_act", Kind::Word, "\"quick_gelu\""),
    key("layer_norm_eps", Kind::Number, "1e-5").is("eps"),
    key("eos_token_id", Kind::Index, "49407"),
    only("attention_dropout", &["0.0"]),
    only("initializer_factor", &["1.0"]),
    only("model_type", &["\"clip_text_model\""]),
];

fn translate(config: &mut Config<'_>, preset: &mut Preset) {
    tower(config, preset);
    match config.size("eos_token_id") {
        // A slip of the first published files, which transformers still reads as the largest id of a text.
        Some(2) | None => {}
        Some(id) => preset.set("end", id),
    }
    preset.note(
        "Parameters start as in openai/CLIP, which takes the depth into account; those of transformers start by \
         the same standard deviations but for the positions.",
    );
}
