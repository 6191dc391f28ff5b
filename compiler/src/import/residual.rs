//! What the residual U-Nets of diffusers have in common: activations, sinusoids, scales and padding.

use super::config::Config;
use super::preset::Preset;

/// Activations of diffusers and transformers by the names of the language.
const ACTIVATIONS: &[(&str, &str)] = &[
    ("gelu", "gelu"),
    ("gelu_new", "gelu_tanh"),
    ("gelu_pytorch_tanh", "gelu_tanh"),
    ("quick_gelu", "quick_gelu"),
    ("relu", "relu"),
    ("silu", "silu"),
    ("swish", "silu"),
];

/// The activation that a key names; none where it is `null`, or not known, which is reported.
pub(super) fn activation(config: &mut Config<'_>, key: &'static str) -> Option<&'static str> {
    let word = config.word(key)?;
    let found = ACTIVATIONS.iter().find(|(name, _)| *name == word).map(|(_, stage)| *stage);
    if found.is_none() {
        let known: Vec<&str> = ACTIVATIONS.iter().map(|(name, _)| *name).collect();
        let help = format!("known activations: {}", known.join(", "));
        config.unsupported(format!("`{key}` is \"{word}\""), &[key], help);
    }
    found
}

pub(super) fn sinusoids(config: &Config<'_>, preset: &mut Preset) {
    if let Some(cosine_first) = config.flag("flip_sin_to_cos") {
        preset.set("sinusoids", if cosine_first { "\"cos_first\"" } else { "\"sin_first\"" });
    }
}

/// How residual blocks take their condition.
pub(super) fn scale_shift(config: &mut Config<'_>, preset: &mut Preset) {
    const KEY: &str = "resnet_time_scale_shift";
    match config.word(KEY).as_deref() {
        Some("scale_shift") => preset.set("scale_shift", true),
        Some("default") | None => {}
        Some(other) => {
            let message = format!("`{KEY}` is \"{other}\"");
            config.unsupported(message, &[KEY], "it is `default` or `scale_shift`".to_owned());
        }
    }
}

/// Padding of stride-2 convolutions: 1 is on all sides, 0 below and on the right alone.
pub(super) fn padding(config: &mut Config<'_>, preset: &mut Preset) {
    const KEY: &str = "downsample_padding";
    match config.size(KEY) {
        Some(padding @ (0 | 1)) => preset.set("pad_all", padding == 1),
        None => {}
        Some(other) => {
            let message = format!("`{KEY}` is {other}, which does not halve the size");
            config.unsupported(message, &[KEY], "it is 0 or 1".to_owned());
        }
    }
}
