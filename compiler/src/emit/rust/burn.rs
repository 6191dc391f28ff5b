//! What one version of Burn spells differently from another.

use super::numbers::whole;
use crate::ops::Op;
use proc_macro2::TokenStream;
use quote::quote;

/// A version of Burn that crates can be written for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    #[default]
    V0_21,
}

impl Version {
    /// By its name, `0.21`.
    pub fn from_name(name: &str) -> Option<Self> {
        matches!(name, "0.21" | "0.21.0").then_some(Version::V0_21)
    }

    pub const NAMES: &'static [&'static str] = &["0.21"];

    /// What a `Cargo.toml` asks for.
    pub fn requirement(self) -> &'static str {
        match self {
            Version::V0_21 => "=0.21.0",
        }
    }
}

/// Where an item of Burn is found, for a `use`.
pub(super) fn path_of(item: &str) -> Option<&'static str> {
    Some(match item {
        "Linear" | "LinearConfig" | "Embedding" | "EmbeddingConfig" | "LayerNorm" | "LayerNormConfig" | "GroupNorm"
        | "GroupNormConfig" | "RmsNorm" | "RmsNormConfig" | "PaddingConfig1d" | "PaddingConfig2d"
        | "PaddingConfig3d" => "burn::nn",
        "Conv1d" | "Conv1dConfig" | "Conv2d" | "Conv2dConfig" | "Conv3d" | "Conv3dConfig" => "burn::nn::conv",
        "Initializer" | "Param" => "burn::module",
        "activation" => "burn::tensor",
        _ => return None,
    })
}

/// Names of parameters that the PyTorch adapter of burn-store leaves as they are: of the norms, it knows those of layers,
/// groups and batches.
pub(super) fn leaf(op: &Op, name: &'static str) -> &'static str {
    match (op, name) {
        (Op::RmsNorm(_), "weight") => "gamma",
        _ => name,
    }
}

/// Zeros around a value: of the layer itself, or added before it.
pub(super) enum Padding {
    Layer(TokenStream),
    Before(TokenStream),
}

/// `(top, left, bottom, right)`.
pub(super) fn padding_2d((top, left, bottom, right): (u64, u64, u64, u64)) -> TokenStream {
    if [top, left, bottom, right] == [0; 4] {
        return quote!(PaddingConfig2d::Valid);
    }
    let [top, left, bottom, right] = [top, left, bottom, right].map(whole);
    quote!(PaddingConfig2d::Explicit(#top, #left, #bottom, #right))
}

pub(super) fn padding_1d(zeros: u64) -> TokenStream {
    if zeros == 0 {
        return quote!(PaddingConfig1d::Valid);
    }
    let zeros = whole(zeros);
    quote!(PaddingConfig1d::Explicit(#zeros, #zeros))
}

/// Convolutions of videos know padding on both sides alike only.
pub(super) fn padding_3d(sides: [(u64, u64); 3]) -> Padding {
    if sides == [(0, 0); 3] {
        return Padding::Layer(quote!(PaddingConfig3d::Valid));
    }
    if sides.iter().all(|(before, behind)| before == behind) {
        let [frames, vertical, horizontal] = sides.map(|(before, _)| whole(before));
        return Padding::Layer(quote!(PaddingConfig3d::Explicit(#frames, #vertical, #horizontal)));
    }
    let sides = sides.map(|(before, behind)| {
        let (before, behind) = (whole(before), whole(behind));
        quote!((#before, #behind))
    });
    Padding::Before(quote!([#(#sides),*]))
}
