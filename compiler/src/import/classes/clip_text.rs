//! `CLIPTextModel` and `CLIPTextModelWithProjection` of transformers.

use crate::import::config::Config;
use crate::import::key::{Class, Key, Kind, key, only};
use crate::import::preset::Preset;

pub(super) const CLIP_TEXT: Class = Class {
    name: "CLIPTextModel",
    family: ("clip_text", "ClipText"),
    keys: KEYS,
    inert: INERT,
    translate: |config, preset| translate(config, preset),
};

pub(super) const CLIP_TEXT_WITH_PROJECTION: Class = Class {
    name: "CLIPTextModelWithProjection",
    family: ("clip_text", "ClipTextProjected"),
    keys: KEYS,
    inert: INERT,
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

/// What transformers writes beside the network: how it is called, and where it comes from.
const INERT: &[&str] = &[
    "architectures",
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_autoset",
    "bos_token_id",
    "dropout",
    "dtype",
    "gradient_checkpointing",
    "initializer_range",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "return_dict",
    "torch_dtype",
    "torchscript",
    "transformers_version",
    "use_bfloat16",
    "use_cache",
    "use_return_dict",
];

/// Activations of transformers by the names of the language.
const ACTIVATIONS: &[(&str, &str)] = &[
    ("quick_gelu", "quick_gelu"),
    ("gelu", "gelu"),
    ("gelu_new", "gelu_tanh"),
    ("gelu_pytorch_tanh", "gelu_tanh"),
    ("relu", "relu"),
    ("silu", "silu"),
    ("swish", "silu"),
];

fn translate(config: &mut Config<'_>, preset: &mut Preset) {
    if let (Some(dim), Some(hidden)) = (config.size("hidden_size"), config.size("intermediate_size")) {
        preset.set_unless("hidden", hidden, dim.saturating_mul(4));
    }
    if let (Some(dim), Some(heads)) = (config.size("hidden_size"), config.size("num_attention_heads"))
        && dim % heads != 0
    {
        let message = format!("{heads} heads do not divide {dim} channels");
        config.contradiction(message, &["num_attention_heads", "hidden_size"], None);
    }
    activation(config, preset);
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

fn activation(config: &mut Config<'_>, preset: &mut Preset) {
    let Some(word) = config.word("hidden_act") else { return };
    match ACTIVATIONS.iter().find(|(name, _)| *name == word) {
        Some((_, stage)) => preset.set("act", stage),
        None => {
            let known: Vec<&str> = ACTIVATIONS.iter().map(|(name, _)| *name).collect();
            let help = format!("known activations: {}", known.join(", "));
            config.unsupported(format!("`hidden_act` is \"{word}\""), &["hidden_act"], help);
        }
    }
}
