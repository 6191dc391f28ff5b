//! Sums and means.

use super::{
    Alignment, Alignments, Flow, Gradients, Link, Misuse, Obligations, Operator, Parameters, Passage, Sent, channels_of,
};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Class, Moments, Unknown};
use super::signals::{Response, Signals};
use crate::dim::Dim;
use crate::operator;
use crate::types::{Axis, Kind, Type};
use smallvec::{SmallVec, smallvec};

crate::choice! {
    /// What becomes of the elements.
    pub enum Reduction {
        /// Their sum.
        Sum = "sum",
        /// Their mean.
        Mean = "mean",
    }
}

crate::choice! {
    /// Which elements become one.
    pub enum ReducedAxes {
        /// All of a sample.
        All = "all",
        /// Those of a channel.
        Positions = "positions",
        /// Those of a position.
        Channels = "channels",
    }
}

operator! {
    /// The sum or the mean over all elements of a sample, over its positions, or over its channels.
    ///
    /// `image[C, H, W] -> scalar` over all, `-> vector[C]` over positions (global pooling), `-> image[1, H, W]` over
    /// channels; a vector over its channels is a scalar. Frames folded into the batch are reduced each by itself.
    "reduce"(x)
    pub struct Reduce {
        /// What becomes of the elements.
        by: Reduction,
        /// Which elements become one.
        over: ReducedAxes = ReducedAxes::All,
    }
}

impl Operator for Reduce {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        channels_of(operands, 0, "reduce")?;
        let Some(x) = operands.first() else { return Err(Misuse::new("type/kind", "`reduce` lacks its operand")) };
        let scalar = |x: &Type| Type { kind: Kind::Scalar, dims: SmallVec::new(), batch: x.batch.clone() };
        match (self.over, x.kind, x.dim(Axis::Channel)) {
            (ReducedAxes::Positions, Kind::Vector, _) => {
                Err(Misuse::new("type/kind", format!("{x} has no positions to reduce"))
                    .at(0)
                    .help("over its channels it becomes a scalar: `over: channels`"))
            }
            (ReducedAxes::All, ..) | (ReducedAxes::Channels, Kind::Vector, _) => Ok(scalar(x)),
            (ReducedAxes::Positions, _, Some(channels)) => {
                Ok(Type::vector(channels.clone()).with_batch(x.batch.clone()))
            }
            _ => Ok((*x).clone().with(Axis::Channel, Dim::Known(1))),
        }
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    /// Channels are taken to be independent around their mean.
    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let x = at.operand(0)?;
        let (channels, positions) = (at.channels(0), at.positions(0).max(1.0));
        let over_channels = |second: f64| x.mean * x.mean + (second - x.mean * x.mean) / channels;
        let pooled = x.summed(&at.axes(0)) / (positions * positions);
        let mean = match self.over {
            ReducedAxes::All => Moments::uniform(x.mean, over_channels(pooled)),
            ReducedAxes::Positions => Moments::uniform(x.mean, pooled),
            ReducedAxes::Channels => x.map(x.mean, over_channels),
        };
        let class = x.class.max(Class::Within15);
        Ok(Response::fresh(mean.scaled(self.terms(at) * self.weight(at)).at_most(class)))
    }

    /// Every element of a sum receives the gradient of the sum.
    fn signal_back(&self, at: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        let weighted = gradient.scaled(self.weight(at));
        Ok(smallvec![match self.over {
            ReducedAxes::Channels => weighted,
            ReducedAxes::All | ReducedAxes::Positions =>
                Moments::uniform(weighted.mean, weighted.square()).at_most(gradient.class),
        }])
    }

    fn flops(&self, operands: &[&[u64]], _: &[u64]) -> u64 {
        operands.first().map_or(0, |shape| shape.iter().product())
    }

    fn passage(&self) -> Passage {
        Passage::Transform
    }

    fn alignments(&self, _: &[&Type], _: &Type) -> Alignments {
        smallvec![match self.over {
            ReducedAxes::All => Alignment::UNRELATED,
            ReducedAxes::Positions => Alignment { channels: Link::Same, tokens: Link::Unrelated },
            ReducedAxes::Channels => Alignment { channels: Link::Unrelated, tokens: Link::Same },
        }]
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        let x = at.operand(0);
        let mut result = Grid::new(at.rows, at.columns);
        for row in 0..x.rows() {
            for column in 0..x.columns() {
                let cell = x.at(row, column);
                let (place, facts) = match self.over {
                    ReducedAxes::All => ((0, 0), Facts::UNIFORM.when(cell.has(Facts::MEAN_ALL))),
                    ReducedAxes::Positions => ((0, column), cell.sum_positions()),
                    ReducedAxes::Channels => ((row, 0), cell.sum_channels()),
                };
                result.add(place.0, place.1, facts);
            }
        }
        result
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        // Every element of a sum receives the gradient of the sum.
        let x = at.operand(0);
        Gradients::of_operands([Grid::build(x.rows(), x.columns(), |row, column| gradient.at(row, column))])
    }
}

impl Reduce {
    /// How many elements become one.
    fn terms(&self, at: &Signals<'_>) -> f64 {
        match self.over {
            ReducedAxes::All => at.channels(0) * at.positions(0),
            ReducedAxes::Positions => at.positions(0),
            ReducedAxes::Channels => at.channels(0),
        }
    }

    /// What each of them is multiplied by.
    fn weight(&self, at: &Signals<'_>) -> f64 {
        match self.by {
            Reduction::Sum => 1.0,
            Reduction::Mean => 1.0 / self.terms(at).max(1.0),
        }
    }
}
