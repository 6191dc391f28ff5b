//! Sine-cosine positions that are computed, not stored.

use super::{
    Alignments, Flow, Gradients, Misuse, Obligations, Operator, Parameters, Passage, Sent};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Class, Moments, Unknown};
use super::signals::{Response, Signals};
use crate::dim::Dim;
use crate::operator;
use crate::sincos::SinCosGrid as Positions;
use crate::types::{Batch, Kind, Type};
use smallvec::smallvec;

operator! {
    /// Sine-cosine positions of a grid of any size, computed when the model runs: `tokens[height*width, features]`.
    ///
    /// The first half of the channels encodes the column, the second half the row; each half holds the sines, then the
    /// cosines, of `position * 10000^(-2i/half)`. Positions are indices, or `index * base / size / scale`: with a `base`
    /// an image of any size spans the same positions (PixArt-alpha). The same table as a parameter that is stored but
    /// not trained is `sincos_2d` of `std.embed`.
    "sincos_grid"()
    pub struct SincosGrid {
        /// Rows of the grid.
        height: Dim,
        /// Columns of the grid.
        width: Dim,
        /// Channels of the result; a multiple of four.
        features: u64,
        /// The length that height and width stand for.
        base: Option<f64> = None,
        /// Divides all positions.
        scale: f64 = 1.0,
    }
}

impl SincosGrid {
    /// What is computed.
    pub fn positions(&self) -> Positions {
        let (height, width) = (self.height.clone(), self.width.clone());
        Positions { height, width, base: self.base, scale: self.scale }
    }
}

impl Operator for SincosGrid {
    fn infer(&self, _: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        if !self.features.is_multiple_of(4) {
            let message = format!("sine-cosine positions of a grid come in fours; {} features do not", self.features);
            return Err(Misuse::new("shape/remainder", message));
        }
        if self.scale <= 0.0 || self.base.is_some_and(|base| base <= 0.0) {
            return Err(Misuse::new("shape/range", "`base` and `scale` of `sincos_grid` are above zero"));
        }
        let count = self.height.times(&self.width).map_err(|_| Misuse::new("shape/size", "too many tokens"))?;
        Ok(Type::new(Kind::Tokens, [count, Dim::Known(self.features)]).with_batch(Batch::shared()))
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    /// The mean square is exactly 1/2; the mean depends on the size of the grid and is small for large ones.
    fn signal(&self, _: &Signals<'_>) -> Result<Response, Unknown> {
        let table = self.positions().statistics();
        let mut moments = Moments::ZERO.map(table.mean, |_| table.shared).similar(table.similarity);
        if let Some(own) = moments.second.first_mut() {
            *own = 0.5;
        }
        Ok(Response::fresh(moments.at_most(Class::Within5)))
    }

    fn signal_back(&self, _: &Signals<'_>, _: &Moments) -> Result<Sent, Unknown> {
        Ok(smallvec![])
    }

    fn flops(&self, _: &[&[u64]], result: &[u64]) -> u64 {
        2 * result.iter().product::<u64>()
    }

    fn passage(&self) -> Passage {
        Passage::Source
    }

    fn alignments(&self, _: &[&Type], _: &Type) -> Alignments {
        Alignments::new()
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        // The cosines of zero are one.
        Grid::filled(at.rows, at.columns, Facts::GENERIC)
    }

    fn flow_back(&self, _: &Flow<'_>, _: &Grid) -> Gradients {
        Gradients::of_operands([])
    }
}
