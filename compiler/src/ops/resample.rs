//! Resampling of images by a separable filter.

use super::attribute::{Count, Taps};
use super::{
    Alignment, Alignments, Flow, Gradients, Link, Misuse, Obligations, Operator, ParameterCells,
    ParameterSpec, Parameters, Passage, Storage, Sent};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Class, Moments, Unknown};
use super::signals::{Response, Signals};
use crate::dim::{Dim, DimError};
use crate::init::{Fans, Init};
use crate::operator;
use crate::types::{Axis, Kind, Type};
use smallvec::smallvec;

operator! {
    /// Changes the resolution of an image through a separable filter.
    ///
    /// `down: d` gives `image[C, H/d, W/d]`: each pixel is the filter's weighted mean of a window. `up: u` gives
    /// `image[C, u*H, u*W]` by the transposed operation: zeros between the pixels, then the filter times `u*u`. The
    /// filter is the outer product of `filter` with itself, divided by its sum; without one it is a box, so that
    /// `resample(down: 2)` is average pooling and `resample(up: 2)` repeats pixels. Outside of the image are zeros.
    ///
    /// `[1, 1]` and `[1, 3, 3, 1]` are the filters of Song et al., ICLR 2021; NVlabs/edm `Conv2d`, NVlabs/edm2
    /// `resample`. With `stored: true` the filter is a buffer `resample_filter [1, 1, k, k]`, as NVlabs/edm keeps it.
    "resample"(x)
    pub struct Resample {
        /// Factor by which height and width grow.
        up: u64 = 1,
        /// Factor by which height and width shrink.
        down: u64 = 1,
        /// Weights along each axis; without them as many equal ones as the factor.
        filter: Option<Taps> = None,
        /// Zeros on every side, taken off again for `up`; without it as many as make the factor exact.
        padding: Option<Count> = None,
        /// Whether the filter is kept among the parameters.
        stored: bool = false,
    }
}

impl Resample {
    /// The factor, one way or the other.
    pub fn factor(&self) -> u64 {
        self.up.max(self.down)
    }

    /// Weights along each axis.
    pub fn taps(&self) -> Vec<f64> {
        match &self.filter {
            Some(taps) => taps.0.clone(),
            None => vec![1.0; self.factor() as usize],
        }
    }

    /// Whether windows tile the image and weigh all pixels alike.
    pub fn is_box(&self) -> bool {
        let taps = self.taps();
        let equal = taps.windows(2).all(|pair| pair.first() == pair.last());
        equal && taps.len() as u64 == self.factor() && self.zeros() == 0
    }

    /// Mean energy that windows see along an axis, where the outermost positions have this share of the mean and the next
    /// lie between them and the rest: windows that stay inside see less of them.
    fn inside(&self, size: f64, edge: f64) -> f64 {
        let rest = if size > 3.0 { (size - 3.0 * edge) / (size - 3.0) } else { 1.0 };
        let factor = self.factor() as usize;
        let taps = self.taps();
        let total: f64 = taps.iter().map(|tap| tap * tap).sum();
        // How much of a position all windows together see: of the outermost only those taps that stand on it.
        let seen = |at: usize| -> f64 { taps.iter().take(at + 1).skip(at % factor).step_by(factor).map(|tap| tap * tap).sum() };
        let every = total / factor as f64;
        let (outer, next) = (seen(0), seen(1));
        let inner = every * (size - 4.0).max(0.0);
        let energy = 2.0 * (outer * edge + next * 0.5 * (edge + rest)) + inner * rest;
        energy / (2.0 * (outer + next) + inner).max(f64::MIN_POSITIVE)
    }

    fn kernel(&self) -> u64 {
        self.filter.as_ref().map_or(self.factor(), |taps| taps.0.len() as u64)
    }

    /// Zeros on every side.
    pub fn zeros(&self) -> u64 {
        self.padding.map_or((self.kernel() + 1).saturating_sub(self.factor()) / 2, |padding| padding.0)
    }

    fn resized(&self, axis: Axis, size: &Dim, obligations: &mut Obligations) -> Result<Dim, Misuse> {
        let (kernel, zeros) = (self.kernel(), self.zeros());
        let result = if self.up > 1 {
            // (size - 1) * up + kernel - 2 * zeros
            let spread = size.times(&Dim::Known(self.up)).and_then(|spread| spread.plus(&Dim::Known(kernel)));
            spread.and_then(|spread| spread.minus(&Dim::Known(self.up + 2 * zeros))).map(|size| (size, None))
        } else if self.padding.is_none() {
            size.over(self.down)
        } else {
            size.windowed(kernel, self.down, 2 * zeros)
        };
        result.map(|result| obligations.keep(result)).map_err(|error| match error {
            DimError::Remainder { dividend, divisor } => {
                let message = format!("a {} of {dividend} cannot be divided by {divisor}", axis.name());
                let (below, above) = (dividend / divisor * divisor, (dividend / divisor + 1) * divisor);
                Misuse::new("shape/remainder", message)
                    .at(0)
                    .help(format!("the nearest sizes that can are {below} and {above}"))
            }
            DimError::OutOfRange => {
                let message = format!("a filter of {kernel} does not fit a {} of {size}", axis.name());
                Misuse::new("shape/window", message).at(0)
            }
        })
    }
}

