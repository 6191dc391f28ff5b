//! The standard library: `.arch` sources under `specs/std`, embedded in the binary.

/// Name after `std.` and source of each file.
pub const STD: &[(&str, &str)] = &[
    ("adm", include_str!("../../specs/std/adm.arch")),
    ("autoencoder", include_str!("../../specs/std/autoencoder.arch")),
    ("diffusers", include_str!("../../specs/std/diffusers.arch")),
    ("edm", include_str!("../../specs/std/edm.arch")),
    ("embed", include_str!("../../specs/std/embed.arch")),
    ("magnitude", include_str!("../../specs/std/magnitude.arch")),
    ("prelude", include_str!("../../specs/std/prelude.arch")),
    ("transformer", include_str!("../../specs/std/transformer.arch")),
    ("unet", include_str!("../../specs/std/unet.arch")),
    ("video", include_str!("../../specs/std/video.arch")),
];

/// The source of a file of the standard library.
pub fn source(name: &str) -> Option<&'static str> {
    STD.iter().find(|(own, _)| *own == name).map(|(_, text)| *text)
}
