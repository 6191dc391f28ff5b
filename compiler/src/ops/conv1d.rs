//! Convolution over a sequence.

use super::attribute::Count;
use super::linear::{affine_flow, affine_flow_back, affine_parameters, bordered_signal, bordered_signal_back};
use super::window::{Border, window, window_flow_back};
use super::{
    Alignment, Alignments, Flow, Gradients, Link, Misuse, Obligations, Operator, Parameters,
    Passage, channels_of, Sent};
use crate::analysis::liveness::facts::{Facts, Grid, Line};
use crate::analysis::moments::{Moments, Unknown};
use super::signals::{Response, Signals};
use crate::init::Fans;
use crate::operator;
use crate::types::{Axis, Kind, Type};
use smallvec::smallvec;

operator! {
    /// One-dimensional convolution along the tokens.
    ///
    /// `tokens[N, C] -> tokens[N', features]` with `N' = floor((N + 2 padding - kernel) / stride) + 1`. Parameters:
    /// `weight [features, C, kernel]`, `bias [features]`. With a kernel of 1 it is `linear` with PyTorch's shape of a
    /// convolution weight, as guided-diffusion stores its attention projections.
    "conv1d"(x)
    pub struct Conv1d {
        /// Channels of the result.
        features: u64,
        /// Length of the window.
        kernel: u64,
        /// Step of the window.
        stride: u64 = 1,
        /// Zeros at both ends; without it as many as keep the size at stride 1.
        padding: Option<Count> = None,
        /// Whether a bias is added.
        bias: bool = true,
    }
}

impl Conv1d {
    /// Zeros at each end.
    pub fn zeros(&self) -> u64 {
        self.padding.map_or((self.kernel - 1) / 2, |padding| padding.0)
    }

    /// Whether every token is mapped by itself.
    pub fn is_pointwise(&self) -> bool {
        self.kernel == 1 && self.stride == 1 && self.zeros() == 0
    }
}

impl Conv1d {
    /// What the zeros around the sequence do.
    fn border(&self, at: &Signals<'_>, edge: f64) -> Border {
        let window = (self.kernel, self.stride, self.zeros(), self.zeros());
        Border::over(std::iter::once(Border::along(at.positions(0) as u64, window, edge)))
    }
}

impl Operator for Conv1d {
    fn infer(&self, operands: &[&Type], obligations: &mut Obligations) -> Result<Type, Misuse> {
        channels_of(operands, 0, "conv1d")?;
        let Some(x) = operands.first().filter(|x| x.kind == Kind::Tokens) else {
            let found = operands.first().map_or_else(String::new, |x| x.to_string());
            let misuse = Misuse::new("type/kind", format!("`conv1d` acts on tokens, found {found}")).at(0);
            return Err(misuse.help("images are convolved with `conv2d`; `to_tokens()` makes a sequence of one"));
        };
        let result = (*x).clone().with(Axis::Channel, self.features.into());
        match x.dim(Axis::Token) {
            Some(count) => {
                let count = window(Axis::Token, count, (self.kernel, self.stride, 2 * self.zeros()), obligations)?;
                Ok(result.with(Axis::Token, count))
            }
            None => Ok(result),
        }
    }

    fn parameters(&self, operands: &[&Type]) -> Parameters {
        let inputs = operands.first().and_then(|x| x.channels()).unwrap_or(0);
        let fans = Fans {
            fan_in: inputs.saturating_mul(self.kernel),
            fan_out: self.features.saturating_mul(self.kernel),
        };
        affine_parameters(vec![self.features, inputs, self.kernel], fans, self.bias)
    }

    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let x = at.operand(0)?;
        bordered_signal(at, &x, &self.border(at, x.edge), x.similarity)
    }

    fn signal_back(&self, at: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        let share = at.size_in_result(Axis::Token) / at.positions(0).max(1.0);
        bordered_signal_back(at, gradient, &self.border(at, gradient.edge), self.features as f64 * share)
    }

    fn flops(&self, operands: &[&[u64]], result: &[u64]) -> u64 {
        let inputs = operands.first().and_then(|shape| shape.last()).copied().unwrap_or(0);
        let taps = inputs.saturating_mul(self.kernel);
        result.iter().product::<u64>().saturating_mul(taps.saturating_mul(2).saturating_add(u64::from(self.bias)))
    }

    fn passage(&self) -> Passage {
        if self.is_pointwise() { Passage::Project } else { Passage::Transform }
    }

    fn alignments(&self, _: &[&Type], _: &Type) -> Alignments {
        let tokens = if self.is_pointwise() { Link::Same } else { Link::Unrelated };
        smallvec![Alignment { channels: Link::Unrelated, tokens }]
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        if self.is_pointwise() {
            return affine_flow(at, |x| x);
        }
        let padded = self.zeros() > 0;
        // Windows reach over the parts of a sequence.
        let x = at.operand(0).all();
        affine_flow(at, |own| {
            let own = if at.operand(0).rows() > 1 { own.or(x) } else { own };
            own.with(Facts::POSITIONS, own.nonzero() && padded)
                .with(Facts::MEAN_POSITIONS, own.nonzero())
                .with(Facts::MEAN_ALL, own.has(Facts::MEAN_CHANNELS))
        })
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        if self.is_pointwise() {
            return affine_flow_back(at, gradient, |dy| dy, Line::contracts);
        }
        let padded = self.zeros() > 0;
        let Gradients { operands, parameters } = window_flow_back(at, gradient, padded);
        // Windows reach over the parts of a sequence.
        let spread = |grid: Grid| if grid.rows() > 1 { grid.map(|_, column, _| grid.column(column)) } else { grid };
        Gradients { operands: operands.into_iter().map(spread).collect(), parameters }
    }
}
