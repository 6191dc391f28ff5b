//! Activation functions: one pass over memory, where a composition takes up to six, in vectors and threads.

use super::simd::{self, Pairwise, Unary, exp, normal_cdf, sigmoid, tanh};
use super::{Function, Own, flex};
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorMetadata, TensorPrimitive, activation};
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};

/// Backends that have activation functions. The default is made of Burn's operations.
pub trait ActivationKernel: Own {
    /// `f(x)`, in the shape of `x`.
    fn activation(function: Function, x: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::<Self>(function, x)
    }

    /// `f'(x) * grad`; only where there is a kernel.
    fn activation_backward(_: Function, _: FloatTensor<Self>, _: FloatTensor<Self>) -> Option<FloatTensor<Self>> {
        None
    }
}

/// The reference: the function in Burn's operations.
fn composed<B: Backend>(function: Function, x: FloatTensor<B>) -> FloatTensor<B> {
    let shape = x.shape();
    let count = shape.num_elements();
    let x: Tensor<B, 1> = Tensor::from_primitive(TensorPrimitive::Float(B::float_reshape(x, [count].into())));
    let y = match function {
        Function::Cos => x.cos(),
        Function::Exp => x.exp(),
        Function::Gelu => activation::gelu(x),
        Function::GeluTanh => gelu_tanh(x),
        Function::Log => x.log(),
        Function::QuickGelu => x.clone() * activation::sigmoid(x.mul_scalar(1.702)),
        Function::Relu => activation::relu(x),
        Function::Rsqrt => x.sqrt().recip(),
        Function::Sigmoid => activation::sigmoid(x),
        Function::Silu => activation::silu(x),
        Function::Sin => x.sin(),
        // `log(1 + exp(x))` overflows long before its value does.
        Function::Softplus => activation::log_sigmoid(x.neg()).neg(),
        Function::Tanh => activation::tanh(x),
    };
    B::float_reshape(y.into_primitive().tensor(), shape)
}

/// `x * sigmoid(2 u)` with `u = sqrt(2/pi) (x + 0.044715 x^3)`: the same function as `0.5 x (1 + tanh(u))`, in fewer
/// passes over memory.
fn gelu_tanh<B: Backend>(x: Tensor<B, 1>) -> Tensor<B, 1> {
    let twice = 2.0 * (2.0 / std::f64::consts::PI).sqrt();
    let cubic = (x.clone() * x.clone()).mul_scalar(0.044715 * twice).add_scalar(twice);
    let gate = activation::sigmoid(x.clone() * cubic);
    x * gate
}

/// `2 sqrt(2/pi)`
const TWICE: f32 = 1.595_769;

/// A function and its derivative in vectors.
trait Activation {
    fn value(x: f32) -> f32;
    fn slope(x: f32) -> f32;
}

struct Value<A>(A);
/// The derivative times a gradient.
struct Pull<A>(A);

impl<A: Activation> Unary for Value<A> {
    #[inline(always)]
    fn of(x: f32) -> f32 {
        A::value(x)
    }
}

impl<A: Activation> Pairwise for Pull<A> {
    #[inline(always)]
    fn of(x: f32, grad: f32) -> f32 {
        A::slope(x) * grad
    }
}

/// Types for the functions with a kernel, and what is done with them.
macro_rules! kernels {
    ($($name:ident($x:ident) => $value:expr, $slope:expr;)*) => {
        $(
            struct $name;

            impl Activation for $name {
                #[inline(always)]
                fn value($x: f32) -> f32 {
                    $value
                }

                #[inline(always)]
                fn slope($x: f32) -> f32 {
                    $slope
                }
            }
        )*

        /// `f(x)` in place.
        fn apply(function: Function, x: &mut [f32]) {
            match function {
                $(Function::$name => simd::map_in_place::<Value<$name>>(x),)*
                Function::Cos | Function::Log | Function::Rsqrt | Function::Sin | Function::Softplus => {}
            }
        }

        /// `f(x)`, if there is a kernel.
        fn values(function: Function, x: &[f32]) -> Option<Vec<f32>> {
            match function {
                $(Function::$name => Some(simd::map::<Value<$name>>(x)),)*
                Function::Cos | Function::Log | Function::Rsqrt | Function::Sin | Function::Softplus => None,
            }
        }

        /// `f'(x) * grad`, if there is a kernel.
        fn pulled(function: Function, x: &[f32], grad: &[f32]) -> Option<Vec<f32>> {
            match function {
                $(Function::$name => Some(simd::zip::<Pull<$name>>(x, grad)),)*
                Function::Cos | Function::Log | Function::Rsqrt | Function::Sin | Function::Softplus => None,
            }
        }
    };
}

