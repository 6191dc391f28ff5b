//! Nearest-neighbour upsampling.

use super::{
    Alignment, Alignments, Flow, Gradients, Link, Misuse, Obligations, Operator, Parameters,
    Passage, Sent};
use crate::analysis::liveness::facts::Grid;
use crate::analysis::moments::{Moments, Unknown};
use super::signals::{Response, Signals};
use crate::dim::Dim;
use crate::operator;
use crate::types::{Axis, Kind, Type};
use smallvec::smallvec;

operator! {
    /// Repeats each pixel `factor` times in height and width: `image[C, H, W] -> image[C, factor*H, factor*W]`.
    "upsample"(x)
    pub struct Upsample {
        /// How many times.
        factor: u64 = 2,
    }
}

impl Operator for Upsample {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        let Some(x) = operands.first().filter(|x| x.kind == Kind::Image) else {
            let found = operands.first().map_or("nothing".to_owned(), |x| x.to_string());
            return Err(Misuse::new("type/kind", format!("`upsample` acts on images, found {found}")).at(0));
        };
        let mut result = (*x).clone();
        for axis in [Axis::Height, Axis::Width] {
            let size = x.dim(axis).map(|size| size.times(&Dim::Known(self.factor)));
            match size {
                Some(Ok(size)) => result = result.with(axis, size),
                _ => return Err(Misuse::new("shape/size", "the image is too large").at(0)),
            }
        }
        Ok(result)
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let x = at.operand(0)?;
        Ok(Response::fresh(x.repeated(self.factor as usize).reaching(x.reach * self.factor as f64)))
    }

    fn signal_back(&self, _: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        let (factor, area) = (self.factor as usize, (self.factor * self.factor) as f64);
        Ok(smallvec![gradient.filtered(&vec![1.0; factor], factor).scaled(area)])
    }

    fn flops(&self, _: &[&[u64]], _: &[u64]) -> u64 {
        0
    }

    fn passage(&self) -> Passage {
        Passage::Resample
    }

    fn alignments(&self, _: &[&Type], _: &Type) -> Alignments {
        smallvec![Alignment { channels: Link::Same, tokens: Link::Unrelated }]
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        at.elementwise(|x| x.first().copied().unwrap_or_default())
    }

    fn flow_back(&self, _: &Flow<'_>, gradient: &Grid) -> Gradients {
        // Sums of neighbouring gradients: a generic gradient stays non-zero, a centred one stays centred.
        Gradients::of_operands([gradient.clone()])
    }
}
