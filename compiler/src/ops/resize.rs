//! Bicubic resizing of images.

use super::along::Matrix;
use super::signals::{Response, Signals};
use super::{
    Alignment, Alignments, Flow, Gradients, Link, Misuse, Obligations, Operator, Parameters, Passage, Sent,
    varies_over_positions,
};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Class, LAGS, Moments, Unknown};
use crate::dim::Dim;
use crate::operator;
use crate::types::{Axis, Kind, Type};
use smallvec::smallvec;

operator! {
    /// Resizes an image by bicubic interpolation: `image[C, H, W] -> image[C, height, width]`, for any two sizes.
    ///
    /// Corners lie on corners, `y_i = x(i * (H - 1) / (height - 1))`, between pixels by cubic convolution with `a = -0.75`
    /// (Keys 1981), beyond the border with its pixels. An axis that shrinks by a factor `f` is smoothed first, so that what
    /// is too fine for the new size does not alias: by a Gaussian of deviation `(f - 1) / 2` on `2 * (f - 1)` pixels, made an
    /// odd number and at least 3, which reflects at the border. Both are constant matrices along either axis.
    ///
    /// That is how the image that Stable Video Diffusion starts from comes to CLIP: `_resize_with_antialiasing` in
    /// huggingface/diffusers, after kornia.
    "resize"(x)
    pub struct Resize {
        /// Rows of the result.
        height: Dim,
        /// Columns of the result.
        width: Dim,
    }
}

/// The free parameter of cubic convolution, that of PyTorch.
const SHARPNESS: f64 = -0.75;

/// Below this, a Gaussian is one pixel.
const LEAST_DEVIATION: f64 = 1e-3;

impl Resize {
    /// What multiplies an axis of `from` positions; its rows sum to one.
    pub fn weights(from: usize, to: usize) -> Matrix {
        let mut values = vec![0.0; from * to];
        let (last, filter) = (from.saturating_sub(1), Gaussian::of(from, to));
        for (row, values) in values.chunks_mut(from.max(1)).enumerate() {
            let place = if to > 1 { (row * last) as f64 / (to - 1) as f64 } else { 0.0 };
            let below = libm::floor(place);
            for tap in -1..=2_i64 {
                let pixel = (below as i64 + tap).clamp(0, last as i64);
                let weight = cubic(place - below - tap as f64);
                for (offset, share) in filter.taps() {
                    let seen = reflected(pixel + offset, last as i64);
                    if let Some(value) = usize::try_from(seen).ok().and_then(|at| values.get_mut(at)) {
                        *value += weight * share;
                    }
                }
            }
        }
        Matrix { from, to, values }
    }

    fn size(&self, axis: Axis) -> &Dim {
        if axis == Axis::Height { &self.height } else { &self.width }
    }

    /// Whether an image of that type is as large already.
    fn keeps(&self, x: &Type) -> bool {
        [Axis::Height, Axis::Width].into_iter().all(|axis| x.dim(axis) == Some(self.size(axis)))
    }
}

/// Smooths what a smaller size cannot show.
struct Gaussian {
    deviation: f64,
    /// Pixels on either side.
    reach: i64,
}

impl Gaussian {
    fn of(from: usize, to: usize) -> Self {
        let deviation = (from as f64 / to.max(1) as f64 - 1.0) / 2.0;
        if deviation <= LEAST_DEVIATION {
            return Self { deviation: LEAST_DEVIATION, reach: 0 };
        }
        Self { deviation, reach: (4.0 * deviation).max(3.0) as i64 / 2 }
    }

    /// Offsets with their weights, which sum to one.
    fn taps(&self) -> impl Iterator<Item = (i64, f64)> {
        let weight = |offset: i64| libm::exp(-0.5 * (offset as f64 / self.deviation) * (offset as f64 / self.deviation));
        let total: f64 = (-self.reach..=self.reach).map(weight).sum();
        (-self.reach..=self.reach).map(move |offset| (offset, weight(offset) / total))
    }
}

