//! What holds of values however their parameters are trained: the interval they lie in, and whether they rise or fall
//! with a number.
//!
//! # Why this is sound
//!
//! Trained parameters may be any number. An interval contains every value that an element can take for any parameters
//! and inputs; a trend holds element by element, for fixed parameters, along one number with everything else fixed. Both
//! are computed from the operands of an operator alone, so what holds of each operator holds of the graph by induction.
//! What is not proved is [`Trend::Unknown`], never a guess. `softplus(w)` is positive for any `w`, hence
//! `sigmoid(softplus(w) * log_snr + b)` rises with `log_snr`; a linear map has weights of either sign, so behind it
//! nothing is known.
//!
//! Products are `d(ab) = da b + a db`: the signs of both terms come from intervals and trends of the factors.

use crate::ir::{Direction, Graph, NodeId, NodeKind};
use crate::ops::activation::Function;
use crate::ops::reduce::Reduction;
use crate::ops::{Activation, Op};
use crate::types::Kind;
use archc_process::Schedule;
use std::f64::consts::{FRAC_PI_2, PI};

/// Smallest and largest value; infinite where there is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

impl Interval {
    pub const ALL: Interval = Interval { low: f64::NEG_INFINITY, high: f64::INFINITY };

    pub fn new(low: f64, high: f64) -> Self {
        if low.is_nan() || high.is_nan() { Self::ALL } else { Self { low, high } }
    }

    pub fn is_bounded(self) -> bool {
        self.low.is_finite() && self.high.is_finite()
    }

    /// Whether it lies in `low ..= high`.
    pub fn is_within(self, low: f64, high: f64) -> bool {
        low <= self.low && self.high <= high
    }

    fn hull(self, other: Interval) -> Interval {
        Interval::new(self.low.min(other.low), self.high.max(other.high))
    }

    fn plus(self, other: Interval) -> Interval {
        Interval::new(self.low + other.low, self.high + other.high)
    }

    fn scaled(self, factor: f64) -> Interval {
        self.times(Interval::new(factor, factor))
    }

    fn times(self, other: Interval) -> Interval {
        // Zero times anything that is finite is zero; ends that are infinite are never taken.
        let product = |a: f64, b: f64| if a == 0.0 || b == 0.0 { 0.0 } else { a * b };
        let ends = [
            product(self.low, other.low),
            product(self.low, other.high),
            product(self.high, other.low),
            product(self.high, other.high),
        ];
        Interval::new(
            ends.into_iter().fold(f64::INFINITY, f64::min),
            ends.into_iter().fold(f64::NEG_INFINITY, f64::max),
        )
    }

    fn square(self) -> Interval {
        let (a, b) = (self.low * self.low, self.high * self.high);
        let low = if self.low <= 0.0 && self.high >= 0.0 { 0.0 } else { a.min(b) };
        Interval::new(low, a.max(b))
    }

    /// The sign that all elements have, or zero where they have none in common.
    fn sign(self) -> Option<Sign> {
        if self.low >= 0.0 {
            Some(Sign::Positive)
        } else if self.high <= 0.0 {
            Some(Sign::Negative)
        } else {
            None
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Positive,
    Negative,
}

/// How every element of a value goes with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trend {
    /// It does not depend on it.
    Constant,
    /// It never falls when the number grows.
    Rising,
    /// It never rises.
    Falling,
    Unknown,
}

impl Trend {
    pub fn of(direction: Direction) -> Self {
        match direction {
            Direction::Rises => Trend::Rising,
            Direction::Falls => Trend::Falling,
        }
    }

    /// Of a sum, or of elements side by side.
    fn and(self, other: Trend) -> Trend {
        match (self, other) {
            (Trend::Constant, trend) | (trend, Trend::Constant) => trend,
            (Trend::Rising, Trend::Rising) => Trend::Rising,
            (Trend::Falling, Trend::Falling) => Trend::Falling,
            (Trend::Rising | Trend::Falling | Trend::Unknown, Trend::Rising | Trend::Falling | Trend::Unknown) => {
                Trend::Unknown
            }
        }
    }

    #[must_use]
    pub fn opposite(self) -> Trend {
        match self {
            Trend::Constant => Trend::Constant,
            Trend::Rising => Trend::Falling,
            Trend::Falling => Trend::Rising,
            Trend::Unknown => Trend::Unknown,
        }
    }