kernels! {
    Exp(x) => exp(x), exp(x);
    // The density of the normal distribution, 1 / sqrt(2 pi) in front.
    Gelu(x) => x * normal_cdf(x), (x * 0.398_942_3).mul_add(exp(-0.5 * x * x), normal_cdf(x));
    GeluTanh(x) => x * sigmoid(TWICE * x * (0.044_715 * x).mul_add(x, 1.0)), {
        let gate = sigmoid(TWICE * x * (0.044_715 * x).mul_add(x, 1.0));
        let slope = TWICE * (3.0 * 0.044_715 * x).mul_add(x, 1.0);
        (x * gate * (1.0 - gate)).mul_add(slope, gate)
    };
    QuickGelu(x) => x * sigmoid(1.702 * x), {
        let gate = sigmoid(1.702 * x);
        (1.702 * x * gate).mul_add(1.0 - gate, gate)
    };
    Relu(x) => if x > 0.0 { x } else { 0.0 * x }, if x > 0.0 { 1.0 } else { 0.0 };
    Sigmoid(x) => sigmoid(x), {
        let gate = sigmoid(x);
        gate * (1.0 - gate)
    };
    Silu(x) => x * sigmoid(x), {
        let gate = sigmoid(x);
        (x * gate).mul_add(1.0 - gate, gate)
    };
    Tanh(x) => tanh(x), {
        let y = tanh(x);
        1.0 - y * y
    };
}

/// Functions with a kernel: those that networks apply to whole streams of features.
fn has_kernel(function: Function) -> bool {
    !matches!(function, Function::Cos | Function::Log | Function::Rsqrt | Function::Sin | Function::Softplus)
}

impl ActivationKernel for Flex {
    fn activation(function: Function, x: FloatTensor<Self>) -> FloatTensor<Self> {
        if !Self::has_kernels(&x) || !has_kernel(function) {
            return composed::<Self>(function, x);
        }
        let mut x = flex::contiguous(x);
        if let Some(own) = flex::own_elements(&mut x) {
            apply(function, own);
            return x;
        }
        match values(function, flex::elements(&x)) {
            Some(y) => flex::tensor(y, x.shape()),
            None => composed::<Self>(function, x),
        }
    }

    fn activation_backward(
        function: Function,
        x: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> Option<FloatTensor<Self>> {
        let (x, grad) = (flex::contiguous(x), flex::contiguous(grad));
        let pulled = pulled(function, flex::elements(&x), flex::elements(&grad));
        pulled.map(|pulled| flex::tensor(pulled, x.shape()))
    }
}

impl<B: ActivationKernel, C: CheckpointStrategy> ActivationKernel for Autodiff<B, C> {
    fn activation(function: Function, x: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Slope;

        impl<B: ActivationKernel> Backward<B, 1> for Slope {
            type State = (Function, FloatTensor<B>);

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let [parent] = ops.parents;
                let grad = grads.consume::<B>(&ops.node);
                let (function, x) = ops.state;
                if let (Some(parent), Some(grad)) = (parent, B::activation_backward(function, x, grad)) {
                    grads.register::<B>(parent.id, grad);
                }
            }
        }
        if !B::has_kernels(&x.primitive) || !has_kernel(function) {
            return composed::<Self>(function, x);
        }
        match Slope.prepare::<C>([x.node.clone()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                prep.finish((function, x.primitive.clone()), B::activation(function, x.primitive))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::activation(function, x.primitive)),
        }
    }
}

#[cfg(feature = "cuda")]
impl ActivationKernel for super::Cuda {}

#[cfg(test)]
mod tests {
    use super::super::testing::{Tracked, agree};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn functions_and_slopes_equal_the_composition(seed: u64, rows in 1usize..5, columns in 1usize..70) {
            for function in Function::ALL.iter().copied().filter(|function| has_kernel(*function)) {
                agree(
                    seed,
                    [vec![rows, columns]],
                    2e-6,
                    |[x]| Tracked::activation(function, x),
                    |[x]| composed::<Tracked>(function, x),
                );
            }
        }
    }
}
