//! Types of values: what the axes of a tensor mean and how long they are. The batch axis is implicit.

use crate::dim::{Dim, Sizes};
use serde::Serialize;
use smallvec::SmallVec;
use std::fmt;

/// What the axes of a value mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `image[channels, height, width]`
    Image,
    /// `video[frames, channels, height, width]`
    Video,
    /// `tokens[count, channels]`
    Tokens,
    /// `sequence[channels, count]`: tokens with their channels first, as 1-D convolutions and point sets have them.
    Sequence,
    /// `vector[channels]`
    Vector,
    /// One number per sample.
    Scalar,
    /// The time of a diffusion process, one number per sample.
    Timestep,
    /// The noise level of a diffusion process, one number per sample.
    Sigma,
    /// A class index below the given count, one per sample.
    Label,
    /// `ids[count, classes]`: a class index for each token, the words of a text for instance.
    Ids,
    /// `mask[count]`: a number for each token, 1 where it counts and 0 where it does not.
    Mask,
}

/// What an axis means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Axis {
    Channel,
    Height,
    Width,
    Token,
    Frame,
    Class,
}

impl Axis {
    pub fn name(self) -> &'static str {
        match self {
            Axis::Channel => "channels",
            Axis::Height => "height",
            Axis::Width => "width",
            Axis::Token => "tokens",
            Axis::Frame => "frames",
            Axis::Class => "classes",
        }
    }
}

/// What the elements of a value are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    F32,
    I64,
}

impl Kind {
    pub const ALL: [Kind; 11] = [
        Kind::Image,
        Kind::Video,
        Kind::Tokens,
        Kind::Sequence,
        Kind::Vector,
        Kind::Scalar,
        Kind::Timestep,
        Kind::Sigma,
        Kind::Label,
        Kind::Ids,
        Kind::Mask,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Image => "image",
            Kind::Video => "video",
            Kind::Tokens => "tokens",
            Kind::Vector => "vector",
            Kind::Scalar => "scalar",
            Kind::Timestep => "timestep",
            Kind::Sigma => "sigma",
            Kind::Label => "label",
            Kind::Ids => "ids",
            Kind::Mask => "mask",
            Kind::Sequence => "sequence",
        }
    }

    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The axes, in the order of the layout.
    pub fn axes(self) -> &'static [Axis] {
        match self {
            Kind::Image => &[Axis::Channel, Axis::Height, Axis::Width],
            Kind::Video => &[Axis::Frame, Axis::Channel, Axis::Height, Axis::Width],
            Kind::Tokens => &[Axis::Token, Axis::Channel],
            Kind::Vector => &[Axis::Channel],
            Kind::Scalar | Kind::Timestep | Kind::Sigma => &[],
            Kind::Label => &[Axis::Class],
            Kind::Ids => &[Axis::Token, Axis::Class],
            Kind::Mask => &[Axis::Token],
            Kind::Sequence => &[Axis::Channel, Axis::Token],
        }
    }

    /// Whether a value of this kind is one number per sample.
    pub fn is_scalar(self) -> bool {
        matches!(self, Kind::Scalar | Kind::Timestep | Kind::Sigma)
    }

    /// Whether the values have positions, in space or in a sequence.
    pub fn has_positions(self) -> bool {
        matches!(self, Kind::Image | Kind::Video | Kind::Tokens | Kind::Sequence)
    }

    /// Whether the values are indices of classes rather than numbers.
    pub fn is_index(self) -> bool {
        matches!(self, Kind::Label | Kind::Ids)
    }
}

/// Elements that one tensor may have for a sample, and so one parameter: four tebibytes in f32. Products of sizes stay
/// far from the limits of the machine.
pub const MAX_ELEMENTS: u64 = 1 << 40;

/// Whether a shape has no more elements than a tensor may have.
pub fn fits(shape: impl IntoIterator<Item = u64>) -> bool {
    let elements = shape.into_iter().try_fold(1_u64, u64::checked_mul);
    elements.is_some_and(|elements| elements <= MAX_ELEMENTS)
}

/// What a value has one of each for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Batch {
    /// Whether there is one value per sample. Parameters and tables are the same for all samples.
    pub samples: bool,
    /// Axes of a sample that have been folded into the batch, outermost first: a video as images has one for each of
    /// its frames.
    pub folds: SmallVec<[Dim; 1]>,
}

impl Batch {
    /// One value per sample.
    pub fn per_sample() -> Self {
        Self { samples: true, folds: SmallVec::new() }
    }

    /// One value for all samples.
    pub fn shared() -> Self {
        Self { samples: false, folds: SmallVec::new() }
    }

