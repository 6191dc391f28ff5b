//! Convolution over videos.

use super::attribute::{Padding3, Triple};
use super::linear::{affine_flow, affine_flow_back, affine_parameters, bordered_signal, bordered_signal_back};
use super::window::{Border, window, window_flow, window_flow_back};
use super::{
    Alignment, Alignments, Flow, Gradients, Misuse, Obligations, Operator, Parameters, Passage, Sent, channels_of,
};
use crate::analysis::liveness::facts::{Grid, Line};
use crate::analysis::moments::{Class, Moments, Unknown};
use super::signals::{Response, Signals};
use crate::init::Fans;
use crate::operator;
use crate::types::{Axis, Kind, Type};
use smallvec::smallvec;

operator! {
    /// Three-dimensional convolution, over time, height and width.
    ///
    /// `video[T, C, H, W] -> video[T', features, H', W']` with `T' = floor((T + before + behind - kernel) / stride) + 1`
    /// and so on. `kernel: [3, 1, 1]` acts along time alone; `padding: [2, 0, 0, 0, 0, 0]` makes it causal. Parameters:
    /// `weight [features, C, kernel, kernel, kernel]`, `bias [features]`.
    "conv3d"(x)
    pub struct Conv3d {
        /// Channels of the result.
        features: u64,
        /// Frames, height and width of the window.
        kernel: Triple,
        /// Step of the window.
        stride: Triple = Triple::all(1),
        /// Zeros around the video: `same` keeps the size at stride 1.
        padding: Padding3 = Padding3::Same,
        /// Whether a bias is added.
        bias: bool = true,
    }
}

const AXES: [Axis; 3] = [Axis::Frame, Axis::Height, Axis::Width];

impl Conv3d {
    /// Whether every output position sees one input position and every input position is seen.
    fn is_pointwise(&self) -> bool {
        self.kernel == Triple::all(1) && self.stride == Triple::all(1) && !self.is_padded()
    }

    fn is_padded(&self) -> bool {
        self.padding.for_kernel(self.kernel) != [(0, 0); 3]
    }

    /// Axis, kernel, stride and zeros before and behind.
    fn windows(&self) -> impl Iterator<Item = (Axis, (u64, u64, u64, u64))> {
        let padding = self.padding.for_kernel(self.kernel);
        let sizes = self.kernel.0.into_iter().zip(self.stride.0).zip(padding);
        AXES.into_iter().zip(sizes.map(|((kernel, stride), (before, behind))| (kernel, stride, before, behind)))
    }

    /// What the zeros around the video do.
    fn border(&self, at: &Signals<'_>, edge: f64) -> Border {
        Border::over(self.windows().map(|(axis, window)| Border::along(at.axis(0, axis) as u64, window, edge)))
    }

    fn volume(&self) -> u64 {
        self.kernel.0.iter().fold(1, |volume, size| volume.saturating_mul(*size))
    }
}

impl Operator for Conv3d {
    fn infer(&self, operands: &[&Type], obligations: &mut Obligations) -> Result<Type, Misuse> {
        channels_of(operands, 0, "conv3d")?;
        let Some(x) = operands.first().filter(|x| x.kind == Kind::Video) else {
            let found = operands.first().map_or_else(String::new, |x| x.to_string());
            let misuse = Misuse::new("type/kind", format!("`conv3d` acts on videos, found {found}")).at(0);
            return Err(match operands.first().map(|x| (x.kind, x.batch.folds.is_empty())) {
                Some((Kind::Image, false)) => misuse.help("bring the frames together first: `to_video()`"),
                _ => misuse,
            });
        };
        let mut result = (*x).clone().with(Axis::Channel, self.features.into());
        for (axis, (kernel, stride, before, behind)) in self.windows() {
            if let Some(size) = x.dim(axis) {
                result = result.with(axis, window(axis, size, (kernel, stride, before + behind), obligations)?);
            }
        }
        Ok(result)
    }

    fn parameters(&self, operands: &[&Type]) -> Parameters {
        let inputs = operands.first().and_then(|x| x.channels()).unwrap_or(0);
        let volume = self.volume();
        let fans = Fans { fan_in: inputs.saturating_mul(volume), fan_out: self.features.saturating_mul(volume) };
        affine_parameters([self.features, inputs].into_iter().chain(self.kernel.0).collect(), fans, self.bias)
    }

    /// Windows at the border see less: on average the share of taps that fall into the video.
    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let x = at.operand(0)?;
        let windows: f64 = self.kernel.0.iter().map(|taps| x.similarity_of_windows(*taps as usize)).product();
        // Distances are those along the image; time has its own.
        let [_, taps, _] = self.kernel.0;
        let [frames, stride, _] = self.stride.0;
        let reach = (x.reach + taps as f64 - 1.0) / stride as f64;
        let seen = x.strided(stride as usize).reaching(reach);
        let mut response = bordered_signal(at, &seen, &self.border(at, x.edge), x.similarity * windows)?;
        let class = if frames == stride && self.kernel == Triple::all(taps) { Class::InExpectation } else { Class::Within15 };
        response.moments = response.moments.at_most(class);
        Ok(response)
    }

    fn signal_back(&self, at: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        let share = at.axes_of(at.result).iter().product::<f64>() / at.positions(0).max(1.0);
        let [_, stride, _] = self.stride.0;
        let spaced = if stride > 1 { gradient.spaced(stride as usize) } else { *gradient };
        bordered_signal_back(at, &spaced, &self.border(at, gradient.edge), self.features as f64 * share)
    }

    fn flops(&self, operands: &[&[u64]], result: &[u64]) -> u64 {
        // Channels stand behind the frames.
        let inputs = operands.first().and_then(|shape| shape.get(1)).copied().unwrap_or(0);
        let taps = inputs.saturating_mul(self.volume());
        result.iter().product::<u64>().saturating_mul(taps.saturating_mul(2).saturating_add(u64::from(self.bias)))
    }

    fn passage(&self) -> Passage {
        if self.is_pointwise() { Passage::Project } else { Passage::Transform }
    }

    fn alignments(&self, _: &[&Type], _: &Type) -> Alignments {
        smallvec![Alignment::UNRELATED]
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        if self.is_pointwise() { affine_flow(at, |x| x) } else { window_flow(at, self.is_padded()) }
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        if self.is_pointwise() {
            return affine_flow_back(at, gradient, |dy| dy, Line::contracts);
        }
        window_flow_back(at, gradient, self.is_padded())
    }
}
