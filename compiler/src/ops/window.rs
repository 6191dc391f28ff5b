//! What convolutions over any number of axes have in common: a window that slides along each of them.

use super::linear::{affine_flow, affine_flow_back};
use super::{Flow, Gradients, Misuse, Obligations};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::dim::{Dim, DimError};
use crate::types::Axis;

/// Size of an axis behind a window that slides over it; `padding` counts both ends.
pub(super) fn window(
    axis: Axis,
    size: &Dim,
    (kernel, stride, padding): (u64, u64, u64),
    obligations: &mut Obligations,
) -> Result<Dim, Misuse> {
    // Windows that tile the axis must tile all of it; a floor would drop its end silently.
    let tiles = kernel == stride && padding == 0 && stride > 1;
    let windowed = if tiles { size.over(stride) } else { size.windowed(kernel, stride, padding) };
    windowed.map(|result| obligations.keep(result)).map_err(|error| {
        let extent = |size: &dyn std::fmt::Display| match axis {
            Axis::Token => format!("a sequence of {size} tokens"),
            Axis::Frame => format!("{size} frames"),
            Axis::Channel | Axis::Height | Axis::Width | Axis::Class => format!("a {} of {size}", axis.name()),
        };
        match error {
            DimError::Remainder { dividend, divisor } => {
                let (below, above) = (dividend / divisor * divisor, (dividend / divisor + 1) * divisor);
                let message = format!("{} cannot be cut into patches of {divisor}", extent(&dividend));
                Misuse::new("shape/remainder", message)
                    .at(0)
                    .help(format!("the nearest sizes that can are {below} and {above}"))
            }
            DimError::OutOfRange => {
                let message = format!("a window of {kernel} does not fit {} with {padding} added", extent(size));
                Misuse::new("shape/window", message).at(0)
            }
        }
    })
}

/// Average number of taps of a window that fall onto an axis of that size, over all places of the window.
pub(super) fn mean_taps(size: u64, kernel: u64, stride: u64, (before, after): (u64, u64)) -> f64 {
    let positions = (size + before + after).saturating_sub(kernel) / stride + 1;
    // Of so many windows those at the border make no difference.
    if positions > 1 << 16 {
        return kernel as f64;
    }
    let inside = (0..positions).map(|at| {
        let (start, end) = (at * stride, at * stride + kernel);
        end.min(size + before).saturating_sub(start.max(before))
    });
    inside.sum::<u64>() as f64 / positions as f64
}

/// Facts of a convolution with windows of more than one position.
pub(super) fn window_flow(at: &Flow<'_>, padded: bool) -> Grid {
    affine_flow(at, |x| {
        // Zeros at the border make even a uniform image vary; windows of a centred image are not centred.
        x.with(Facts::POSITIONS, x.nonzero() && padded)
            .with(Facts::MEAN_POSITIONS, x.nonzero())
            .with(Facts::MEAN_ALL, x.has(Facts::MEAN_CHANNELS))
    })
}

/// Facts of its gradients.
pub(super) fn window_flow_back(at: &Flow<'_>, gradient: &Grid, padded: bool) -> Gradients {
    let scattered = |dy: Facts| {
        dy.with(Facts::POSITIONS, dy.nonzero())
            .with(Facts::MEAN_POSITIONS, dy.nonzero() && (padded || dy.has(Facts::MEAN_POSITIONS)))
            .with(Facts::MEAN_ALL, dy.has(Facts::MEAN_CHANNELS) && (padded || dy.has(Facts::MEAN_ALL)))
    };
    // Windows that see the border differ even in a uniform image.
    affine_flow_back(at, gradient, scattered, |x, dy| {
        if padded || x.varies { x.nonzero && dy.nonzero } else { x.contracts(dy) }
    })
}
