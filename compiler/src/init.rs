//! How parameters start.

use crate::sincos::{SinCosGrid, TableStatistics};
use crate::words::short;
use serde::{Serialize, Serializer};
use std::fmt;

/// The distribution a parameter is drawn from.
///
/// Bounds and standard deviations that depend on fans use the fans of the parameter at hand ([`Fans`]), unless the
/// spec names others.
#[derive(Clone, Debug, PartialEq)]
pub enum Init {
    /// All elements have this value.
    Constant(f64),
    /// Uniform on `[low, high)`.
    Uniform { low: f64, high: f64 },
    /// Normal.
    Normal { mean: f64, std: f64 },
    /// Uniform with bound `gain * sqrt(6 / (fan_in + fan_out))`. Glorot & Bengio, AISTATS 2010.
    XavierUniform { gain: f64, fans: GivenFans },
    /// Normal with standard deviation `gain * sqrt(2 / (fan_in + fan_out))`. Glorot & Bengio, AISTATS 2010.
    XavierNormal { gain: f64, fans: GivenFans },
    /// Uniform with bound `gain * sqrt(3 / fan_in)`. He et al., ICCV 2015. The default of PyTorch's linear and
    /// convolution layers is this with gain `1/sqrt(3)`, for weights and biases alike.
    KaimingUniform { gain: f64, fans: GivenFans },
    /// Normal with standard deviation `gain / sqrt(fan_in)`. He et al., ICCV 2015.
    KaimingNormal { gain: f64, fans: GivenFans },
    /// Fixed sine-cosine table over a grid.
    SinCos2d(SinCosGrid),
    /// Fixed square filter: the outer product of taps with themselves, divided by its sum; see [`filter_2d`].
    Filter { taps: Vec<f64> },
    /// These values, one after the other.
    Values(Vec<f64>),
}

/// Fans that the spec sets instead of those of the parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct GivenFans {
    pub fan_in: Option<u64>,
    pub fan_out: Option<u64>,
}

/// Number of inputs that feed one output element, and of outputs that one input element feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Fans {
    pub fan_in: u64,
    pub fan_out: u64,
}

impl Init {
    pub const ZERO: Init = Init::Constant(0.0);
    pub const ONE: Init = Init::Constant(1.0);

    /// PyTorch's default for linear and convolution weights, and for their biases with the weight's fans.
    pub fn framework_default() -> Init {
        Init::KaimingUniform { gain: 1.0 / libm::sqrt(3.0), fans: GivenFans::default() }
    }

    /// Whether every element starts at exactly zero.
    pub fn is_zero(&self) -> bool {
        let (mean, std) = match self {
            Init::Constant(value) => (*value, 0.0),
            Init::Uniform { low, high } => (*low, high - low),
            Init::Normal { mean, std } => (*mean, *std),
            Init::XavierUniform { gain, .. }
            | Init::XavierNormal { gain, .. }
            | Init::KaimingUniform { gain, .. }
            | Init::KaimingNormal { gain, .. } => (0.0, *gain),
            Init::SinCos2d(_) => (1.0, 1.0),
            Init::Filter { taps } => moments_of(&filter_2d(taps)),
            Init::Values(values) => moments_of(values),
        };
        mean == 0.0 && std == 0.0
    }

    /// Whether all elements start equal.
    pub fn is_constant(&self) -> bool {
        match self {
            Init::Constant(_) => true,
            Init::Uniform { low, high } => low == high,
            Init::Normal { std, .. } => *std == 0.0,
            Init::XavierUniform { gain, .. }
            | Init::XavierNormal { gain, .. }
            | Init::KaimingUniform { gain, .. }
            | Init::KaimingNormal { gain, .. } => *gain == 0.0,
            Init::SinCos2d(_) => false,
            Init::Filter { taps: values } | Init::Values(values) => {
                values.windows(2).all(|pair| pair.first() == pair.last())
            }
        }
    }

    /// Mean and standard deviation of an element.
    pub fn mean_and_std(&self, own: Fans) -> (f64, f64) {
        match self {
            Init::Constant(value) => (*value, 0.0),
            Init::Uniform { low, high } => ((low + high) / 2.0, (high - low) / libm::sqrt(12.0)),
            Init::Normal { mean, std } => (*mean, *std),
            Init::XavierUniform { .. } | Init::KaimingUniform { .. } => {
                (0.0, self.bound(own).unwrap_or(0.0) / libm::sqrt(3.0))
            }
            Init::XavierNormal { gain, fans } => {
                let fans = fans.or(own);
                (0.0, gain * libm::sqrt(2.0 / (fans.fan_in + fans.fan_out).max(1) as f64))
            }
            Init::KaimingNormal { gain, fans } => (0.0, gain / libm::sqrt(fans.or(own).fan_in.max(1) as f64)),
            Init::SinCos2d(grid) => {
                let mean = grid.statistics().mean;
                (mean, libm::sqrt((0.5 - mean * mean).max(0.0)))
            }
            Init::Filter { taps } => moments_of(&filter_2d(taps)),
            Init::Values(values) => moments_of(values),
        }
    }