    /// The batch of a combination. What has fewer folds is the same for all parts of the other; folds of different
    /// axes do not combine.
    pub fn with(&self, other: &Batch) -> Option<Batch> {
        let (long, short) = if self.folds.len() < other.folds.len() { (other, self) } else { (self, other) };
        let agree = long.folds.iter().zip(&short.folds).all(|(a, b)| a == b);
        agree.then(|| Batch { samples: self.samples || other.samples, folds: long.folds.clone() })
    }
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Type {
    pub kind: Kind,
    /// One per axis of the kind.
    pub dims: SmallVec<[Dim; 4]>,
    pub batch: Batch,
}

impl Type {
    pub fn new(kind: Kind, dims: impl IntoIterator<Item = Dim>) -> Self {
        Self { kind, dims: dims.into_iter().collect(), batch: Batch::per_sample() }
    }

    pub fn vector(channels: impl Into<Dim>) -> Self {
        Self::new(Kind::Vector, [channels.into()])
    }

    #[must_use]
    pub fn with_batch(mut self, batch: Batch) -> Self {
        self.batch = batch;
        self
    }

    /// The size of an axis.
    pub fn dim(&self, axis: Axis) -> Option<&Dim> {
        self.dims.get(self.axis(axis)?)
    }

    /// The place of an axis in the layout.
    pub fn axis(&self, axis: Axis) -> Option<usize> {
        self.kind.axes().iter().position(|own| *own == axis)
    }

    /// The same type with another size on one axis.
    #[must_use]
    pub fn with(mut self, axis: Axis, dim: Dim) -> Self {
        if let Some(slot) = self.axis(axis).and_then(|at| self.dims.get_mut(at)) {
            *slot = dim;
        }
        self
    }

    /// Number of channels. Elaboration guarantees that it is known for every value that has channels.
    pub fn channels(&self) -> Option<u64> {
        self.dim(Axis::Channel).and_then(Dim::known)
    }

    /// Whether a tensor of this type is not too large, as far as its sizes are known.
    pub fn is_within_limits(&self) -> bool {
        fits(self.dims.iter().chain(&self.batch.folds).filter_map(Dim::known))
    }

    /// Sizes of the axes that carry positions.
    pub fn positions(&self) -> impl Iterator<Item = &Dim> {
        let axes = self.kind.axes();
        self.dims.iter().zip(axes).filter(|(_, axis)| !matches!(axis, Axis::Channel | Axis::Class)).map(|(d, _)| d)
    }

    /// Number of positions in a sample, over all parts that have been folded into the batch.
    pub fn position_count(&self) -> Option<Dim> {
        self.positions().chain(&self.batch.folds).try_fold(Dim::Known(1), |product, dim| product.times(dim)).ok()
    }

    /// In how many parts a sample is folded into the batch, for given sizes.
    pub fn folds_at(&self, sizes: &Sizes) -> Option<u64> {
        self.batch.folds.iter().try_fold(1_u64, |product, dim| product.checked_mul(dim.at(sizes)?))
    }

    pub fn dtype(&self) -> DType {
        if self.kind.is_index() { DType::I64 } else { DType::F32 }
    }

    /// Sizes of the axes that the data has; a label is one number, its classes are no axis.
    pub fn data_dims(&self) -> &[Dim] {
        match self.dims.split_last() {
            Some((_, others)) if self.kind.is_index() => others,
            _ => &self.dims,
        }
    }

    /// The shape of the data for given sizes, without the batch. `None` if a size is unbound.
    pub fn shape_at(&self, sizes: &Sizes) -> Option<Vec<u64>> {
        self.data_dims().iter().map(|dim| dim.at(sizes)).collect()
    }

    /// Number of elements per sample for given sizes.
    pub fn elements_at(&self, sizes: &Sizes) -> Option<u64> {
        self.shape_at(sizes)?.into_iter().try_fold(self.folds_at(sizes)?, u64::checked_mul)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |dims: &[Dim]| dims.iter().map(Dim::to_string).collect::<Vec<_>>().join(", ");
        write!(f, "{}", self.kind.name())?;
        if !self.dims.is_empty() {
            write!(f, "[{}]", list(&self.dims))?;
        }
        if !self.batch.folds.is_empty() {
            write!(f, " for each of {}", list(&self.batch.folds))?;
        }
        Ok(())
    }
}

/// Why two types cannot be combined element by element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BroadcastError {
    /// The axis on which they differ, where they differ in one.
    pub axis: Option<Axis>,
}

