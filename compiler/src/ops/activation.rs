//! Activation functions: one operator, a row for each function.

use super::signature::{Operands, Signature, WrongAttribute};
use super::{
    Alignment, Alignments, Flow, Gradients, Misuse, Obligations, Op, Operator,
    Parameters, Passage, number_operand, Sent};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Class, Moments, Unknown, zip};
use crate::analysis::gaussian::Expansion;
use super::signals::{Response, Signals};
use crate::operator;
use crate::types::{Kind, Type};
use std::rc::Rc;
use smallvec::{SmallVec, smallvec};

operator! {
    /// An activation function, element by element.
    "activation"(x)
    pub struct Activation {
        /// Which function.
        function: Function,
    }
}

/// The rows: name, function, derivative at zero, what it is.
macro_rules! functions {
    ($($Name:ident = $word:literal, $f:expr, $slope_at_zero:literal, $doc:literal;)*) => {
        crate::choice! {
            /// An element-wise function.
            pub enum Function { $(#[doc = $doc] $Name = $word),* }
        }

        impl Function {
            pub const ALL: &'static [Function] = &[$(Function::$Name),*];

            pub fn from_name(name: &str) -> Option<Function> {
                Function::ALL.iter().copied().find(|function| function.name() == name)
            }

            pub fn name(self) -> &'static str { match self { $(Function::$Name => $word),* } }

            /// The function itself.
            pub fn value(self, x: f64) -> f64 {
                match self { $(Function::$Name => { let f: fn(f64) -> f64 = $f; f(x) })* }
            }

            /// Its derivative at zero, as automatic differentiation defines it (0 for ReLU).
            pub fn slope_at_zero(self) -> f64 { match self { $(Function::$Name => $slope_at_zero),* } }
        }

        /// One signature for each function, so that the language can call it by name.
        pub(super) fn signatures() -> Vec<Signature> {
            vec![$(Signature {
                name: $word,
                doc: $doc,
                operands: Operands::Fixed(&["x"]),
                attributes: &[],
                build: |_| -> Result<Op, WrongAttribute> {
                    Ok(Op::Activation(Activation { function: Function::$Name }))
                },
            }),*]
        }
    };
}

functions! {
    Cos = "cos", libm::cos, 0.0, "Cosine.";
    Exp = "exp", libm::exp, 1.0, "Exponential function; of a number known at compile time it is a number.";
    Gelu = "gelu", |x| 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)), 0.5,
        "GELU with the exact error function, `x * Phi(x)`. Hendrycks & Gimpel 2016.";
    GeluTanh = "gelu_tanh", |x| {
        let inner = libm::sqrt(2.0 / std::f64::consts::PI) * (x + 0.044715 * x * x * x);
        0.5 * x * (1.0 + libm::tanh(inner))
    }, 0.5, "GELU in its tanh form, as DiT, SD3 and PixArt use it. Hendrycks & Gimpel 2016.";
    Log = "log", libm::log, 0.0, "Natural logarithm, for positive values.";
    QuickGelu = "quick_gelu", |x| x / (1.0 + libm::exp(-1.702 * x)), 0.5,
        "GELU as a logistic curve, `x * sigmoid(1.702 x)`, as CLIP uses it. Hendrycks & Gimpel 2016.";
    Relu = "relu", |x| x.max(0.0), 0.0, "ReLU, `max(x, 0)`.";
    Rsqrt = "rsqrt", |x| 1.0 / libm::sqrt(x), 0.0, "`1 / sqrt(x)`, for positive values.";
    Sigmoid = "sigmoid", |x| 1.0 / (1.0 + libm::exp(-x)), 0.25, "Logistic function, `1 / (1 + exp(-x))`: a gate in (0, 1).";
    Silu = "silu", |x| x / (1.0 + libm::exp(-x)), 0.5, "SiLU, `x * sigmoid(x)`. Elfwing et al. 2018.";
    Sin = "sin", libm::sin, 1.0, "Sine.";
    Softplus = "softplus", |x| x.max(0.0) + libm::log1p(libm::exp(-x.abs())), 0.5,
        "`log(1 + exp(x))`, a smooth ReLU that is never below zero: what turns a free parameter into a positive slope.";
    Tanh = "tanh", libm::tanh, 1.0, "Hyperbolic tangent.";
}

impl Activation {
    /// Sine and cosine of a normal variable: `E[cos x] = exp(-v/2) cos m`, and so on. Waves may be shorter than the steps
    /// of a quadrature.
    fn wave(&self, x: &Moments) -> Option<Moments> {
        if !matches!(self.function, Function::Cos | Function::Sin) {
            return None;
        }
        let sign = if self.function == Function::Cos { 1.0 } else { -1.0 };
        let (mean, variance) = (x.mean, x.variance());
        let double = libm::cos(2.0 * mean);
        // E[f f'] of two of covariance c: half the wave of their difference, and half that of their sum.
        let pair = |second: f64| {
            let covariance = second - mean * mean;
            0.5 * (libm::exp(covariance - variance) + sign * double * libm::exp(-covariance - variance))
        };
        Some(x.map(libm::exp(-variance / 2.0) * self.function.value(mean), pair).at_most(Class::Within5))
    }