    /// What positions have in common, for tables of positions.
    pub fn table_of_positions(&self) -> Option<TableStatistics> {
        let Init::SinCos2d(grid) = self else { return None };
        Some(grid.statistics())
    }

    /// The bound of a symmetric uniform distribution.
    pub fn bound(&self, own: Fans) -> Option<f64> {
        match self {
            Init::XavierUniform { gain, fans } => {
                let fans = fans.or(own);
                Some(gain * libm::sqrt(6.0 / (fans.fan_in + fans.fan_out).max(1) as f64))
            }
            Init::KaimingUniform { gain, fans } => Some(gain * libm::sqrt(3.0 / fans.or(own).fan_in.max(1) as f64)),
            Init::Constant(_)
            | Init::Uniform { .. }
            | Init::Normal { .. }
            | Init::XavierNormal { .. }
            | Init::KaimingNormal { .. }
            | Init::SinCos2d(_)
            | Init::Filter { .. }
            | Init::Values(_) => None,
        }
    }
}

impl GivenFans {
    /// The fans in force.
    pub fn or(self, own: Fans) -> Fans {
        Fans { fan_in: self.fan_in.unwrap_or(own.fan_in), fan_out: self.fan_out.unwrap_or(own.fan_out) }
    }
}

impl fmt::Display for Init {
    /// As it would be written in a spec.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scaled = |f: &mut fmt::Formatter<'_>, name: &str, gain: f64, fans: &GivenFans| {
            let mut arguments = vec![];
            if gain != 1.0 {
                arguments.push(format!("gain: {}", short(gain)));
            }
            arguments.extend(fans.fan_in.map(|fan| format!("fan_in: {fan}")));
            arguments.extend(fans.fan_out.map(|fan| format!("fan_out: {fan}")));
            match arguments.as_slice() {
                [] => write!(f, "{name}"),
                _ => write!(f, "{name}({})", arguments.join(", ")),
            }
        };
        match self {
            Init::Constant(value) if *value == 0.0 => write!(f, "zero"),
            Init::Constant(value) if *value == 1.0 => write!(f, "one"),
            Init::Constant(value) => write!(f, "constant({})", short(*value)),
            Init::Uniform { low, high } => write!(f, "uniform({}, {})", short(*low), short(*high)),
            Init::Normal { mean, std } if *mean == 0.0 => write!(f, "normal(std: {})", short(*std)),
            Init::Normal { mean, std } => write!(f, "normal(std: {}, mean: {})", short(*std), short(*mean)),
            Init::XavierUniform { gain, fans } => scaled(f, "xavier_uniform", *gain, fans),
            Init::XavierNormal { gain, fans } => scaled(f, "xavier_normal", *gain, fans),
            Init::KaimingUniform { gain, fans } => scaled(f, "kaiming_uniform", *gain, fans),
            Init::KaimingNormal { gain, fans } => scaled(f, "kaiming_normal", *gain, fans),
            Init::SinCos2d(grid) => write!(f, "sincos_table({grid})"),
            Init::Filter { taps } => write!(f, "filter([{}])", listed(taps)),
            Init::Values(values) => write!(f, "values([{}])", listed(values)),
        }
    }
}

fn listed(values: &[f64]) -> String {
    values.iter().map(|value| short(*value)).collect::<Vec<_>>().join(", ")
}

impl Serialize for Init {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The square filter made of taps, row by row: their outer product, divided by its sum.
pub fn filter_2d(taps: &[f64]) -> Vec<f64> {
    let sum: f64 = taps.iter().sum();
    taps.iter().flat_map(|row| taps.iter().map(move |column| row * column / (sum * sum))).collect()
}

/// Mean and standard deviation of fixed values.
fn moments_of(values: &[f64]) -> (f64, f64) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let square = values.iter().map(|value| value * value).sum::<f64>() / count;
    (mean, libm::sqrt((square - mean * mean).max(0.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framework_default_is_one_over_root_fan_in() {
        let bound = Init::framework_default().bound(Fans { fan_in: 64, fan_out: 7 });
        assert!((bound.expect("uniform") - 0.125).abs() < 1e-15);
    }

    #[test]
    fn a_filter_sums_to_one() {
        let filter = filter_2d(&[1.0, 3.0, 3.0, 1.0]);
        assert_eq!(filter.get(..2), Some(&[1.0 / 64.0, 3.0 / 64.0][..]));
        assert!((filter.iter().sum::<f64>() - 1.0).abs() < 1e-15);
        let init = Init::Filter { taps: vec![1.0, 1.0] };
        assert!(init.is_constant() && !init.is_zero());
        assert_eq!(init.to_string(), "filter([1, 1])");
    }

    #[test]
    fn only_true_zeros_are_zero() {
        assert!(Init::ZERO.is_zero());
        assert!(Init::Normal { mean: 0.0, std: 0.0 }.is_zero());
        assert!(Init::XavierUniform { gain: 0.0, fans: GivenFans::default() }.is_zero());
        assert!(!Init::Constant(1e-5).is_zero());
    }
}
