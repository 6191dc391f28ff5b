//! Softmax.

use super::{
    Alignment, Alignments, Flow, Gradients, Misuse, Obligations, Operator, Parameters, Passage,
    number_operand, Sent};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Class, INDEPENDENT, Moments, Unknown};
use super::signals::{Response, Signals};
use crate::operator;
use crate::types::{Axis, Type};

crate::choice! {
    /// What a softmax sums to one over.
    pub enum SoftmaxAxis {
        /// The channels at each position.
        Channels = "channels",
        /// The positions of each channel.
        Positions = "positions",
    }
}

use smallvec::smallvec;

operator! {
    /// `exp(x) / sum(exp(x))` over the channels, or over the positions.
    ///
    /// The result sums to one: over a single channel it is the constant 1, and over C channels it averages 1/C. A
    /// gate for each channel is a `sigmoid`.
    "softmax"(x)
    pub struct Softmax {
        /// What sums to one.
        over: SoftmaxAxis = SoftmaxAxis::Channels,
    }
}

impl Softmax {
    /// The sizes that are summed over.
    pub fn size<'a>(&self, x: &'a Type) -> Vec<&'a crate::dim::Dim> {
        match self.over {
            SoftmaxAxis::Channels => x.dim(Axis::Channel).into_iter().collect(),
            SoftmaxAxis::Positions => x.positions().collect(),
        }
    }
}

impl Operator for Softmax {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        let x = number_operand(operands, 0, "softmax")?;
        let fits = match self.over {
            SoftmaxAxis::Channels => x.channels().is_some(),
            SoftmaxAxis::Positions => x.kind.has_positions(),
        };
        if fits {
            return Ok(x.clone());
        }
        Err(Misuse::new("type/kind", format!("there is nothing in {x} for a softmax to sum over")).at(0))
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    /// Log-normal for nearly normal logits of variance `s^2`: the mean is 1/n, the mean square `exp(s^2) / n^2`.
    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let x = at.operand(0)?;
        let (count, shared) = match self.over {
            SoftmaxAxis::Channels => (at.channels(0), x.mean * x.mean),
            SoftmaxAxis::Positions => (at.positions(0), x.pairs(&at.axes(0))),
        };
        let moments = x.map(1.0 / count, |second| {
            (libm::exp((second - shared).clamp(-700.0, 700.0)) / (count * count)).min(1.0 / count)
        });
        Ok(Response::fresh(moments.at_most(Class::Factor2)))
    }

    /// `y (dy - sum(y dy))`
    fn signal_back(&self, at: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        let y = self.signal(at)?.moments;
        Ok(smallvec![gradient.times(&y, &INDEPENDENT).at_most(Class::Factor2)])
    }

    fn flops(&self, _: &[&[u64]], result: &[u64]) -> u64 {
        5 * result.iter().product::<u64>()
    }

    fn passage(&self) -> Passage {
        Passage::Transform
    }

    fn alignments(&self, operands: &[&Type], result: &Type) -> Alignments {
        operands.iter().map(|x| Alignment::elementwise(x, result)).collect()
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        let x = at.operand(0);
        // Without variation along the axis the result is 1/n, whatever else varies.
        Grid::build(at.rows, at.columns, |row, column| {
            let (line, axis) = match self.over {
                SoftmaxAxis::Channels => (x.row(row), Facts::CHANNELS),
                SoftmaxAxis::Positions => (x.column(column), Facts::POSITIONS),
            };
            Facts::UNIFORM.or(line.when(line.has(axis)))
        })
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        // dx = y * (dy - sum(y dy)): zero where dy is uniform along the axis, and it sums to zero along it. Where y is
        // uniform across the axis, dx is a linear map of dy that is the same everywhere: the mean across stays zero.
        let x = at.operand(0);
        Gradients::of_operands([gradient.map(|row, column, _| {
            let (dy, x, parts) = match self.over {
                SoftmaxAxis::Channels => (gradient.row(row), x.row(row), gradient.columns()),
                SoftmaxAxis::Positions => (gradient.column(column), x.column(column), gradient.rows()),
            };
            let (axis, mean, across, mean_across) = match self.over {
                SoftmaxAxis::Channels => {
                    (Facts::CHANNELS, Facts::MEAN_CHANNELS, Facts::POSITIONS, Facts::MEAN_POSITIONS)
                }
                SoftmaxAxis::Positions => {
                    (Facts::POSITIONS, Facts::MEAN_POSITIONS, Facts::CHANNELS, Facts::MEAN_CHANNELS)
                }
            };
            let y_varies_across = x.has(axis) && x.has(across);
            let facts = Facts::NONZERO
                .with(axis, true)
                .with(mean, parts > 1)
                .with(across, dy.has(across) || y_varies_across)
                .with(mean_across, y_varies_across || dy.has(mean_across));
            facts.when(dy.has(axis))
        })])
    }
}
