//! Drawing numbers on the host: parameters as their initialisers say, inputs, masks.
//!
//! Every parameter has a stream of its own, made from the seed and its name: what it starts as does not depend on
//! which other parameters there are, on their order, on the device or on the number of threads.

use crate::host::HostTensor;
use archc_compiler::dim::{Dim, Sizes};
use archc_compiler::init::{Init, filter_2d};
use archc_compiler::ir::{Graph, Parameter};
use archc_compiler::types::{Axis, Kind};
use rand::SeedableRng;
use rand::distr::{Distribution, Uniform};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Normal, StandardNormal};

/// The stream of that name.
pub fn stream(seed: u64, name: &str) -> ChaCha8Rng {
    let mut key = [0_u8; 32];
    let (first, second) = (seed.to_le_bytes(), name_hash(name).to_le_bytes());
    for (slot, byte) in key.iter_mut().zip(first.into_iter().chain(second)) {
        *slot = byte;
    }
    ChaCha8Rng::from_seed(key)
}

/// FNV-1a: the same on every platform and in every version, so that ids and streams survive.
pub fn name_hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// A parameter as it starts, in PyTorch's layout.
pub fn parameter(graph: &Graph, parameter: &Parameter, seed: u64) -> Vec<f32> {
    let count = parameter.elements() as usize;
    let mut rng = stream(seed, &parameter.path);
    match &parameter.init {
        Init::Constant(value) => vec![*value as f32; count],
        Init::Uniform { low, high } => uniform(&mut rng, *low, *high, count),
        Init::Normal { mean, std } => normal(&mut rng, *mean, *std, count),
        init @ (Init::XavierUniform { .. } | Init::KaimingUniform { .. }) => {
            let bound = init.bound(parameter.fans).unwrap_or(0.0);
            uniform(&mut rng, -bound, bound, count)
        }
        init @ (Init::XavierNormal { .. } | Init::KaimingNormal { .. }) => {
            let (mean, std) = init.mean_and_std(parameter.fans);
            normal(&mut rng, mean, std, count)
        }
        Init::Values(values) => values.iter().map(|value| *value as f32).collect(),
        Init::Filter { taps } => filter_2d(taps).into_iter().map(|tap| tap as f32).collect(),
        Init::SinCos2d(grid) => {
            let channels = graph.node(parameter.node).ty.channels().unwrap_or(1);
            // Elaboration has checked that the grid is as large as the parameter.
            grid.at(&Sizes::new()).map_or_else(|| vec![0.0; count], |table| table.values(channels).collect())
        }
    }
}

fn uniform(rng: &mut ChaCha8Rng, low: f64, high: f64, count: usize) -> Vec<f32> {
    match Uniform::new(low as f32, high as f32) {
        Ok(distribution) => distribution.sample_iter(rng).take(count).collect(),
        // An empty interval: all elements are equal.
        Err(_) => vec![low as f32; count],
    }
}

fn normal(rng: &mut ChaCha8Rng, mean: f64, std: f64, count: usize) -> Vec<f32> {
    match Normal::new(mean as f32, std as f32) {
        Ok(distribution) => distribution.sample_iter(rng).take(count).collect(),
        Err(_) => vec![mean as f32; count],
    }
}

