//! What the towers of CLIP have in common in transformers.

use crate::import::config::Config;
use crate::import::preset::Preset;
use crate::import::residual::activation;

/// What transformers writes beside the network: how it is called, where it comes from, and how a text would be generated
/// by a network that can.
pub(super) const INERT: &[&str] = &[
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

/// Widths that follow from others unless they are given, heads, and the activation.
pub(super) fn tower(config: &mut Config<'_>, preset: &mut Preset) {
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
}
