//! `T5EncoderModel` of transformers, version 1.1.

use super::TRANSFORMERS_INERT;
use crate::import::config::Config;
use crate::import::key::{Class, Key, Kind, key, only};
use crate::import::preset::Preset;

pub(super) const T5_ENCODER: Class = Class {
    name: "T5EncoderModel",
    family: ("t5_encoder", "T5Encoder"),
    keys: KEYS,
    inert: TRANSFORMERS_INERT,
    translate,
};

const FEED_FORWARD: &str = "feed_forward_proj";

const KEYS: &[Key] = &[
    key("vocab_size", Kind::Size, "32128").is("vocabulary"),
    key("d_model", Kind::Size, "512").is("dim"),
    key("d_kv", Kind::Size, "64").is("width"),
    key("d_ff", Kind::Size, "2048").is("hidden"),
    key("num_layers", Kind::Size, "6").is("layers"),
    key("num_heads", Kind::Size, "8").is("heads"),
    key("relative_attention_num_buckets", Kind::Size, "32").is("buckets"),
    key("relative_attention_max_distance", Kind::Size, "128").is("max_distance"),
    key("layer_norm_epsilon", Kind::Number, "1e-6").is("eps"),
    key(FEED_FORWARD, Kind::Word, "\"relu\""),
    // Both follow from the key above.
    key("dense_act_fn", Kind::Word, "\"gelu_new\""),
    key("is_gated_act", Kind::Flag, "true"),
    key("dropout_rate", Kind::Number, "0.1"),
    // Of the decoder, and of the tokenizer.
    key("scale_decoder_outputs", Kind::Flag, "false"),
    key("eos_token_id", Kind::Index, "1"),
    only("initializer_factor", &["1.0"]),
    only("model_type", &["\"t5\""]),
];

fn translate(config: &mut Config<'_>, preset: &mut Preset) {
    let word = config.word(FEED_FORWARD);
    let act = match word.as_deref() {
        // The name means the approximation by a hyperbolic tangent.
        Some("gated-gelu") | None => "gelu_tanh",
        Some("gated-silu") => "silu",
        Some("gated-relu") => "relu",
        Some(other) => {
            let message = format!("`{FEED_FORWARD}` is \"{other}\"");
            let help = "the feed-forward parts of the family have gates, as in version 1.1: \"gated-gelu\"".to_owned();
            return config.unsupported(message, &[FEED_FORWARD], help);
        }
    };
    preset.set("act", act);
    preset.note("Dropout, which transformers has in training, is left out.");
}
