//! Group normalisation.

use super::{
    Alignment, Alignments, Flow, Gradients, Misuse, Obligations, Operator, ParameterCells, ParameterMoments,
    ParameterSpec, Parameters, Passage, Sent, Storage, channels_of,
};
use crate::analysis::gaussian::over_mean_square;
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Class, INDEPENDENT, Lags, Moments, Unknown, zip};
use crate::analysis::profile::Profile;
use super::signals::{Response, Signals};
use crate::init::{Fans, Init};
use crate::operator;
use crate::types::Type;
use smallvec::{SmallVec, smallvec};

operator! {
    /// Normalises each group of channels, over its channels and all positions, to zero mean and unit variance.
    ///
    /// `y = (x - mean) / sqrt(variance + eps) * weight + bias`. Parameters: `weight [C]`, `bias [C]`.
    /// Wu & He, ECCV 2018.
    "group_norm"(x)
    pub struct GroupNorm {
        /// Number of groups; has to divide the channels.
        groups: u64 = 32,
        /// Added to the variance.
        eps: f64 = 1e-5,
        /// Whether a weight and a bias for each channel follow.
        affine: bool = true,
    }
}

impl GroupNorm {
    fn group(&self, at: &Signals<'_>) -> Group {
        Group { channels: at.channels(0) / self.groups.max(1) as f64, over_positions: true, centred: true, eps: self.eps }
    }
}

impl Operator for GroupNorm {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        let channels = channels_of(operands, 0, "group_norm")?;
        if channels % self.groups != 0 {
            let message = format!("{channels} channels cannot be divided into {} groups", self.groups);
            let divisors: Vec<String> =
                (1..=channels.min(64)).filter(|groups| channels % groups == 0).map(|g| g.to_string()).collect();
            return Err(Misuse::new("shape/groups", message)
                .at(0)
                .help(format!("numbers of groups that fit: {}", divisors.join(", "))));
        }
        operands.first().map(|x| (*x).clone()).ok_or_else(|| Misuse::new("type/kind", "`group_norm` lacks x"))
    }

    fn parameters(&self, operands: &[&Type]) -> Parameters {
        norm_parameters(operands, self.affine)
    }

    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        norm_signal(at, self.group(at))
    }

    fn signal_back(&self, at: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        norm_signal_back(at, gradient, self.group(at))
    }

    fn flops(&self, _: &[&[u64]], result: &[u64]) -> u64 {
        norm_flops(result, self.affine)
    }

    fn passage(&self) -> Passage {
        Passage::Normalize
    }

    fn alignments(&self, operands: &[&Type], result: &Type) -> Alignments {
        operands.iter().map(|x| Alignment::elementwise(x, result)).collect()
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        let single = self.has_single_channels(at);
        let normal = normalized(at.operand(0).all(), single);
        norm_flow(at, |_| normal)
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        let single = self.has_single_channels(at);
        let x = at.operand(0).all();
        let one_part = at.operand(0).rows() * at.operand(0).columns() == 1;
        let normal = normalized(x, single);
        norm_flow_back(at, gradient, |_| normal, |_, all| {
            // dx = (dn - mean(dn) - n mean(dn n)) / sigma over each group: the group's sum is zero. A mean along one
            // axis is that of dn, less that of n if n and dn correlate.
            let (over_channels, over_positions) = (all.has(Facts::CHANNELS), all.has(Facts::POSITIONS));
            let varies = |fact| all.has(fact) || x.has(fact);
            let passes = |along: Facts, mean: Facts, across: Facts| {
                all.has(mean) && all.has(across) || x.has(across) && (x.has(along) || all.has(mean))
            };
            let nonzero = over_positions || over_channels && !single;
            Facts::NONZERO
                .with(Facts::POSITIONS, varies(Facts::POSITIONS))
                .with(Facts::CHANNELS, varies(Facts::CHANNELS))
                .with(
                    Facts::MEAN_POSITIONS,
                    !single && passes(Facts::POSITIONS, Facts::MEAN_POSITIONS, Facts::CHANNELS),
                )
                .with(Facts::MEAN_CHANNELS, passes(Facts::CHANNELS, Facts::MEAN_CHANNELS, Facts::POSITIONS))
                .with(Facts::MEAN_ALL, !one_part)
                .when(nonzero)
        })
    }
}

impl GroupNorm {
    /// Whether each group is one channel (instance normalisation).
    fn has_single_channels(&self, at: &Flow<'_>) -> bool {
        at.result.channels() == Some(self.groups)
    }
}