/// An input as a diffusion model would see it: unit normal features, times on 0..1000, any class, and
/// masks that keep everything.
pub fn input(kind: Kind, classes: Option<&Dim>, shape: Vec<usize>, seed: u64, name: &str) -> HostTensor {
    let mut rng = stream(seed, &format!("in.{name}"));
    let count = shape.iter().product();
    match kind {
        Kind::Label | Kind::Ids => {
            let classes = classes.and_then(Dim::known).unwrap_or(1).max(1) as i64;
            let labels = Uniform::new(0, classes).map(|labels| labels.sample_iter(&mut rng).take(count).collect());
            HostTensor::i64(shape, labels.unwrap_or_else(|_| vec![0; count]))
        }
        Kind::Timestep => {
            let times =
                Uniform::new(0, 1000).map(|times| times.sample_iter(&mut rng).take(count).collect::<Vec<i32>>());
            HostTensor::f32(shape, times.unwrap_or_default().into_iter().map(|time| time as f32).collect())
        }
        // ln(sigma) ~ N(-1.2, 1.2^2): the training distribution of Karras et al. 2022.
        Kind::Sigma => {
            let logs = normal(&mut rng, -1.2, 1.2, count);
            HostTensor::f32(shape, logs.into_iter().map(f32::exp).collect())
        }
        Kind::Mask => HostTensor::f32(shape, vec![1.0; count]),
        Kind::Image | Kind::Video | Kind::Tokens | Kind::Sequence | Kind::Vector | Kind::Scalar => {
            HostTensor::f32(shape, StandardNormal.sample_iter(&mut rng).take(count).collect())
        }
    }
}

/// An image of unit variance: a share of it smooth, with the given correlation of neighbours along each axis, the rest
/// white noise.
pub fn noisy_image(shape: Vec<usize>, share: f64, correlation: f64, seed: u64, name: &str) -> HostTensor {
    let mut rng = stream(seed, &format!("in.{name}"));
    let count: usize = shape.iter().product();
    let (width, height) = (shape.last().copied().unwrap_or(1), shape.iter().rev().nth(1).copied().unwrap_or(1));
    let mut smooth: Vec<f64> = StandardNormal.sample_iter(&mut rng).take(count).collect();
    let innovation = (1.0 - correlation * correlation).max(0.0).sqrt();
    let mut chain = |stride: usize, length: usize| {
        for at in 0..count {
            if !(at / stride).is_multiple_of(length) {
                let before = smooth.get(at - stride).copied().unwrap_or(0.0);
                if let Some(own) = smooth.get_mut(at) {
                    *own = correlation * before + innovation * *own;
                }
            }
        }
    };
    chain(1, width.max(1));
    chain(width.max(1), height.max(1));
    let noise: Vec<f64> = StandardNormal.sample_iter(&mut rng).take(count).collect();
    let (signal, rest) = (share.sqrt(), (1.0 - share).max(0.0).sqrt());
    let data = smooth.into_iter().zip(noise).map(|(own, noise)| (signal * own + rest * noise) as f32).collect();
    HostTensor::f32(shape, data)
}

/// An input of the given mean, standard deviation, and correlation of the same feature at two positions: a part that is
/// the same at every position of a sample, and one that is each its own.
pub fn in_common(kind: Kind, shape: Vec<usize>, moments: [f64; 3], seed: u64, name: &str) -> HostTensor {
    let [mean, std, correlation] = moments;
    let mut rng = stream(seed, &format!("in.{name}"));
    let count: usize = shape.iter().product();
    // Features lie behind the samples, those of tokens in the last place.
    let samples = shape.first().copied().unwrap_or(1).max(1);
    let features = if kind == Kind::Tokens { shape.last() } else { shape.get(1) }.copied().unwrap_or(1).max(1);
    let positions = (count / (samples * features)).max(1);
    let shared: Vec<f64> = StandardNormal.sample_iter(&mut rng).take(samples * features).collect();
    let own: Vec<f64> = StandardNormal.sample_iter(&mut rng).take(count).collect();
    let feature = |at: usize| match kind {
        Kind::Tokens => at / (features * positions) * features + at % features,
        _ => at / positions,
    };
    let (common, rest) = (correlation.sqrt(), (1.0 - correlation).max(0.0).sqrt());
    let value = |(at, own): (usize, f64)| {
        let shared = shared.get(feature(at)).copied().unwrap_or(0.0);
        (mean + std * (common * shared + rest * own)) as f32
    };
    HostTensor::f32(shape, own.into_iter().enumerate().map(value).collect())
}

/// The size of the class axis of an input.
pub fn classes(ty: &archc_compiler::types::Type) -> Option<&Dim> {
    ty.dim(Axis::Class)
}
