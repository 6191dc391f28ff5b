//! What the towers of CLIP have in common in transformers.

use crate::import::config::Config;
use crate::import::preset::Preset;
use crate::import::residual::activation;

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