    /// Times a factor of that sign.
    fn times(self, sign: Option<Sign>) -> Trend {
        match (self, sign) {
            (Trend::Constant, _) => Trend::Constant,
            (trend, Some(Sign::Positive)) => trend,
            (trend, Some(Sign::Negative)) => trend.opposite(),
            (Trend::Rising | Trend::Falling | Trend::Unknown, None) => Trend::Unknown,
        }
    }
}

/// The interval of every value.
#[derive(Debug)]
pub struct Ranges {
    intervals: Vec<Interval>,
}

impl Ranges {
    pub fn of(graph: &Graph) -> Self {
        let mut ranges = Ranges { intervals: Vec::with_capacity(graph.node_count()) };
        for id in graph.node_ids() {
            let interval = match &graph.node(id).kind {
                NodeKind::Input(_) => input(graph, graph.node(id).ty.kind),
                NodeKind::Op(op) => ranges.interval(graph, id, op),
            };
            ranges.intervals.push(interval);
        }
        ranges
    }

    /// Where the elements of a value lie.
    pub fn at(&self, node: NodeId) -> Interval {
        self.intervals.get(node.index()).copied().unwrap_or(Interval::ALL)
    }

    /// How every value goes with the number that a node holds.
    pub fn along(&self, graph: &Graph, number: NodeId) -> Vec<Trend> {
        let mut trends = vec![Trend::Constant; graph.node_count()];
        let behind = graph.node_ids().skip(number.index());
        for id in behind {
            let trend = match graph.node(id).op() {
                _ if id == number => Trend::Rising,
                Some(op) => self.trend(graph, id, op, &trends),
                None => Trend::Constant,
            };
            if let Some(slot) = trends.get_mut(id.index()) {
                *slot = trend;
            }
        }
        trends
    }

    fn interval(&self, graph: &Graph, id: NodeId, op: &Op) -> Interval {
        let operands = graph.operands(id);
        let of = |at: usize| operands.get(at).map_or(Interval::ALL, |operand| self.at(*operand));
        let hull = || operands.iter().map(|x| self.at(*x)).reduce(Interval::hull).unwrap_or(Interval::ALL);
        match op {
            Op::Activation(Activation { function }) => image(*function, of(0)),
            Op::Add(_) => operands.iter().map(|x| self.at(*x)).fold(Interval::new(0.0, 0.0), Interval::plus),
            Op::Affine(affine) => of(0).scaled(affine.scale).plus(Interval::new(affine.shift, affine.shift)),
            Op::Clip(clip) => {
                Interval::new(of(0).low.clamp(clip.low, clip.high), of(0).high.clamp(clip.low, clip.high))
            }
            Op::Multiply(_) if operands.first() == operands.get(1) => of(0).square(),
            Op::Multiply(_) => of(0).times(of(1)),
            // Mixtures with weights that add up to one.
            Op::Attention(_) => of(2),
            Op::Reduce(reduce) => match reduce.by {
                Reduction::Mean => of(0),
                // So many that nothing but the sign is known.
                Reduction::Sum => of(0).times(Interval::new(1.0, f64::INFINITY)),
            },
            Op::Softmax(_) => Interval::new(0.0, 1.0),
            Op::Sinusoid(_) | Op::SincosGrid(_) => Interval::new(-1.0, 1.0),
            Op::Dropout(dropout) => {
                let kept = if dropout.rescale { of(0).scaled(1.0 / (1.0 - dropout.rate.0)) } else { of(0) };
                kept.hull(Interval::new(0.0, 0.0))
            }
            Op::Concat(_)
            | Op::CropGrid(_)
            | Op::EndToken(_)
            | Op::Slice(_)
            | Op::ToFrames(_)
            | Op::ToImage(_)
            | Op::ToSequence(_)
            | Op::ToTokens(_)
            | Op::ToVector(_)
            | Op::ToVideo(_)
            | Op::TransposeTokens(_)
            | Op::Unpatchify(_)
            | Op::Upsample(_) => hull(),
            Op::Parameter(_) => fixed(graph, id),
            Op::Indices(_) => Interval::new(0.0, f64::INFINITY),
            Op::Conv1d(_)
            | Op::Conv2d(_)
            | Op::Conv3d(_)
            | Op::DropLabel(_)
            | Op::Embedding(_)
            | Op::Fourier(_)
            | Op::GroupNorm(_)
            | Op::LayerNorm(_)
            | Op::Linear(_)
            | Op::MpConv2d(_)
            | Op::MpLinear(_)
            | Op::PixelNorm(_)
            | Op::RelativeBuckets(_)
            | Op::Resample(_)
            | Op::Resize(_)
            | Op::RmsNorm(_) => Interval::ALL,
        }
    }

