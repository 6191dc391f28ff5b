//! Kernels for what Burn's CPU backend runs slowly: an extension of its backends.
//!
//! A file holds one kernel: a trait over backends whose default is made of Burn's own operations, the loops for [`Flex`],
//! and its gradient under [`Autodiff`]. [`Kernels`] is all of them. These are the kernels of archc's own runtime, which
//! tests them against Burn's operations.

pub mod activation;
pub mod attention;
pub mod broadcast;
pub mod conv2d;
mod flex;
pub mod linear;
pub mod norm;
mod simd;

use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;

/// Functions of each element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    $FUNCTIONS,
}

/// Backends that may have kernels.
pub trait Own: Backend {
    /// Whether they have them for a tensor of this kind.
    fn has_kernels(_: &FloatTensor<Self>) -> bool {
        false
    }
}

impl Own for Flex {
    fn has_kernels(x: &FloatTensor<Self>) -> bool {
        flex::is_f32(x)
    }
}

impl<B: Own, C: CheckpointStrategy> Own for Autodiff<B, C> {
    fn has_kernels(x: &FloatTensor<Self>) -> bool {
        B::has_kernels(&x.primitive)
    }
}

#[cfg(feature = "cuda")]
pub type Cuda = burn::backend::Cuda<f32, i32>;

#[cfg(feature = "cuda")]
impl Own for Cuda {}

/// Backends that have every kernel.
pub trait Kernels:
    activation::ActivationKernel
    + attention::AttentionKernel
    + broadcast::BroadcastKernel
    + conv2d::Conv2dKernel
    + linear::LinearKernel
    + norm::NormKernel
{
}

impl<B> Kernels for B where
    B: activation::ActivationKernel
        + attention::AttentionKernel
        + broadcast::BroadcastKernel
        + conv2d::Conv2dKernel
        + linear::LinearKernel
        + norm::NormKernel
{
}