/// The type of an element-wise combination.
///
/// Axes are aligned by meaning: a vector stretches over the positions of an image, a video or tokens of the same
/// number of channels; a mask stretches over the channels of as many tokens; a scalar stretches over everything; an
/// axis of size 1 stretches to the size of its partner. Values of different kinds with positions do not combine, nor do
/// those folded into the batch along different axes.
pub fn broadcast(a: &Type, b: &Type) -> Result<Type, BroadcastError> {
    let batch = a.batch.with(&b.batch).ok_or(BroadcastError { axis: None })?;
    if a.kind.is_scalar() && b.kind.is_scalar() {
        let kind = if a.kind == b.kind { a.kind } else { Kind::Scalar };
        return Ok(Type { kind, dims: SmallVec::new(), batch });
    }
    if a.kind.is_scalar() && !b.kind.is_index() {
        return Ok(b.clone().with_batch(batch));
    }
    if b.kind.is_scalar() && !a.kind.is_index() {
        return Ok(a.clone().with_batch(batch));
    }
    if a.kind.is_index() || b.kind.is_index() {
        return Err(BroadcastError { axis: None });
    }
    let (wide, narrow) = if matches!(a.kind, Kind::Vector | Kind::Mask) { (b, a) } else { (a, b) };
    let stretches = match narrow.kind {
        Kind::Vector => true,
        Kind::Mask => matches!(wide.kind, Kind::Tokens | Kind::Sequence),
        _ => false,
    };
    if narrow.kind != wide.kind && !stretches {
        return Err(BroadcastError { axis: None });
    }
    let mut result = wide.clone().with_batch(batch);
    for (axis, dim) in narrow.kind.axes().iter().zip(&narrow.dims) {
        let own = result.dim(*axis).ok_or(BroadcastError { axis: Some(*axis) })?;
        if own == dim || *dim == Dim::Known(1) {
            continue;
        }
        if *own != Dim::Known(1) {
            return Err(BroadcastError { axis: Some(*axis) });
        }
        result = result.with(*axis, dim.clone());
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(c: u64, h: u64, w: u64) -> Type {
        Type::new(Kind::Image, [c.into(), h.into(), w.into()])
    }

    #[test]
    fn a_vector_stretches_over_positions() {
        assert_eq!(broadcast(&image(8, 4, 4), &Type::vector(8)), Ok(image(8, 4, 4)));
        assert_eq!(broadcast(&Type::vector(8), &image(8, 4, 4)), Ok(image(8, 4, 4)));
        assert_eq!(broadcast(&Type::vector(4), &image(8, 4, 4)), Err(BroadcastError { axis: Some(Axis::Channel) }));
    }

    #[test]
    fn an_axis_of_one_stretches() {
        assert_eq!(broadcast(&image(1, 4, 4), &image(8, 4, 4)), Ok(image(8, 4, 4)));
        assert_eq!(broadcast(&image(8, 1, 4), &image(8, 4, 1)), Ok(image(8, 4, 4)));
        assert_eq!(broadcast(&image(8, 2, 4), &image(8, 4, 4)), Err(BroadcastError { axis: Some(Axis::Height) }));
    }

    #[test]
    fn a_mask_stretches_over_channels() {
        let (tokens, mask) = (Type::new(Kind::Tokens, [16.into(), 8.into()]), Type::new(Kind::Mask, [16.into()]));
        assert_eq!(broadcast(&tokens, &mask), Ok(tokens.clone()));
        assert_eq!(broadcast(&mask, &tokens), Ok(tokens.clone()));
        assert_eq!(broadcast(&mask, &image(8, 4, 4)), Err(BroadcastError { axis: None }));
        let short = Type::new(Kind::Mask, [15.into()]);
        assert_eq!(broadcast(&tokens, &short), Err(BroadcastError { axis: Some(Axis::Token) }));
    }

    #[test]
    fn what_is_the_same_for_all_frames_stretches_over_them() {
        let per = |folds: &[u64], ty: Type| {
            let folds = folds.iter().map(|size| Dim::Known(*size)).collect();
            ty.with_batch(Batch { samples: true, folds })
        };
        let frames = per(&[5], image(8, 4, 4));
        assert_eq!(frames.to_string(), "image[8, 4, 4] for each of 5");
        assert_eq!(broadcast(&Type::vector(8), &frames), Ok(frames.clone()));
        assert_eq!(broadcast(&frames, &image(8, 4, 4)), Ok(frames.clone()));
        assert_eq!(broadcast(&per(&[5, 2], Type::vector(8)), &frames), Ok(per(&[5, 2], image(8, 4, 4))));
        assert_eq!(broadcast(&per(&[4], image(8, 4, 4)), &frames), Err(BroadcastError { axis: None }));
        assert_eq!(frames.position_count(), Some(Dim::Known(80)));
    }

    #[test]
    fn kinds_with_positions_do_not_mix() {
        let tokens = Type::new(Kind::Tokens, [16.into(), 8.into()]);
        assert_eq!(broadcast(&tokens, &image(8, 4, 4)), Err(BroadcastError { axis: None }));
        assert_eq!(broadcast(&tokens, &Type::new(Kind::Timestep, [])), Ok(tokens.clone()));
    }
}
