//! The classes that can be imported, one file each.

mod autoencoder_kl;
mod autoencoder_kl_temporal;
mod clip;
mod clip_text;
mod clip_vision;
mod dit;
mod pixart;
mod sd3;
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
