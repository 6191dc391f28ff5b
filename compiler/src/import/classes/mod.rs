//! The classes that can be imported, one file each.

mod autoencoder_kl;
mod autoencoder_kl_temporal;
mod clip;
mod clip_text;
mod clip_vision;
mod dit;
mod pixart;
mod sd3;
mod t5_encoder;
mod unet_2d;
mod unet_2d_condition;
mod unet_spatio_temporal;

use super::key::Class;

/// The one list.
pub(super) const ALL: &[Class] = &[
    autoencoder_kl::AUTOENCODER_KL,
    autoencoder_kl_temporal::AUTOENCODER_KL_TEMPORAL,
    clip_text::CLIP_TEXT,
    clip_text::CLIP_TEXT_WITH_PROJECTION,
    clip_vision::CLIP_VISION_WITH_PROJECTION,
    dit::DIT,
    pixart::PIXART,
    sd3::SD3,
    t5_encoder::T5_ENCODER,
    unet_2d::UNET_2D,
    unet_2d_condition::UNET_2D_CONDITION,
    unet_spatio_temporal::UNET_SPATIO_TEMPORAL,
];

/// The class that a name of earlier versions of diffusers stands for: one transformer that its norm told apart.
pub(super) fn today<'n>(name: &'n str, norm_type: Option<&str>) -> &'n str {
    match (name, norm_type) {
        ("Transformer2DModel", Some("ada_norm_zero")) => dit::DIT.name,
        ("Transformer2DModel", Some("ada_norm_single")) => pixart::PIXART.name,
        _ => name,
    }
}

/// What to do about a class that is none of these.
pub(super) fn hint(name: &str) -> Option<&'static str> {
    match name {
        "Transformer2DModel" => Some(
            "with a `norm_type` of \"ada_norm_zero\" it is a `DiTTransformer2DModel`, with \"ada_norm_single\" a \
             `PixArtTransformer2DModel`",
        ),
        "CLIPModel" | "clip" => Some("the text tower is a `CLIPTextModel`: import what stands under `text_config`"),
        "CLIPVisionModel" => Some("with its projection the tower is a `CLIPVisionModelWithProjection`"),
        _ => None,
    }
}

/// What is true of all networks of diffusers.
const PROCESS: &str = "Noise schedule and what is predicted (noise, velocity) are not of the network: see \
    `scheduler_config.json`.";

/// What transformers writes beside the network: how it is called, where it comes from, and how a text would be generated
/// by a network that can.
const TRANSFORMERS_INERT: &[&str] = &[
    "_attn_implementation",
    "_attn_implementation_autoset",
    "add_cross_attention",
    "architectures",
    "attn_implementation",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "chunk_size_feed_forward",
    "classifier_dropout",
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
    "num_decoder_layers",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_past",
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
