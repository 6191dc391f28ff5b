//! Activation functions: one operator, a row for each function.

use super::signature::{Operands, Signature, WrongAttribute};
use super::{
    Alignment, Alignments, Flow, Gradients, Misuse, Obligations, Op, Operator, ParameterMoments,
    Parameters, Passage, number_operand,
};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::Moments;
use crate::operator;
use crate::types::{Kind, Type};
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
    Tanh = "tanh", libm::tanh, 1.0, "Hyperbolic tangent.";
}

impl Function {
    /// Mean and mean square of `f(x)` for normal `x` with the given mean and mean square: trapezoidal rule over
    /// eight standard deviations, which for smooth functions converges faster than any power of the step.
    pub fn gaussian_moments(self, mean: f64, square: f64) -> (f64, f64) {
        const STEPS: i32 = 256;
        let variance = (square - mean * mean).max(0.0);
        let std = libm::sqrt(variance);
        // Waves may be shorter than the steps; their moments are known.
        if matches!(self, Function::Cos | Function::Sin) {
            let wave = libm::exp(-variance / 2.0) * self.value(mean);
            let double = libm::exp(-2.0 * variance) * libm::cos(2.0 * mean);
            let sign = if self == Function::Cos { 1.0 } else { -1.0 };
            return (wave, (1.0 + sign * double) / 2.0);
        }
        if std == 0.0 {
            let value = self.value(mean);
            return (value, value * value);
        }
        let (mut weight, mut first, mut second) = (0.0, 0.0, 0.0);
        for step in -STEPS..=STEPS {
            let z = 8.0 * f64::from(step) / f64::from(STEPS);
            let density = libm::exp(-0.5 * z * z);
            let value = self.value(mean + std * z);
            weight += density;
            first += density * value;
            second += density * value * value;
        }
        (first / weight, second / weight)
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

    fn moments(&self, _: &[&Type], operands: &[Moments], _: &[ParameterMoments]) -> Moments {
        let Some(x) = operands.first() else { return Moments::unknown("an operand is missing") };
        x.map(|mean, square| {
            if matches!(self.function, Function::Rsqrt | Function::Log) {
                return Moments::unknown("a function of positive values needs their distribution");
            }
            let (mean, square) = self.function.gaussian_moments(mean, square);
            Moments::known(mean, square)
        })
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
    use super::Function;

    /// NFNets publishes `1 / std(f(x))` for standard normal `x` (timm, `timm/layers/std_conv.py`).
    #[test]
    fn quadrature_reproduces_published_gains() {
        for (function, gain) in [(Function::Gelu, 1.7015), (Function::Silu, 1.7881), (Function::Tanh, 1.5939)] {
            let (mean, square) = function.gaussian_moments(0.0, 1.0);
            let std = libm::sqrt(square - mean * mean);
            assert!((1.0 / std - gain).abs() < 2e-3, "{}: {}", function.name(), 1.0 / std);
        }
        let (mean, square) = Function::Cos.gaussian_moments(0.0, 1e4);
        assert!(mean.abs() < 1e-12 && (square - 0.5).abs() < 1e-12);
        let (mean, square) = Function::Sin.gaussian_moments(0.3, 0.3 * 0.3);
        assert!((mean - libm::sin(0.3)).abs() < 1e-12 && (square - mean * mean).abs() < 1e-12);
        let (mean, square) = Function::Relu.gaussian_moments(0.0, 1.0);
        assert!((square - 0.5).abs() < 1e-6 && (mean - 0.398942).abs() < 1e-4);
    }
}
