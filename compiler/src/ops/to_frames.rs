//! Video to the images of its frames.

use super::{
    Alignment, Alignments, Flow, Gradients, Link, Misuse, Obligations, Operator, Parameters, Passage, Sent,
};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Moments, Unknown};
use super::signals::{Response, Signals};
use crate::operator;
use crate::types::{Kind, Type};
use smallvec::smallvec;

operator! {
    /// Each frame of a video as an image by itself: `video[T, C, H, W] -> image[C, H, W]` for each of T.
    ///
    /// Frames move into the batch; what acts on images then acts on every frame. What is the same for all frames, a
    /// time or a text, combines with them as it is. `to_video` brings them back.
    "to_frames"(x)
    pub struct ToFrames {}
}

impl Operator for ToFrames {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        let video = operands.first().filter(|x| x.kind == Kind::Video);
        let parts = video.and_then(|x| match x.dims.as_slice() {
            [frames, channels, height, width] => Some((*x, frames, [channels, height, width])),
            _ => None,
        });
        let Some((x, frames, image)) = parts else {
            let found = operands.first().map_or("nothing".to_owned(), |x| x.to_string());
            return Err(Misuse::new("type/kind", format!("`to_frames` needs a video, found {found}")).at(0));
        };
        let mut batch = x.batch.clone();
        batch.folds.push(frames.clone());
        Ok(Type::new(Kind::Image, image.map(Clone::clone)).with_batch(batch))
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
        let x = at.operand(0);
        Grid::build(at.rows, at.columns, |_, column| parted(x.column(column)))
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        refolded_back(at, gradient)
    }
}

/// Facts of a tensor whose positions have moved between the batch and the axes of a sample: what holds over all of
/// them need not hold for the parts, and the parts may differ. Facts are only added; where the parts are in truth all
/// alike, or centred each by itself, that is lost.
pub(super) fn refolded(at: &Flow<'_>) -> Grid {
    let x = at.operand(0);
    Grid::build(at.rows, at.columns, |_, column| loosened(x.column(column)))
}

pub(super) fn refolded_back(at: &Flow<'_>, gradient: &Grid) -> Gradients {
    let x = at.operand(0);
    Gradients::of_operands([Grid::build(x.rows(), x.columns(), |_, column| loosened(gradient.column(column)))])
}

/// Facts of parts of the positions of a sample, each by itself: where all positions are alike, those of a part are.
pub(super) fn parted(facts: Facts) -> Facts {
    if facts.has(Facts::POSITIONS) { loosened(facts) } else { facts }
}

fn loosened(facts: Facts) -> Facts {
    facts
        .with(Facts::POSITIONS, facts.nonzero())
        .with(Facts::MEAN_POSITIONS, facts.nonzero())
        .with(Facts::MEAN_ALL, facts.has(Facts::MEAN_CHANNELS))
}
