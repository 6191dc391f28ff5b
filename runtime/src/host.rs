//! Tensors in the memory of the host, between files and devices.

/// A tensor with its elements in C order.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    pub shape: Vec<usize>,
    pub data: HostData,
}

#[derive(Clone, Debug, PartialEq)]
pub enum HostData {
    F32(Vec<f32>),
    I64(Vec<i64>),
}

impl HostTensor {
    pub fn f32(shape: Vec<usize>, data: Vec<f32>) -> Self {
        Self { shape, data: HostData::F32(data) }
    }

    pub fn i64(shape: Vec<usize>, data: Vec<i64>) -> Self {
        Self { shape, data: HostData::I64(data) }
    }

    /// The elements as floats; whole numbers are converted.
    pub fn to_f32(&self) -> Vec<f32> {
        match &self.data {
            HostData::F32(data) => data.clone(),
            HostData::I64(data) => data.iter().map(|value| *value as f32).collect(),
        }
    }

    /// The same without a copy where they are floats.
    pub fn into_f32(self) -> Vec<f32> {
        match self.data {
            HostData::F32(data) => data,
            HostData::I64(_) => self.to_f32(),
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Some of its rows, along the first axis, in that order. Every row that is asked for exists.
    pub fn rows(&self, rows: &[usize]) -> Self {
        let width: usize = self.shape.iter().skip(1).product();
        let shape = std::iter::once(rows.len()).chain(self.shape.iter().skip(1).copied()).collect();
        let data = match &self.data {
            HostData::F32(data) => HostData::F32(picked(data, rows, width)),
            HostData::I64(data) => HostData::I64(picked(data, rows, width)),
        };
        Self { shape, data }
    }

    /// Its rows with those of another tensor of the same kind behind them.
    pub fn followed_by(&self, other: &Self) -> Self {
        let rows = self.shape.first().copied().unwrap_or(0) + other.shape.first().copied().unwrap_or(0);
        let shape = std::iter::once(rows).chain(self.shape.iter().skip(1).copied()).collect();
        let data = match (&self.data, &other.data) {
            (HostData::I64(own), HostData::I64(other)) => HostData::I64([own.as_slice(), other].concat()),
            _ => HostData::F32([self.to_f32(), other.to_f32()].concat()),
        };
        Self { shape, data }
    }

    /// Mean, standard deviation, extremes, and how many elements are not finite.
    pub fn statistics(&self) -> Statistics {
        let mut statistics =
            Statistics { mean: 0.0, std: 0.0, min: f32::INFINITY, max: f32::NEG_INFINITY, not_finite: 0 };
        let data = self.to_f32();
        let finite = || data.iter().filter(|value| value.is_finite());
        let count = finite().count().max(1) as f64;
        statistics.not_finite = data.len() - finite().count();
        statistics.mean = finite().map(|value| f64::from(*value)).sum::<f64>() / count;
        let squares = finite().map(|value| (f64::from(*value) - statistics.mean).powi(2)).sum::<f64>();
        statistics.std = (squares / count).sqrt();
        for value in finite() {
            statistics.min = statistics.min.min(*value);
            statistics.max = statistics.max.max(*value);
        }
        statistics
    }
}

pub(crate) fn picked<T: Copy>(data: &[T], rows: &[usize], width: usize) -> Vec<T> {
    rows.iter().flat_map(|row| data.get(row * width..(row + 1) * width).unwrap_or_default()).copied().collect()
}

/// How the elements of a tensor are distributed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    pub mean: f64,
    pub std: f64,
    pub min: f32,
    pub max: f32,
    /// Elements that are infinite or not a number; the other figures leave them out.
    pub not_finite: usize,
}