impl Resample {
    /// Boxes are followed exactly; wider filters lose something at the border.
    fn class(&self) -> Class {
        if self.is_box() { Class::Within5 } else { Class::Within15 }
    }
}

impl Operator for Resample {
    fn infer(&self, operands: &[&Type], obligations: &mut Obligations) -> Result<Type, Misuse> {
        let Some(x) = operands.first().filter(|x| x.kind == Kind::Image) else {
            let found = operands.first().map_or("nothing".to_owned(), |x| x.to_string());
            return Err(Misuse::new("type/kind", format!("`resample` acts on images, found {found}")).at(0));
        };
        if (self.up > 1) == (self.down > 1) {
            let message = "`resample` needs `up` or `down`, and a factor above 1";
            return Err(Misuse::new("call/arguments", message).help("`resample(down: 2)` halves height and width"));
        }
        if self.up > 1 && self.padding.is_none() && (self.kernel() < self.up || (self.kernel() - self.up) % 2 == 1) {
            let message = format!("a filter of {} does not give {} pixels for one", self.kernel(), self.up);
            let help = format!("its length has to be {} or more by an even number; or say `padding:`", self.up);
            return Err(Misuse::new("shape/window", message).help(help));
        }
        let mut result = (*x).clone();
        for axis in [Axis::Height, Axis::Width] {
            if let Some(size) = x.dim(axis) {
                result = result.with(axis, self.resized(axis, size, obligations)?);
            }
        }
        Ok(result)
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        if !self.stored {
            return Parameters::new();
        }
        let kernel = self.kernel();
        smallvec![ParameterSpec {
            name: "resample_filter",
            shape: vec![1, 1, kernel, kernel],
            fans: Fans { fan_in: kernel * kernel, fan_out: kernel * kernel },
            default: Init::Filter { taps: self.taps() },
            storage: Storage::Buffer,
            cells: ParameterCells::Value,
        }]
    }

    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let x = at.operand(0)?;
        let factor = self.factor() as usize;
        let (moments, reach) = if self.up > 1 {
            (x.interpolated(&self.taps(), factor), x.reach * factor as f64)
        } else {
            (x.filtered(&self.taps(), factor), (x.reach + self.taps().len() as f64 - 1.0) / factor as f64)
        };
        let mut moments = moments.reaching(reach).at_most(self.class());
        if self.up == 1 && self.padding == Some(Count(0)) && x.edge < 1.0 {
            let inside: f64 = at.axes(0).iter().map(|size| self.inside(*size, x.edge)).product();
            moments = moments.map(moments.mean, |second| inside * second);
            moments.edge = 1.0;
        }
        Ok(Response::fresh(moments))
    }

    /// One way is the transpose of the other.
    fn signal_back(&self, _: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        let (factor, area) = (self.factor() as usize, (self.factor() * self.factor()) as f64);
        let sent = if self.up > 1 {
            gradient.filtered(&self.taps(), factor).scaled(area)
        } else {
            gradient.interpolated(&self.taps(), factor).scaled(1.0 / area)
        };
        // Windows that stay inside see little of the outermost positions, which is followed forward only.
        let class = if self.padding == Some(Count(0)) && !self.is_box() { Class::Factor2 } else { self.class() };
        Ok(smallvec![sent.at_most(class)])
    }

    fn flops(&self, operands: &[&[u64]], result: &[u64]) -> u64 {
        // Each pixel of the smaller image meets every tap once.
        let smaller: u64 = if self.up > 1 { operands.first().copied().unwrap_or(&[]) } else { result }.iter().product();
        smaller.saturating_mul(2 * self.kernel() * self.kernel())
    }

    fn passage(&self) -> Passage {
        Passage::Resample
    }

    fn alignments(&self, _: &[&Type], _: &Type) -> Alignments {
        smallvec![Alignment { channels: Link::Same, tokens: Link::Unrelated }]
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        let x = at.operand(0);
        Grid::build(at.rows, at.columns, |row, column| self.filtered(x.at(row, column)))
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        let x = at.operand(0);
        let back = Grid::build(x.rows(), x.columns(), |row, column| self.filtered(gradient.at(row, column)));
        Gradients { operands: smallvec![back], parameters: self.parameters(&[]).iter().map(|_| Grid::new(1, 1)).collect() }
    }
}

impl Resample {
    /// Facts behind the filter, one way or the other. Windows that tile the image keep sums over it; others weigh
    /// what lies at the border less.
    fn filtered(&self, x: Facts) -> Facts {
        let tiles = self.kernel() == self.factor() && self.zeros() == 0;
        x.with(Facts::POSITIONS, x.nonzero() && !tiles)
            .with(Facts::MEAN_POSITIONS, x.nonzero() && !tiles)
            .with(Facts::MEAN_ALL, x.has(Facts::MEAN_CHANNELS) && !tiles)
    }
}