    /// Logarithm and root of what is positive, and varies, taken to be log-normal.
    fn of_positive(&self, x: &Moments) -> Result<Option<LogNormal>, Unknown> {
        // At a given noise level these are of numbers, whose variance is rounding.
        let spread = x.variance() > 1e-9 * x.square();
        if !matches!(self.function, Function::Rsqrt | Function::Log) || !spread {
            return Ok(None);
        }
        LogNormal::of(x).map(Some).ok_or(Unknown::because("a function of positive values needs their distribution"))
    }

    /// Of what comes in, taken to be normal.
    fn expansion(&self, at: &Signals<'_>, x: &Moments) -> Result<Rc<Expansion>, Unknown> {
        Ok(at.expansions.of(self.function.name(), x.mean, x.variance(), |x| self.function.value(x)))
    }
}

/// A positive value whose logarithm is normal, with the mean and the mean square that it has. Powers of it are log-normal
/// too: `E[x^p] = exp(p mu + p^2 v / 2)`.
struct LogNormal {
    mu: f64,
    variance: f64,
}

impl LogNormal {
    /// None where values cannot be positive, or differ by orders of magnitude.
    fn of(x: &Moments) -> Option<Self> {
        let variance = libm::log(x.square() / (x.mean * x.mean));
        (x.mean > 0.0 && variance < 1.0).then(|| Self { mu: libm::log(x.mean) - variance / 2.0, variance })
    }

    /// Covariance of two logarithms, from the mean product of the values.
    fn covariance(&self, x: &Moments, second: f64) -> f64 {
        let ratio = (second / (x.mean * x.mean)).max(1e-9);
        libm::log(ratio).clamp(-self.variance, self.variance)
    }

    /// `E[(x y)^power]` for logarithms of that covariance.
    fn product(&self, power: f64, covariance: f64) -> f64 {
        libm::exp(2.0 * power * self.mu + power * power * (self.variance + covariance))
    }

    fn class(&self) -> Class {
        if self.variance < 0.05 { Class::Within15 } else { Class::Factor2 }
    }

    fn through(&self, function: Function, x: &Moments) -> Response {
        let power = |p: f64| libm::exp(p * self.mu + p * p * self.variance / 2.0);
        let (mean, covariance_with_x) = match function {
            Function::Log => (self.mu, x.mean * self.variance),
            _ => (power(-0.5), power(0.5) - x.mean * power(-0.5)),
        };
        let pair = |second: f64| match function {
            Function::Log => self.mu * self.mu + self.covariance(x, second),
            _ => self.product(-0.5, self.covariance(x, second)),
        };
        let moments = x.map(mean, pair).at_most(self.class());
        Response { moments, carries: smallvec![covariance_with_x / x.variance()] }
    }

    /// Slopes are `1 / x` and `-x^(-3/2) / 2`.
    fn back(&self, function: Function, x: &Moments, gradient: &Moments) -> Moments {
        let slope = |second: f64| match function {
            Function::Log => self.product(-1.0, self.covariance(x, second)),
            _ => 0.25 * self.product(-1.5, self.covariance(x, second)),
        };
        let mut sent = *gradient;
        sent.second = zip(&gradient.second, &x.second.map(slope), |dy, slope| dy * slope);
        sent.at_most(self.class())
    }
}