/// Weight of a pixel so far away.
fn cubic(distance: f64) -> f64 {
    let (a, x) = (SHARPNESS, distance.abs());
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        a * (((x - 5.0) * x + 8.0) * x - 4.0)
    } else {
        0.0
    }
}

/// A place beyond the border, seen in a mirror that stands on the outermost pixel.
fn reflected(at: i64, last: i64) -> i64 {
    if at < 0 { -at } else if at > last { 2 * last - at } else { at }
}

/// Moments behind matrices along the axes.
fn mapped(x: &Moments, along: &[Matrix]) -> Moments {
    let (far, local) = (x.far(), x.square() - x.far());
    let correlation = |lag: usize| match x.second.get(lag) {
        _ if lag == 0 => 1.0,
        Some(second) if lag <= LAGS && local > 0.0 => (second - far) / local,
        _ => 0.0,
    };
    let common: Vec<Vec<f64>> = along.iter().map(Matrix::kept_of_ones).collect();
    let kept: Vec<Vec<f64>> = along.iter().map(|matrix| matrix.kept(correlation)).collect();
    let gain: f64 =
        along.iter().map(|matrix| matrix.sums().iter().sum::<f64>() / matrix.to.max(1) as f64).product();
    let mut result = x.map(gain * x.mean, |_| gain * gain * far);
    for (lag, second) in result.second.iter_mut().enumerate().take(LAGS + 1) {
        *second = far * over_axes(&common, lag) + local * over_axes(&kept, lag);
    }
    // Windows are wider than the distances at which correlations are known.
    let tail = (LAGS / 2..=LAGS).map(|lag| correlation(lag).abs()).fold(0.0, f64::max);
    let shrinks = along.iter().any(|matrix| matrix.from > LAGS / 2 * matrix.to);
    result.at_most(if tail > 0.05 && shrinks { Class::Factor2 } else { Class::Within15 })
}

/// What is kept at a distance along one axis, on average over the axes; `kept` is by axis and distance.
fn over_axes(kept: &[Vec<f64>], lag: usize) -> f64 {
    let along = |axis: usize| {
        let parts = kept.iter().enumerate();
        parts.map(|(own, kept)| kept.get(if own == axis { lag } else { 0 }).copied().unwrap_or(1.0)).product::<f64>()
    };
    (0..kept.len()).map(along).sum::<f64>() / kept.len().max(1) as f64
}