/// Facts of `(x - mean) / sigma` over groups of channels and all positions.
fn normalized(x: Facts, single: bool) -> Facts {
    let (positions, channels) = (x.has(Facts::POSITIONS), x.has(Facts::CHANNELS));
    Facts::NONZERO
        .with(Facts::POSITIONS, positions)
        .with(Facts::CHANNELS, channels)
        .with(Facts::MEAN_POSITIONS, channels && !single)
        .with(Facts::MEAN_CHANNELS, positions)
        .when(positions || channels && !single)
}

/// Weight and bias of a normalisation.
pub(super) fn norm_parameters(operands: &[&Type], affine: bool) -> Parameters {
    let channels = operands.first().and_then(|x| x.channels()).unwrap_or(0);
    if !affine {
        return Parameters::new();
    }
    let spec = |name, default| ParameterSpec {
        name,
        shape: vec![channels],
        fans: Fans { fan_in: 1, fan_out: 1 },
        default,
        storage: Storage::Trained,
        cells: ParameterCells::Output,
    };
    smallvec![spec("weight", Init::ONE), spec("bias", Init::ZERO)]
}

/// What a normalisation takes its statistics over.
#[derive(Clone, Copy)]
pub(super) struct Group {
    pub channels: f64,
    pub over_positions: bool,
    /// Whether the mean is taken away.
    pub centred: bool,
    pub eps: f64,
}

impl Group {
    /// Second moments of what is left when the mean of each group is taken away: elements of different channels share
    /// nothing but the mean over all. A group over positions has one mean, of a token each has its own.
    fn centred(self, x: &Moments, axes: &[f64]) -> Lags {
        if !self.centred {
            return x.second;
        }
        let shared = x.mean * x.mean;
        let count: f64 = axes.iter().product();
        if self.over_positions {
            let mean = x.summed(axes) / (count * count);
            let removed = mean / self.channels + (1.0 - 1.0 / self.channels) * shared;
            return x.second.map(|second| second - removed);
        }
        x.second.map(|second| (second - shared) * (1.0 - 1.0 / self.channels))
    }

    /// Mean over groups of a function of what all positions of a group have in common and of what is local in it, by their
    /// mean squares.
    ///
    /// The variance differs between groups. That of a token has as many degrees of freedom as its features have
    /// dimensions, and what tokens have in common is the same for all of them. Over positions it is the other way round:
    /// what is local averages out, and each channel adds one draw of what its positions have in common.
    fn over_groups(self, x: &Moments, axes: &[f64], f: impl Fn(f64, f64) -> f64) -> f64 {
        let common = x.far().clamp(0.0, x.square().max(0.0));
        let local = x.square() - common;
        if self.over_positions && axes.iter().product::<f64>() > 1.0 {
            let freedom = self.channels - if self.centred { 1.0 } else { 0.0 };
            return over_mean_square(freedom, |u| f(common * u, local));
        }
        let spread = x.similarity * x.uneven;
        let freedom = if spread > 0.0 { 1.0 / spread } else { f64::INFINITY };
        over_mean_square(freedom, |u| f(common, local * u))
    }

    /// Second moment, behind the normalisation, of what all positions have in common, and the mean of `1 / sigma`.
    fn shared(self, x: &Moments, axes: &[f64]) -> (f64, f64) {
        let inverse = |common: f64, local: f64| 1.0 / (common + local + self.eps).max(f64::MIN_POSITIVE);
        let scale = self.over_groups(x, axes, |common, local| libm::sqrt(inverse(common, local)));
        let far = if self.over_positions && axes.iter().product::<f64>() > 1.0 {
            // Between positions that share nothing, the mean that is taken away leaves a little less than that.
            let less = x.far().min(0.0) * inverse(0.0, x.square());
            less + self.over_groups(x, axes, |common, local| common * inverse(common, local))
        } else {
            x.far() * scale * scale
        };
        (far, scale)
    }

    /// Mean of `1 / sigma^2`.
    fn inverse_variance(self, x: &Moments, axes: &[f64]) -> f64 {
        self.over_groups(x, axes, |common, local| 1.0 / (common + local + self.eps).max(f64::MIN_POSITIVE))
    }
}

