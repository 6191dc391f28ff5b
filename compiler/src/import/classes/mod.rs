//! The classes that can be imported, one file each.

mod clip_text;
mod dit;
mod pixart;
mod sd3;
mod unet_2d;

use super::key::Class;

/// The one list.
pub(super) const ALL: &[Class] =
    &[clip_text::CLIP_TEXT, clip_text::CLIP_TEXT_WITH_PROJECTION, dit::DIT, pixart::PIXART, sd3::SD3, unet_2d::UNET_2D];

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
        _ => None,
    }
}

/// What is true of all networks of diffusers.
const PROCESS: &str = "Noise schedule and what is predicted (noise, velocity) are not of the network: see \
    `scheduler_config.json`.";
