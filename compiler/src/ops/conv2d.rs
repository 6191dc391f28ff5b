//! Convolution over images.

use super::attribute::{Padding, Pair};
use super::linear::{affine_flow, affine_flow_back, affine_parameters, bordered_signal, bordered_signal_back};
use super::window::{Border, window, window_flow, window_flow_back};
use super::{
    Alignment, Alignments, Flow, Gradients, Misuse, Obligations, Operator, Parameters, Passage, Sent, channels_of,
};
use crate::analysis::liveness::facts::{Grid, Line};
use crate::analysis::moments::{Moments, Unknown};
use super::signals::{Response, Signals};
use crate::init::Fans;
use crate::operator;
use crate::types::{Axis, Kind, Type};
use smallvec::smallvec;

operator! {
    /// Two-dimensional convolution.
    ///
    /// `image[C, H, W] -> image[features, H', W']` with `H' = floor((H + top + bottom - kernel) / stride) + 1`.
    /// Parameters: `weight [features, C, kernel, kernel]`, `bias [features]`.
    "conv2d"(x)
    pub struct Conv2d {
        /// Channels of the result.
        features: u64,
        /// Height and width of the window.
        kernel: Pair,
        /// Step of the window.
        stride: Pair = Pair::both(1),
        /// Zeros around the image: `same` keeps the size at stride 1.
        padding: Padding = Padding::Same,
        /// Whether a bias is added.
        bias: bool = true,
    }
}

impl Conv2d {
    /// Whether every output position sees one input position and every input position is seen.
    fn is_pointwise(&self) -> bool {
        self.kernel == Pair::both(1) && self.stride == Pair::both(1) && !self.is_padded()
    }

    fn is_padded(&self) -> bool {
        self.padding.for_kernel(self.kernel) != (0, 0, 0, 0)
    }
}

impl Operator for Conv2d {
    fn infer(&self, operands: &[&Type], obligations: &mut Obligations) -> Result<Type, Misuse> {
        channels_of(operands, 0, "conv2d")?;
        let x = match operands {
            [x] if x.kind == Kind::Image => *x,
            _ => {
                let found = operands.first().map_or_else(String::new, |x| x.to_string());
                let misuse = Misuse::new("type/kind", format!("`conv2d` acts on images, found {found}")).at(0);
                return Err(match operands.first().map(|x| x.kind) {
                    Some(Kind::Tokens) => misuse.help("use `linear`, or `to_image()` first"),
                    _ => misuse,
                });
            }
        };
        let (top, left, bottom, right) = self.padding.for_kernel(self.kernel);
        let mut result = x.clone().with(Axis::Channel, self.features.into());
        for (axis, along) in [
            (Axis::Height, (self.kernel.height, self.stride.height, top + bottom)),
            (Axis::Width, (self.kernel.width, self.stride.width, left + right)),
        ] {
            if let Some(size) = x.dim(axis) {
                result = result.with(axis, window(axis, size, along, obligations)?);
            }
        }
        Ok(result)
    }

    fn parameters(&self, operands: &[&Type]) -> Parameters {
        let inputs = operands.first().and_then(|x| x.channels()).unwrap_or(0);
        let area = self.kernel.height * self.kernel.width;
        let fans = Fans { fan_in: inputs.saturating_mul(area), fan_out: self.features.saturating_mul(area) };
        affine_parameters(vec![self.features, inputs, self.kernel.height, self.kernel.width], fans, self.bias)
    }

    /// Windows at the border see fewer pixels: on average the share of taps that fall into the image.
    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let x = at.operand(0)?;
        let windows = x.similarity_of_windows(self.kernel.height as usize) * x.similarity_of_windows(self.kernel.width as usize);
        let reach = (x.reach + self.kernel.height as f64 - 1.0) / self.stride.height as f64;
        let seen = x.strided(self.stride.height as usize).reaching(reach);
        bordered_signal(at, &seen, &self.border(at, x.edge), x.similarity * windows)
    }

    fn signal_back(&self, at: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        let share = at.axes_of(at.result).iter().product::<f64>() / at.positions(0).max(1.0);
        let stride = self.stride.height as usize;
        let spaced = if stride > 1 { gradient.spaced(stride) } else { *gradient };
        bordered_signal_back(at, &spaced, &self.border(at, gradient.edge), self.features as f64 * share)
    }

    fn flops(&self, operands: &[&[u64]], result: &[u64]) -> u64 {
        let inputs = operands.first().and_then(|shape| shape.first()).copied().unwrap_or(0);
        let taps = inputs.saturating_mul(self.kernel.height * self.kernel.width);
        result.iter().product::<u64>().saturating_mul(taps.saturating_mul(2).saturating_add(u64::from(self.bias)))
    }

    fn passage(&self) -> Passage {
        if self.is_pointwise() { Passage::Project } else { Passage::Transform }
    }

    fn alignments(&self, _: &[&Type], _: &Type) -> Alignments {
        smallvec![Alignment::UNRELATED]
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        if self.is_pointwise() {
            return affine_flow(at, |x| x);
        }
        window_flow(at, self.is_padded())
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        if self.is_pointwise() {
            return affine_flow_back(at, gradient, |dy| dy, Line::contracts);
        }
        window_flow_back(at, gradient, self.is_padded())
    }
}

impl Conv2d {
    /// What the zeros around the image do.
    pub(super) fn border(&self, at: &Signals<'_>, edge: f64) -> Border {
        let (top, left, bottom, right) = self.padding.for_kernel(self.kernel);
        let rows = (Axis::Height, (self.kernel.height, self.stride.height, top, bottom));
        let columns = (Axis::Width, (self.kernel.width, self.stride.width, left, right));
        Border::over([rows, columns].into_iter().map(|(axis, window)| {
            Border::along(at.axis(0, axis) as u64, window, edge)
        }))
    }
}