    fn trend(&self, graph: &Graph, id: NodeId, op: &Op, trends: &[Trend]) -> Trend {
        let operands = graph.operands(id);
        let of = |node: &NodeId| trends.get(node.index()).copied().unwrap_or(Trend::Unknown);
        let first = || operands.first().map_or(Trend::Constant, of);
        if operands.iter().all(|operand| of(operand) == Trend::Constant) {
            return Trend::Constant;
        }
        let range = |at: usize| operands.get(at).map_or(Interval::ALL, |operand| self.at(*operand));
        match op {
            Op::Activation(Activation { function }) => first().times(slope(*function, range(0))),
            Op::Affine(affine) => first().times(Interval::new(affine.scale, affine.scale).sign()),
            Op::Multiply(_) => match operands.as_slice() {
                [a, b] => of(a).times(range(1).sign()).and(of(b).times(range(0).sign())),
                _ => Trend::Unknown,
            },
            Op::Attention(_) => match operands.as_slice() {
                // Weights that do not move, and are not negative.
                [q, k, v, rest @ ..] if [q, k].into_iter().chain(rest).all(|x| of(x) == Trend::Constant) => of(v),
                _ => Trend::Unknown,
            },
            Op::Add(_)
            | Op::Clip(_)
            | Op::Concat(_)
            | Op::CropGrid(_)
            | Op::Dropout(_)
            | Op::EndToken(_)
            | Op::Reduce(_)
            | Op::Slice(_)
            | Op::ToFrames(_)
            | Op::ToImage(_)
            | Op::ToSequence(_)
            | Op::ToTokens(_)
            | Op::ToVector(_)
            | Op::ToVideo(_)
            | Op::TransposeTokens(_)
            | Op::Unpatchify(_)
            | Op::Upsample(_) => operands.iter().map(of).fold(Trend::Constant, Trend::and),
            Op::Conv1d(_)
            | Op::Conv2d(_)
            | Op::Conv3d(_)
            | Op::DropLabel(_)
            | Op::Embedding(_)
            | Op::Fourier(_)
            | Op::GroupNorm(_)
            | Op::Indices(_)
            | Op::LayerNorm(_)
            | Op::Linear(_)
            | Op::MpConv2d(_)
            | Op::MpLinear(_)
            | Op::Parameter(_)
            | Op::PixelNorm(_)
            | Op::RelativeBuckets(_)
            | Op::Resample(_)
            | Op::Resize(_)
            | Op::RmsNorm(_)
            | Op::SincosGrid(_)
            | Op::Sinusoid(_)
            | Op::Softmax(_) => Trend::Unknown,
        }
    }
}

/// What a process says of times and noise levels; masks are between 0 and 1.
fn input(graph: &Graph, kind: Kind) -> Interval {
    let schedule = graph.process.as_ref().map(|declared| declared.process.schedule);
    match (kind, schedule) {
        (Kind::Mask, _) => Interval::new(0.0, 1.0),
        (Kind::Sigma, Some(Schedule::Ve { sigma_min, sigma_max } | Schedule::Edm { sigma_min, sigma_max, .. })) => {
            Interval::new(sigma_min, sigma_max)
        }
        (Kind::Timestep, Some(Schedule::Steps { steps, .. })) => Interval::new(0.0, steps.saturating_sub(1) as f64),
        (Kind::Timestep, Some(Schedule::Flow { steps, .. })) => Interval::new(0.0, steps as f64),
        (Kind::Sigma | Kind::Timestep, _) => Interval::new(0.0, f64::INFINITY),
        (
            Kind::Image
            | Kind::Video
            | Kind::Tokens
            | Kind::Sequence
            | Kind::Vector
            | Kind::Scalar
            | Kind::Label
            | Kind::Ids,
            _,
        ) => Interval::ALL,
    }
}

/// A parameter is any number, unless it is not trained and starts the same everywhere.
fn fixed(graph: &Graph, node: NodeId) -> Interval {
    let own = graph.node(node).parameters.first().map(|id| graph.parameter(*id));
    own.filter(|parameter| !parameter.is_trained() && parameter.init.is_constant()).map_or(Interval::ALL, |parameter| {
        let (value, _) = parameter.init.mean_and_std(parameter.fans);
        Interval::new(value, value)
    })
}

/// Smallest values of activations that fall before they rise, with where they are.
fn valley(function: Function) -> Option<(f64, f64)> {
    match function {
        Function::Silu => Some((-1.278_464_542_761_07, -0.278_464_542_761_07)),
        Function::QuickGelu => Some((-1.278_464_542_761_07 / 1.702, -0.278_464_542_761_07 / 1.702)),
        Function::Gelu => Some((-0.751_791_524_693_565, -0.169_971_200_555_8)),
        Function::GeluTanh => Some((-0.752_461_422, -0.170_040_75)),
        Function::Cos
        | Function::Exp
        | Function::Log
        | Function::Relu
        | Function::Rsqrt
        | Function::Sigmoid
        | Function::Sin
        | Function::Softplus
        | Function::Tanh => None,
    }
}

/// The sign of the slope of a function on an interval.
fn slope(function: Function, x: Interval) -> Option<Sign> {
    match function {
        Function::Exp | Function::Log | Function::Relu | Function::Sigmoid | Function::Softplus | Function::Tanh => {
            Some(Sign::Positive)
        }
        Function::Rsqrt => Some(Sign::Negative),
        Function::Silu | Function::Gelu | Function::GeluTanh | Function::QuickGelu => {
            let (turn, _) = valley(function)?;
            if x.low >= turn {
                Some(Sign::Positive)
            } else if x.high <= turn {
                Some(Sign::Negative)
            } else {
                None
            }
        }
        Function::Cos if x.is_within(0.0, PI) => Some(Sign::Negative),
        Function::Cos if x.is_within(-PI, 0.0) => Some(Sign::Positive),
        Function::Sin if x.is_within(-FRAC_PI_2, FRAC_PI_2) => Some(Sign::Positive),
        Function::Cos | Function::Sin => None,
    }
}

/// The values of a function on an interval.
fn image(function: Function, x: Interval) -> Interval {
    // At an infinite end, its limit.
    let at = |end: f64| {
        if end == f64::NEG_INFINITY && valley(function).is_some() {
            0.0
        } else if end == f64::INFINITY && matches!(function, Function::Gelu | Function::GeluTanh) {
            end
        } else if end <= 0.0 && function == Function::Log {
            f64::NEG_INFINITY
        } else if end <= 0.0 && function == Function::Rsqrt {
            f64::INFINITY
        } else {
            function.value(end)
        }
    };
    match (slope(function, x), valley(function)) {
        (Some(Sign::Positive), _) => Interval::new(at(x.low), at(x.high)),
        (Some(Sign::Negative), _) => Interval::new(at(x.high), at(x.low)),
        (None, Some((_, least))) => Interval::new(least, at(x.low).max(at(x.high))),
        // Waves.
        (None, None) => Interval::new(-1.0, 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(low: f64, high: f64) -> Interval {
        Interval::new(low, high)
    }

    #[test]
    fn images_of_intervals_hold_the_values() {
        for function in Function::ALL {
            for (low, high) in [(-3.0, -2.0), (-3.0, 0.5), (-0.9, 0.2), (0.1, 2.0), (0.5, 7.0), (-7.0, 7.0)] {
                if matches!(function, Function::Log | Function::Rsqrt) && low <= 0.0 {
                    continue;
                }
                let image = image(*function, interval(low, high));
                let sign = slope(*function, interval(low, high));
                let points: Vec<f64> = (0..=200).map(|at| low + (high - low) * f64::from(at) / 200.0).collect();
                for pair in points.windows(2) {
                    let [x, y] = pair else { continue };
                    let (a, b) = (function.value(*x), function.value(*y));
                    assert!(image.low <= a + 1e-9 && a - 1e-9 <= image.high, "{}({x}) = {a}", function.name());
                    match sign {
                        Some(Sign::Positive) => assert!(b >= a - 1e-12, "{} falls at {x}", function.name()),
                        Some(Sign::Negative) => assert!(b <= a + 1e-12, "{} rises at {x}", function.name()),
                        None => {}
                    }
                }
            }
        }
    }

    #[test]
    fn products_of_intervals_hold_products() {
        assert_eq!(interval(-1.0, 2.0).times(interval(-3.0, 1.0)), interval(-6.0, 3.0));
        assert_eq!(interval(0.0, f64::INFINITY).times(Interval::ALL), Interval::ALL);
        assert_eq!(interval(0.0, 0.0).times(Interval::ALL), interval(0.0, 0.0));
        assert_eq!(interval(-2.0, 1.0).square(), interval(0.0, 4.0));
    }

    #[test]
    fn trends_of_products_follow_signs() {
        let (up, down) = (Trend::Rising, Trend::Falling);
        assert_eq!(up.times(Some(Sign::Negative)), down);
        assert_eq!(up.times(None).and(Trend::Constant), Trend::Unknown);
        assert_eq!(up.and(down), Trend::Unknown);
    }
}
