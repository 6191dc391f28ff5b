//! Kernels of our own for what Burn's CPU backend runs slowly: an extension of its backends.
//!
//! A file holds one kernel: a trait over backends whose default is made of Burn's own operations (the reference, and
//! what other devices run), the loops for [`Flex`], its gradient under [`Autodiff`], and a test of both against the
//! reference on random shapes. [`Kernels`] is all of them.
//!
//! Loops are plain Rust over slices of floats, compiled for several widths of vectors (see [`simd`]); matrix products
//! are those of the `gemm` crate, which Burn uses as well.

pub mod activation;
pub mod adamw;
pub mod attention;
pub mod broadcast;
pub mod conv2d;
mod flex;
pub mod gate;
pub mod join;
pub mod linear;
pub mod norm;
mod simd;
#[cfg(test)]
mod testing;

pub use archc_compiler::ops::activation::Function;
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::ops::FloatTensor;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use std::cell::Cell;

/// Backends that may have kernels of our own.
pub trait Own: Backend {
    /// Whether they have them for a tensor of this kind.
    fn has_kernels(_: &FloatTensor<Self>) -> bool {
        false
    }
}

impl Own for Flex {
    fn has_kernels(x: &FloatTensor<Self>) -> bool {
        flex::is_f32(x) && !PLAINLY.get()
    }
}

thread_local! {
    /// Whether this thread does without kernels of our own.
    static PLAINLY: Cell<bool> = const { Cell::new(false) };
}

/// Runs something on Burn's own operations, which are what the kernels are compared with.
pub(crate) fn plainly<T>(f: impl FnOnce() -> T) -> T {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            PLAINLY.set(self.0);
        }
    }
    let _before = Before(PLAINLY.replace(true));
    f()
}

impl<B: Own, C: CheckpointStrategy> Own for Autodiff<B, C> {
    fn has_kernels(x: &FloatTensor<Self>) -> bool {
        B::has_kernels(&x.primitive)
    }
}

#[cfg(feature = "cuda")]
pub(crate) type Cuda = burn::backend::Cuda<f32, i32>;

#[cfg(feature = "cuda")]
impl Own for Cuda {}

/// Backends that have every kernel.
pub trait Kernels:
    activation::ActivationKernel
    + adamw::AdamWKernel
    + attention::AttentionKernel
    + broadcast::BroadcastKernel
    + conv2d::Conv2dKernel
    + gate::GateKernel
    + join::JoinKernel
    + linear::LinearKernel
    + norm::NormKernel
{
}

impl<B> Kernels for B where
    B: activation::ActivationKernel
        + adamw::AdamWKernel
        + attention::AttentionKernel
        + broadcast::BroadcastKernel
        + conv2d::Conv2dKernel
        + gate::GateKernel
        + gate::GateKernel
        + join::JoinKernel
        + linear::LinearKernel
        + norm::NormKernel
{
}

/// Backends that keep a tape, over a backend that has every kernel.
pub trait Tape: Kernels + AutodiffBackend<InnerBackend: Kernels> {}

impl<A: Kernels + AutodiffBackend<InnerBackend: Kernels>> Tape for A {}
