//! Sources that are part of the program: the standard library under `specs/std`, and the published networks beside it.

/// Name after `std.` and source of each file.
pub const STD: &[(&str, &str)] = &[
    ("adm", include_str!("../../specs/std/adm.arch")),
    ("autoencoder", include_str!("../../specs/std/autoencoder.arch")),
    ("condition", include_str!("../../specs/std/condition.arch")),
    ("diffusers", include_str!("../../specs/std/diffusers.arch")),
    ("edm", include_str!("../../specs/std/edm.arch")),
    ("embed", include_str!("../../specs/std/embed.arch")),
    ("feedforward", include_str!("../../specs/std/feedforward.arch")),
    ("gate", include_str!("../../specs/std/gate.arch")),
    ("magnitude", include_str!("../../specs/std/magnitude.arch")),
    ("noise", include_str!("../../specs/std/noise.arch")),
    ("prelude", include_str!("../../specs/std/prelude.arch")),
    ("residual", include_str!("../../specs/std/residual.arch")),
    ("skip", include_str!("../../specs/std/skip.arch")),
    ("transformer", include_str!("../../specs/std/transformer.arch")),
    ("unet", include_str!("../../specs/std/unet.arch")),
    ("video", include_str!("../../specs/std/video.arch")),
];

/// Name after `std.models.` and source of each published network.
pub const MODELS: &[(&str, &str)] = &[
    ("adm", include_str!("../../specs/adm.arch")),
    ("autoencoder_kl", include_str!("../../specs/autoencoder_kl.arch")),
    ("clip_text", include_str!("../../specs/clip_text.arch")),
    ("clip_vision", include_str!("../../specs/clip_vision.arch")),
    ("ddpm", include_str!("../../specs/ddpm.arch")),
    ("dit", include_str!("../../specs/dit.arch")),
    ("edm", include_str!("../../specs/edm.arch")),
    ("edm2", include_str!("../../specs/edm2.arch")),
    ("gaussians", include_str!("../../specs/gaussians.arch")),
    ("pixart", include_str!("../../specs/pixart.arch")),
    ("point_e", include_str!("../../specs/point_e.arch")),
    ("sd3", include_str!("../../specs/sd3.arch")),
    ("stable_diffusion", include_str!("../../specs/stable_diffusion.arch")),
    ("svd", include_str!("../../specs/svd.arch")),
    ("t5_encoder", include_str!("../../specs/t5_encoder.arch")),
    ("uvit", include_str!("../../specs/uvit.arch")),
];

/// The folder of published networks in the standard library.
pub const MODELS_FOLDER: &str = "models";

/// The source of a file of the standard library, by its path in it: `embed`, `models/sd3`.
pub fn source(path: &str) -> Option<&'static str> {
    let (files, name) = folder(path);
    files.iter().find(|(own, _)| *own == name).map(|(_, text)| *text)
}

/// The files that stand beside the one of a path, and its name among them.
pub fn folder(path: &str) -> (&'static [(&'static str, &'static str)], &str) {
    match path.split_once('/') {
        Some((MODELS_FOLDER, name)) => (MODELS, name),
        None if path == MODELS_FOLDER => (MODELS, ""),
        Some(_) | None => (STD, path),
    }
}
