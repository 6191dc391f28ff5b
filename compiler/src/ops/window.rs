//! What convolutions over any number of axes have in common: a window that slides along each of them.

use super::linear::{affine_flow, affine_flow_back};
use super::{Flow, Gradients, Misuse, Obligations};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{LAGS, Lags};
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

/// What zeros around an axis, or all of them, do to the moments of a convolution.
#[derive(Clone, Copy)]
pub(super) struct Border {
    /// Average number of taps that fall onto the axis from both of two positions, by their distance.
    pub taps: Lags,
    /// Energy of the outermost positions of the result, relative to the mean; see [`Moments::edge`].
    pub edge: f64,
}

impl Border {
    /// Of a map of each position by itself.
    pub fn none(edge: f64) -> Self {
        Self { taps: [1.0; LAGS + 2], edge }
    }

    /// Of a window that slides over an axis whose outermost positions have this share of the mean energy.
    pub fn along(size: u64, (kernel, stride, before, after): (u64, u64, u64, u64), edge: f64) -> Self {
        let count = (size + before + after).saturating_sub(kernel) / stride + 1;
        let positions = count as f64;
        let mut taps: Lags = [0.0; LAGS + 2];
        for tap in 0..kernel {
            // Positions whose tap falls onto the axis are neighbours.
            let first = before.saturating_sub(tap).div_ceil(stride);
            let last = (size + before).saturating_sub(tap).div_ceil(stride).min(count);
            let inside = last.saturating_sub(first) as f64;
            for (lag, both) in taps.iter_mut().enumerate() {
                let (apart, share) = (lag as f64, inside / positions);
                let near = lag <= LAGS && apart < positions;
                *both += if near { (inside - apart).max(0.0) / (positions - apart) } else { share * share };
            }
        }
        let same = stride == 1 && kernel > 1 && before == kernel / 2 && after == kernel / 2;
        if let (Some(own), true) = (taps.first_mut(), same) {
            // The outermost positions are in fewer windows than others, and the windows around them have fewer taps.
            let reach = (kernel / 2) as f64;
            let inner = if positions > 2.0 { (positions - 2.0 * edge) / (positions - 2.0) } else { edge };
            let seen = kernel as f64 - reach * (reach + 1.0) * edge / positions;
            let seen = seen.max(f64::MIN_POSITIVE);
            *own = seen;
            return Self { taps, edge: (edge + reach * inner) / seen };
        }
        // More zeros than a window reaches over leave the outermost positions few taps.
        let over = stride == 1 && before == after && before > kernel / 2;
        let first = kernel.saturating_sub(before).max(1) as f64;
        let own = taps.first().copied().unwrap_or(1.0).max(f64::MIN_POSITIVE);
        Self { taps, edge: if over { edge * first / own } else { edge } }
    }

    /// Along several axes.
    pub fn over(axes: impl Iterator<Item = Border>) -> Self {
        let all = Border { taps: [1.0; LAGS + 2], edge: 1.0 };
        let mut count = 0;
        let mut all = axes.fold(all, |all, own| {
            count += 1;
            let (first, own_first) = (*all.taps.first().unwrap_or(&1.0), *own.taps.first().unwrap_or(&1.0));
            let mut taps = all.taps;
            for (lag, (taps, other)) in taps.iter_mut().zip(&own.taps).enumerate() {
                // Neighbours lie along one axis: on average, along any of them.
                let near = 0.5 * (*taps * own_first + first * other);
                *taps = if lag == 0 || lag > LAGS || count == 1 { *taps * other } else { near };
            }
            Border { taps, edge: all.edge + own.edge }
        });
        all.edge = (all.edge - 1.0) / f64::from(count.max(1));
        all
    }
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