/// `(x - mean) / sqrt(var + eps)` over groups, then weight and bias.
pub(super) fn norm_signal(at: &Signals<'_>, group: Group) -> Result<Response, Unknown> {
    let x = at.operand(0)?;
    let mut left = x;
    left.second = group.centred(&x, &at.axes(0));
    let (far, inverse) = group.shared(&left, &at.axes(0));
    let mean = if group.centred { 0.0 } else { x.mean * inverse };
    // What is local keeps its correlations, and has the rest of the variance.
    let variance = left.square().max(0.0);
    let own = variance / (variance + group.eps).max(f64::MIN_POSITIVE);
    let local = if left.spread() > 0.0 { (own - far).max(0.0) / left.spread() } else { 0.0 };
    let mut moments = x.map(mean, |_| far).at_most(Class::Within5);
    moments.second = zip(&moments.second, &left.second, |far, second| far + local * (second - left.far()));
    let mut gain = inverse;
    if !group.over_positions {
        (moments.edge, moments.uneven) = (1.0, 0.0);
        moments.profile = Profile::FLAT;
        gain *= x.profile.course().map(|part| 1.0 / libm::sqrt(part)).mean();
    }
    if let Some(weight) = at.parameter(0) {
        moments = moments.map(mean * weight.mean, |second| second * weight.square());
        gain *= weight.mean;
    }
    if let Some(bias) = at.parameter(1) {
        moments = moments.plus(&Moments::uniform(bias.mean, bias.square()), &INDEPENDENT);
    }
    Ok(Response { moments, carries: smallvec![gain] })
}

/// `(dy - mean(dy) - y mean(dy y)) / sigma` over groups.
pub(super) fn norm_signal_back(at: &Signals<'_>, gradient: &Moments, group: Group) -> Result<Sent, Unknown> {
    let x = at.operand(0)?;
    let axes = at.axes(0);
    let mut left = x;
    left.second = group.centred(&x, &axes);
    let weight = at.parameter(0).map_or(1.0, ParameterMoments::square);
    let elements = group.channels * if group.over_positions { at.positions(0) } else { 1.0 };
    // Along y the gradient keeps only what eps leaves of it.
    let along = gradient.square() / elements * left.square() / (left.square() + group.eps);
    let scale = weight * group.inverse_variance(&left, &axes);
    let mut sent = gradient.map(0.0, |second| second).tilted(1.0);
    sent.second = group.centred(gradient, &axes).map(|second| second * scale);
    if let Some(own) = sent.second.first_mut() {
        *own = (*own - along * scale).max(0.0);
    }
    if !group.over_positions && !x.profile.is_flat() {
        // A token is divided by its own deviation.
        let own = gradient.profile.course().zip(x.profile.course(), |dy, x| dy / x);
        let root = x.profile.course().map(|part| 1.0 / libm::sqrt(part)).mean();
        let square = sent.square() * own.mean();
        sent.second = sent.second.map(|second| second * root * root);
        if let Some(first) = sent.second.first_mut() {
            *first = square;
        }
        sent.profile = own.profile();
    }
    Ok(smallvec![sent.at_most(x.class.max(Class::Within15))])
}

/// Two passes for the statistics, one to apply them.
pub(super) fn norm_flops(result: &[u64], affine: bool) -> u64 {
    result.iter().product::<u64>() * if affine { 8 } else { 6 }
}

/// Facts of a normalised tensor (`normal` for each row of tokens) behind weight and bias.
pub(super) fn norm_flow(at: &Flow<'_>, normal: impl Fn(usize) -> Facts) -> Grid {
    Grid::build(at.rows, at.columns, |row, column| {
        let normal = normal(row);
        match (at.parameter(0), at.parameter(1)) {
            (Some(weight), Some(bias)) => normal.times(weight.at(0, column)).or(bias.at(0, column)),
            _ => normal,
        }
    })
}

/// Gradients of a normalisation: `through` gives the operand's facts from those of the gradient behind weight and
/// bias, for a row of tokens and for the whole tensor.
pub(super) fn norm_flow_back(
    at: &Flow<'_>,
    gradient: &Grid,
    normal: impl Fn(usize) -> Facts,
    through: impl Fn(usize, Facts) -> Facts,
) -> Gradients {
    let (weight, bias) = (at.parameter(0), at.parameter(1));
    let normal_gradient = match weight {
        Some(weight) => gradient.map(|_, column, dy| dy.times(weight.at(0, column))),
        None => gradient.clone(),
    };
    let operand = at.operand(0).map(|row, _, _| through(row, normal_gradient.all()));
    let mut parameters: SmallVec<[Grid; 2]> = smallvec![];
    if let (Some(weight), Some(bias)) = (weight, bias) {
        let (mut weights, mut biases) = (Grid::new(1, weight.columns()), Grid::new(1, bias.columns()));
        for row in 0..gradient.rows() {
            for column in 0..gradient.columns() {
                let dy = gradient.at(row, column);
                weights.add(0, column, normal(row).times(dy).sum_positions());
                biases.add(0, column, dy.sum_positions());
            }
        }
        parameters.extend([weights, biases]);
    }
    Gradients { operands: smallvec![operand], parameters }
}
