//! `CLIPTextModel` and `CLIPTextModelWithProjection` of transformers.

use crate::import::config::Config;
use crate::import::key::{Class, Key, Kind, key, only};
use crate::import::preset::Preset;
use crate::import::residual::activation;

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

/// What transformers writes beside the network: how it is called, where it comes from, and how a text would be generated
/// by a network that can.
const INERT: &[&str] = &[
    "_attn_implementation",
    "_attn_implementation_autoset",
    "add_cross_attention",
    "architectures",
    "attn_implementation",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "chunk_size_feed_forward",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dropout",
    "dtype",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "id2label",
    "initializer_range",
    "is_decoder",
    "is_encoder_decoder",
    "label2id",
    "length_penalty",
    "max_length",
    "min_length",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "pad_token_id",
    "prefix",
    "problem_type",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict",
    "return_dict_in_generate",
    "sep_token_id",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tie_word_embeddings",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers_version",
    "typical_p",
    "use_bfloat16",
    "use_cache",
    "use_return_dict",
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
    if let Some(act) = activation(config, "hidden_act") {
        preset.set("act", act);
    }
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