impl Operator for Activation {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        let mut result = number_operand(operands, 0, self.function.name())?.clone();
        if result.kind.is_scalar() {
            result.kind = Kind::Scalar;
        }
        Ok(result)
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let x = at.operand(0)?;
        if let Some(wave) = self.wave(&x) {
            return Ok(Response::fresh(wave));
        }
        if let Some(positive) = self.of_positive(&x)? {
            return Ok(positive.through(self.function, &x));
        }
        let f = self.expansion(at, &x)?;
        let correlated = |second: f64| f.pair(x.correlation(second));
        let mut moments = x.map(f.mean(), correlated).at_most(Class::Within5);
        if let Some(own) = moments.second.first_mut() {
            *own = f.square;
        }
        let variance = moments.variance();
        let kept = if variance > 0.0 { f.slope() * f.slope() * x.variance() / variance } else { 0.0 };
        let mut moments = moments.similar(x.similarity * kept * kept);
        moments.edge = libm::pow(x.edge.max(0.0), f.growth);
        Ok(Response { moments, carries: smallvec![f.slope()] })
    }

    fn signal_back(&self, at: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown> {
        let x = at.operand(0)?;
        if let Some(positive) = self.of_positive(&x)? {
            return Ok(smallvec![positive.back(self.function, &x, gradient)]);
        }
        let f = self.expansion(at, &x)?;
        let slopes = x.second.map(|second| f.slope_pair(x.correlation(second)));
        let mut sent = *gradient;
        sent.second = zip(&gradient.second, &slopes, |dy, slope| dy * slope);
        Ok(smallvec![sent.at_most(x.class.max(Class::Within5)).tilted(f.tilt)])
    }

    fn flops(&self, _: &[&[u64]], result: &[u64]) -> u64 {
        result.iter().product()
    }

    fn passage(&self) -> Passage {
        Passage::Transform
    }

    fn alignments(&self, operands: &[&Type], result: &Type) -> Alignments {
        operands.iter().map(|x| Alignment::elementwise(x, result)).collect()
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        let at_zero = Facts::UNIFORM.when(self.function.value(0.0) != 0.0);
        at.elementwise(|x| match x {
            // A non-linear function of a centred tensor is not centred.
            [x] if x.nonzero() => {
                x.or(Facts::MEAN_POSITIONS).or(Facts::MEAN_CHANNELS).or(Facts::MEAN_ALL)
            }
            _ => at_zero,
        })
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        let slope_at_zero = Facts::UNIFORM.when(self.function.slope_at_zero() != 0.0);
        let x = at.operand(0);
        let mut operands: SmallVec<[Grid; 3]> = smallvec![];
        operands.push(gradient.map(|row, column, dy| {
            let x = x.at(row, column);
            let slope = if x.nonzero() {
                x.or(Facts::MEAN_POSITIONS).or(Facts::MEAN_CHANNELS).or(Facts::MEAN_ALL)
            } else {
                slope_at_zero
            };
            dy.times(slope)
        }));
        Gradients::of_operands(operands)
    }
}

#[cfg(test)]
mod tests {
    use super::{Activation, Expansion, Function, Moments};

    /// NFNets publishes `1 / std(f(x))` for standard normal `x` (timm, `timm/layers/std_conv.py`).
    #[test]
    fn quadrature_reproduces_published_gains() {
        let of = |function: Function| Expansion::new(0.0, 1.0, |x| function.value(x));
        for (function, gain) in [(Function::Gelu, 1.7015), (Function::Silu, 1.7881), (Function::Tanh, 1.5939)] {
            let f = of(function);
            let std = libm::sqrt(f.square - f.mean() * f.mean());
            assert!((1.0 / std - gain).abs() < 2e-3, "{}: {}", function.name(), 1.0 / std);
        }
    }

    #[test]
    fn moments_of_waves_are_known() {
        let wave = |function, mean: f64, variance: f64| {
            Activation { function }.wave(&Moments::uniform(mean, mean * mean + variance)).expect("a wave")
        };
        let cosine = wave(Function::Cos, 0.0, 1e4);
        assert!(cosine.mean.abs() < 1e-12 && (cosine.square() - 0.5).abs() < 1e-12);
        let sine = wave(Function::Sin, 0.3, 0.0);
        assert!((sine.mean - libm::sin(0.3)).abs() < 1e-12 && (sine.square() - sine.mean * sine.mean).abs() < 1e-12);
    }

    /// Numbers from 1 to 2, each as often: `E[log x] = 2 log 2 - 1`, `E[1/x] = log 2`.
    #[test]
    fn positive_values_keep_near_what_their_distribution_gives() {
        let ln2 = std::f64::consts::LN_2;
        let x = Moments::uniform(1.5, 7.0 / 3.0);
        let positive = super::LogNormal::of(&x).expect("all of them are positive");
        let log = positive.through(Function::Log, &x);
        assert!((log.moments.mean - (2.0 * ln2 - 1.0)).abs() < 0.01, "{}", log.moments.mean);
        // E[log^2 x] = 2 log^2 2 - 4 log 2 + 2
        assert!((log.moments.square() - (2.0 * ln2 * ln2 - 4.0 * ln2 + 2.0)).abs() < 0.01);
        let root = positive.through(Function::Rsqrt, &x);
        assert!((root.moments.mean - 2.0 * (std::f64::consts::SQRT_2 - 1.0)).abs() < 0.01);
        assert!((root.moments.square() - ln2).abs() < 0.01, "{}", root.moments.square());
        let sent = positive.back(Function::Log, &x, &Moments::uniform(0.0, 1.0));
        // E[1/x^2] = 1/2
        assert!((sent.square() - 0.5).abs() < 0.03, "{}", sent.square());
        assert!(super::LogNormal::of(&Moments::unit()).is_none());
    }
}
