//! Residuals with a gate, `x + gate * branch`, in one pass over memory.
//!
//! The product is never stored. Backward, the gradient of `x` is that of the sum itself; those of the branch and the gate
//! are a product and a sum of products.

use super::broadcast::{Binary, BroadcastKernel, Spread, rows_per_task};
use super::{flex, simd};
use burn::backend::{Autodiff, Flex};
use burn::tensor::TensorMetadata;
use burn::tensor::ops::FloatTensor;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use multiversion::multiversion;
use rayon::prelude::*;

/// Backends that add gated branches. The default is a product and a sum.
pub trait GateKernel: BroadcastKernel {
    /// `x + gate * branch`; `x` and `branch` have the shape of the result, `gate` is spread over it.
    fn gated_sum(
        spread: Spread,
        x: FloatTensor<Self>,
        branch: FloatTensor<Self>,
        gate: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        composed::<Self>(spread, x, branch, gate)
    }
}

fn composed<B: BroadcastKernel>(
    spread: Spread,
    x: FloatTensor<B>,
    branch: FloatTensor<B>,
    gate: FloatTensor<B>,
) -> FloatTensor<B> {
    B::float_add(x, B::broadcast(Binary::Multiply, spread, branch, gate))
}

/// Rows behind each other, of which the first is row `first` of all.
#[multiversion(targets = "simd")]
fn rows(spread: Spread, first: usize, (x, branch): (&[f32], &[f32]), gate: &[f32], out: &mut [f32]) {
    let inner = spread.inner();
    let lines = out.chunks_exact_mut(inner).zip(x.chunks_exact(inner)).zip(branch.chunks_exact(inner));
    for (at, ((out, x), branch)) in lines.enumerate() {
        let terms = out.iter_mut().zip(x).zip(branch);
        match spread.row(gate, first + at) {
            [gate] => {
                for ((out, x), branch) in terms {
                    *out = gate.mul_add(*branch, *x);
                }
            }
            gates => {
                for (((out, x), branch), gate) in terms.zip(gates) {
                    *out = gate.mul_add(*branch, *x);
                }
            }
        }
    }
}

impl GateKernel for Flex {
    fn gated_sum(
        spread: Spread,
        x: FloatTensor<Self>,
        branch: FloatTensor<Self>,
        gate: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        if ![&x, &branch, &gate].into_iter().all(<Self as super::Own>::has_kernels) {
            return composed::<Self>(spread, x, branch, gate);
        }
        let [x, branch, gate] = [x, branch, gate].map(flex::contiguous);
        let [values, branches, gates] = [&x, &branch, &gate].map(flex::elements);
        // SAFETY: the rows cover all elements.
        let mut out = unsafe { simd::uninitialized(values.len()) };
        let task = rows_per_task(spread.inner());
        let size = task * spread.inner();
        let tasks = out.par_chunks_mut(size).zip(values.par_chunks(size)).zip(branches.par_chunks(size)).enumerate();
        tasks.for_each(|(at, ((out, x), branch))| rows(spread, at * task, (x, branch), gates, out));
        flex::tensor(out, x.shape())
    }
}

impl<B: GateKernel, C: CheckpointStrategy> GateKernel for Autodiff<B, C> {
    fn gated_sum(
        spread: Spread,
        x: FloatTensor<Self>,
        branch: FloatTensor<Self>,
        gate: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        if ![&x.primitive, &branch.primitive, &gate.primitive].into_iter().all(B::has_kernels) {
            return composed::<Self>(spread, x, branch, gate);
        }
        let nodes = [x.node.clone(), branch.node.clone(), gate.node.clone()];
        let sum = |branch, gate| B::gated_sum(spread, x.primitive, branch, gate);
        match GatedSumBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let state = (spread, branch.primitive.clone(), gate.primitive.clone());
                prep.finish(state, sum(branch.primitive, gate.primitive))
            }
            OpsKind::UnTracked(prep) => prep.finish(sum(branch.primitive, gate.primitive)),
        }
    }
}

#[derive(Debug)]
struct GatedSumBackward;

impl<B: GateKernel> Backward<B, 3> for GatedSumBackward {
    /// The branch and the gate.
    type State = (Spread, FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (spread, branch, gate) = ops.state;
        let [to_x, to_branch, to_gate] = ops.parents;
        if let Some(parent) = to_gate
            && let Some(sum) = B::broadcast_sum(spread, grad.clone(), Some(branch), gate.shape())
        {
            grads.register::<B>(parent.id, sum);
        }
        if let Some(parent) = to_branch {
            grads.register::<B>(parent.id, B::broadcast(Binary::Multiply, spread, grad.clone(), gate));
        }
        if let Some(parent) = to_x {
            grads.register::<B>(parent.id, grad);
        }
    }
}

#[cfg(feature = "cuda")]
impl GateKernel for super::Cuda {}

#[cfg(test)]
mod tests {
    use super::super::testing::{Tracked, agree, spreads};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn equal_the_composition(seed: u64, (x, gate, spread) in spreads()) {
            agree(
                seed,
                [x.clone(), x, gate],
                1e-5,
                |[x, branch, gate]| Tracked::gated_sum(spread, x, branch, gate),
                |[x, branch, gate]| composed::<Tracked>(spread, x, branch, gate),
            );
        }
    }
}
