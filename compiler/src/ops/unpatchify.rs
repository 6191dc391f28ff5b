//! Patches back to an image.

use super::to_image::{grid, tokens_operand};
use super::to_tokens::{relayout, relayout_back};
use super::{
    Alignment, Alignments, Flow, Gradients, Misuse, Obligations, Operator, Parameters, Passage, Sent};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Moments, Unknown};
use super::signals::{Response, Signals};
use crate::dim::Dim;
use crate::operator;
use crate::types::{Kind, Type};
use smallvec::{SmallVec, smallvec};

operator! {
    /// Lays each token out as a patch: `tokens[h*w, patch*patch*channels] -> image[channels, h*patch, w*patch]`.
    ///
    /// Within a token the order is row in patch, column in patch, channel. Without sizes the grid is square.
    "unpatchify"(x)
    pub struct Unpatchify {
        /// Height and width of a patch.
        patch: u64,
        /// Channels of the result.
        channels: u64,
        /// Rows of the grid of patches.
        height: Option<Dim> = None,
        /// Columns of the grid of patches.
        width: Option<Dim> = None,
    }
}

impl Operator for Unpatchify {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        let (x, count, channels) = tokens_operand(operands, "unpatchify")?;
        let needed = self.patch.checked_mul(self.patch).and_then(|area| area.checked_mul(self.channels));
        if channels.known() != needed {
            let needed = needed.map_or("too many".to_owned(), |needed| needed.to_string());
            let message = format!(
                "patches of {0} x {0} with {1} channels need {needed} channels per token, found {x}",
                self.patch, self.channels
            );
            return Err(Misuse::new("shape/mismatch", message).at(0));
        }
        let (height, width) = grid(count, self.height.as_ref(), self.width.as_ref(), "unpatchify")?;
        let scaled = |size: Dim| {
            size.times(&Dim::Known(self.patch)).map_err(|_| Misuse::new("shape/size", "the image is too large").at(0))
        };
        Ok(Type::new(Kind::Image, [Dim::Known(self.channels), scaled(height)?, scaled(width)?]).with_batch(x.batch.clone()))
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    /// Pixels of a patch are different channels of a token; of two far apart, one in `patch^2` is the same.
    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let x = at.operand(0)?;
        let (area, shared) = ((self.patch * self.patch) as f64, x.mean * x.mean);
        let far = shared + (x.far() - shared) / area;
        let mut moments = x.map(x.mean, |_| far);
        if let Some(own) = moments.second.first_mut() {
            *own = x.square();
        }
        Ok(Response::fresh(moments))
    }

    /// A channel of a token is one pixel in `patch^2`: pixels a patch apart.
    fn signal_back(&self, at: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        let axes: SmallVec<[f64; 3]> = at.axes_of(at.result).iter().map(|size| size / self.patch as f64).collect();
        Ok(smallvec![gradient.strided(self.patch as usize).unordered(&axes)])
    }

    fn flops(&self, _: &[&[u64]], _: &[u64]) -> u64 {
        0
    }

    fn passage(&self) -> Passage {
        Passage::Keep
    }

    fn alignments(&self, _: &[&Type], _: &Type) -> Alignments {
        smallvec![Alignment::UNRELATED]
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        // Channels of a token become positions of the image.
        relayout(at).map(|_, _, x| x.with(Facts::POSITIONS, x.has(Facts::CHANNELS)))
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        let varied = gradient.map(|_, _, dy| {
            let channels = dy.has(Facts::POSITIONS) || dy.has(Facts::CHANNELS);
            dy.with(Facts::CHANNELS, channels)
                .with(Facts::MEAN_POSITIONS, dy.has(Facts::POSITIONS))
                .with(Facts::MEAN_CHANNELS, dy.has(Facts::POSITIONS))
        });
        relayout_back(at, &varied)
    }
}
