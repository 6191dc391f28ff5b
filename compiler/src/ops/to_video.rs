//! Images of frames to a video.

use super::to_frames::{parted, refolded};
use super::{
    Alignment, Alignments, Flow, Gradients, Link, Misuse, Obligations, Operator, Parameters, Passage, Sent,
};
use crate::analysis::liveness::facts::Grid;
use crate::analysis::moments::{Moments, Unknown};
use super::signals::{Response, Signals};
use crate::operator;
use crate::types::{Batch, Kind, Type};
use smallvec::smallvec;

operator! {
    /// The inverse of `to_frames`: `image[C, H, W]` for each of T frames `-> video[T, C, H, W]`.
    "to_video"(x)
    pub struct ToVideo {}
}

impl Operator for ToVideo {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        let image = operands.first().filter(|x| x.kind == Kind::Image);
        let parts = image.and_then(|x| x.batch.folds.split_last().map(|(frames, outer)| (*x, frames, outer)));
        let Some((x, frames, outer)) = parts else {
            let found = operands.first().map_or("nothing".to_owned(), |x| x.to_string());
            let message = format!("`to_video` needs the images of frames, found {found}");
            return Err(Misuse::new("type/kind", message).at(0).help("`to_frames()` makes them from a video"));
        };
        let batch = Batch { samples: x.batch.samples, folds: outer.iter().cloned().collect() };
        Ok(Type::new(Kind::Video, std::iter::once(frames).chain(&x.dims).cloned()).with_batch(batch))
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        at.operand(0).map(Response::same)
    }

    fn signal_back(&self, _: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        Ok(smallvec![*gradient])
    }

    fn flops(&self, _: &[&[u64]], _: &[u64]) -> u64 {
        0
    }

    fn passage(&self) -> Passage {
        Passage::Keep
    }

    fn alignments(&self, _: &[&Type], _: &Type) -> Alignments {
        smallvec![Alignment { channels: Link::Same, tokens: Link::Unrelated }]
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        refolded(at)
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        let x = at.operand(0);
        Gradients::of_operands([Grid::build(x.rows(), x.columns(), |_, column| parted(gradient.column(column)))])
    }
}
