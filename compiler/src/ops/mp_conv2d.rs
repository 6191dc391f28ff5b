//! Magnitude-preserving convolution: the weight is normalised at every use.

use super::attribute::{Padding, Pair};
use super::mp_linear::{magnitude_signal, magnitude_signal_back, normalization_flops, through_normalization, unit_normal};
use super::{
    Alignments, Conv2d, Flow, Gradients, Misuse, Obligations, Operator, Parameters, Passage, Sent};
use crate::analysis::liveness::facts::Grid;
use crate::analysis::moments::{Moments, Unknown};
use super::window::Border;
use super::signals::{Response, Signals};
use crate::operator;
use crate::types::Type;

operator! {
    /// Convolution whose weight is normalised for each output channel: `W' = W / (eps + rms(W)) / sqrt(fan_in)`.
    ///
    /// `image[C, H, W] -> image[features, H, W]`, with zeros around the image and stride 1. Parameter:
    /// `weight [features, C, kernel, kernel]`, drawn from N(0, 1); there is no bias. In training the stored weight
    /// itself is normalised before every step (forced weight normalisation). Karras et al., CVPR 2024, section 2.3 and
    /// appendix B; NVlabs/edm2 `MPConv`.
    "mp_conv2d"(x)
    pub struct MpConv2d {
        /// Channels of the result.
        features: u64,
        /// Height and width of the window; odd, so that the size is kept.
        kernel: Pair,
        /// Added to the root mean square of the weight of an output channel.
        eps: f64 = 1e-4,
    }
}

impl MpConv2d {
    /// The convolution by the normalised weight.
    pub fn plain(&self) -> Conv2d {
        Conv2d {
            features: self.features,
            kernel: self.kernel,
            stride: Pair::both(1),
            padding: Padding::Same,
            bias: false,
        }
    }

    /// What the zeros around the image do, to a kernel of one row's length.
    fn border(&self, at: &Signals<'_>, edge: f64) -> Border {
        let mut border = self.plain().border(at, edge);
        border.taps = border.taps.map(|taps| taps / self.area() as f64);
        border
    }

    fn area(&self) -> u64 {
        self.kernel.height * self.kernel.width
    }
}

impl Operator for MpConv2d {
    fn infer(&self, operands: &[&Type], obligations: &mut Obligations) -> Result<Type, Misuse> {
        if self.area().is_multiple_of(2) {
            let message = "`mp_conv2d` keeps the size of an image and needs an odd kernel";
            return Err(Misuse::new("shape/window", message).help("change the resolution with `resample(..)`"));
        }
        self.plain().infer(operands, obligations)
    }

    fn parameters(&self, operands: &[&Type]) -> Parameters {
        unit_normal(self.plain().parameters(operands))
    }

    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let x = at.operand(0)?;
        let windows =
            x.similarity_of_windows(self.kernel.height as usize) * x.similarity_of_windows(self.kernel.width as usize);
        let mut response = magnitude_signal(at, &self.border(at, x.edge), self.eps, x.similarity * windows)?;
        response.moments = response.moments.reaching(x.reach + self.kernel.height as f64 - 1.0);
        Ok(response)
    }

    fn signal_back(&self, at: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        magnitude_signal_back(at, gradient, &self.border(at, gradient.edge), self.eps, self.features as f64)
    }

    fn flops(&self, operands: &[&[u64]], result: &[u64]) -> u64 {
        let inputs = operands.first().and_then(|shape| shape.first()).copied().unwrap_or(0);
        let fan_in = inputs.saturating_mul(self.area());
        self.plain().flops(operands, result).saturating_add(normalization_flops(fan_in, self.features))
    }

    fn passage(&self) -> Passage {
        self.plain().passage()
    }

    fn alignments(&self, operands: &[&Type], result: &Type) -> Alignments {
        self.plain().alignments(operands, result)
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        self.plain().flow(at)
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        through_normalization(at, self.plain().flow_back(at, gradient))
    }
}