impl Operator for Resize {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        let Some(x) = operands.first().filter(|x| x.kind == Kind::Image) else {
            let found = operands.first().map_or("nothing".to_owned(), |x| x.to_string());
            return Err(Misuse::new("type/kind", format!("`resize` acts on images, found {found}"))
                .at(0)
                .help("of a video take the frames first: `to_frames()`"));
        };
        Ok((*x).clone().with(Axis::Height, self.height.clone()).with(Axis::Width, self.width.clone()))
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let x = at.operand(0)?;
        if at.operands.first().is_some_and(|(ty, _)| self.keeps(ty)) {
            return Ok(Response::same(x));
        }
        let along = along(at)?;
        // What an element has seen, and what is seen of it, in pixels of the result.
        let reach = |matrix: &Matrix| {
            let window = 3.0 + 2.0 * Gaussian::of(matrix.from, matrix.to).reach as f64;
            (x.reach + window) * matrix.to as f64 / matrix.from.max(1) as f64
        };
        let reach = along.iter().map(reach).fold(1.0, f64::max);
        Ok(Response::fresh(mapped(&x, &along).reaching(reach)))
    }

    fn signal_back(&self, at: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        if at.operands.first().is_some_and(|(ty, _)| self.keeps(ty)) {
            return Ok(smallvec![*gradient]);
        }
        let back: Vec<Matrix> = along(at)?.iter().map(Matrix::transposed).collect();
        Ok(smallvec![mapped(gradient, &back)])
    }

    fn flops(&self, operands: &[&[u64]], result: &[u64]) -> u64 {
        // Rows first: a matrix product along the width for every row, then one along the height.
        match (operands.first(), result) {
            (Some([channels, height, width]), [_, rows, columns]) => {
                let wide = height.saturating_mul(*width).saturating_mul(*columns);
                let tall = rows.saturating_mul(*height).saturating_mul(*columns);
                channels.saturating_mul(2).saturating_mul(wide.saturating_add(tall))
            }
            _ => 0,
        }
    }

    fn passage(&self) -> Passage {
        Passage::Resample
    }

    fn alignments(&self, operands: &[&Type], _: &Type) -> Alignments {
        let tokens = if operands.first().is_some_and(|x| self.keeps(x)) { Link::Same } else { Link::Unrelated };
        smallvec![Alignment { channels: Link::Same, tokens }]
    }

    /// Weights of a pixel sum to one: what is the same everywhere stays so, and of what is not the mean is another one.
    fn flow(&self, at: &Flow<'_>) -> Grid {
        let keeps = at.operands.first().is_some_and(|(ty, _)| self.keeps(ty));
        let x = at.operand(0);
        Grid::build(at.rows, at.columns, |row, column| {
            let x = x.at(row, column);
            if keeps {
                return x;
            }
            x.with(Facts::MEAN_POSITIONS, x.nonzero()).with(Facts::MEAN_ALL, x.has(Facts::MEAN_CHANNELS))
        })
    }

    /// Pixels are not seen equally much, but all that is sent to a channel is sent on.
    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        let operand = at.operands.first().map(|(ty, _)| *ty);
        if operand.is_some_and(|ty| self.keeps(ty)) {
            return Gradients::of_operands([gradient.clone()]);
        }
        let varies = operand.is_some_and(varies_over_positions);
        let back = gradient.map(|_, _, dy| {
            if varies { dy.with(Facts::POSITIONS, dy.nonzero()) } else { dy.sum_positions() }
        });
        Gradients::of_operands([back])
    }
}

/// Entries of a matrix that moments are followed through: an axis of 8192 pixels that becomes one of 2048.
const MOST_ENTRIES: f64 = (1_u64 << 24) as f64;

/// The matrices along height and width.
fn along(at: &Signals<'_>) -> Result<Vec<Matrix>, Unknown> {
    let (from, to) = (at.axes(0), at.axes_of(at.result));
    if from.iter().zip(&to).any(|(from, to)| from * to > MOST_ENTRIES) {
        return Err(Unknown::because("an axis is too long to follow each of its pixels through resizing"));
    }
    Ok(from.iter().zip(&to).map(|(from, to)| Resize::weights(*from as usize, *to as usize)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_a_pixel_sum_to_one() {
        for (from, to) in [(1, 1), (1, 4), (5, 1), (2, 7), (9, 9), (32, 8), (33, 5), (100, 224)] {
            let matrix = Resize::weights(from, to);
            assert_eq!(matrix.values.len(), from * to);
            assert!(matrix.sums().iter().all(|sum| (sum - 1.0).abs() < 1e-12), "{from} to {to}");
        }
    }

    #[test]
    fn an_image_of_the_size_is_left_as_it_is() {
        let matrix = Resize::weights(4, 4);
        let identity = (0..16).map(|at| if at % 5 == 0 { 1.0 } else { 0.0 });
        assert!(matrix.values.iter().copied().zip(identity).all(|(found, one): (f64, f64)| (found - one).abs() < 1e-12));
    }

    /// A quarter between two pixels, by the polynomials of Keys with `a = -0.75`.
    #[test]
    fn between_pixels_lie_cubics() {
        let matrix = Resize::weights(6, 21);
        let found = matrix.values.get(9 * 6..10 * 6).expect("a row");
        let expected = [0.0, -0.10546875, 0.87890625, 0.26171875, -0.03515625, 0.0];
        assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-12), "{found:?}");
    }
}
