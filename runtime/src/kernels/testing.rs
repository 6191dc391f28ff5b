//! Kernels against their references, forward and backward.

use super::broadcast::Spread;
use burn::backend::{Autodiff, Flex};
use burn::tensor::ops::{FloatTensor, FloatTensorOps};
use burn::tensor::{Tensor, TensorData, TensorMetadata, TensorPrimitive};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(super) type Tracked = Autodiff<Flex>;

/// Results and gradients of both functions at the same random inputs, which may differ by `tolerance` times the largest
/// magnitude of the reference. Rounding errors follow the terms of a sum, not what is left of them: the magnitude is taken
/// to be at least √terms, which a sum of these inputs has unless its terms happen to cancel.
pub(super) fn agree<const N: usize>(
    seed: u64,
    shapes: [Vec<usize>; N],
    tolerance: f32,
    kernel: impl Fn([FloatTensor<Tracked>; N]) -> FloatTensor<Tracked>,
    reference: impl Fn([FloatTensor<Tracked>; N]) -> FloatTensor<Tracked>,
) {
    let found = evaluate(seed, &shapes, kernel);
    let expected = evaluate(seed, &shapes, reference);
    let most = expected.iter().map(Vec::len).max().unwrap_or_default();
    for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found.len(), expected.len(), "shape of {at} in {shapes:?}");
        let terms = most / expected.len().max(1);
        let scale = expected.iter().fold((terms as f32).sqrt(), |largest, x| largest.max(x.abs()));
        for (found, expected) in found.iter().zip(expected) {
            let what = if at == 0 { "result".to_owned() } else { format!("gradient {}", at - 1) };
            let error = (found - expected).abs() / scale;
            assert!(error <= tolerance, "{what}: {found} instead of {expected}, {shapes:?}, seed {seed}");
        }
    }
}

/// Shapes of three axes, of an operand that has some of them, and how it is spread over them.
pub(super) fn spreads() -> impl Strategy<Value = (Vec<usize>, Vec<usize>, Spread)> {
    prop::array::uniform3((1usize..40, prop::bool::ANY)).prop_map(|axes| {
        let sizes = axes.map(|(size, _)| size).to_vec();
        let small = axes.map(|(size, has)| if has { size } else { 1 }).to_vec();
        let spread = Spread::of(&sizes, &small).expect("three axes");
        (sizes, small, spread)
    })
}

/// Random tensors.
pub(super) fn draw(seed: u64, shapes: &[Vec<usize>]) -> Vec<FloatTensor<Flex>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut tensor = |shape: &Vec<usize>| {
        let elements = (0..shape.iter().product()).map(|_| random.random_range(-2.0..2.0)).collect();
        super::flex::tensor(elements, shape.clone().into())
    };
    shapes.iter().map(&mut tensor).collect()
}

/// The result, then the gradient of every input from a random one of the result.
fn evaluate<const N: usize>(
    seed: u64,
    shapes: &[Vec<usize>; N],
    f: impl Fn([FloatTensor<Tracked>; N]) -> FloatTensor<Tracked>,
) -> Vec<Vec<f32>> {
    let device = Default::default();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = |count: usize| -> Vec<f32> { (0..count).map(|_| random.random_range(-2.0..2.0)).collect() };
    let leaves: [Tensor<Tracked, 1>; N] = shapes.each_ref().map(|shape| {
        let count = shape.iter().product();
        Tensor::from_data(TensorData::new(draw(count), [count]), &device).require_grad()
    });
    let mut shapes = shapes.iter().cloned();
    let primitives = leaves.clone().map(|leaf| {
        let shape = shapes.next().unwrap_or_default();
        Tracked::float_reshape(leaf.into_primitive().tensor(), shape.into())
    });
    let y = f(primitives);
    let count = y.shape().num_elements();
    let y = Tracked::float_reshape(y, [count].into());
    let y: Tensor<Tracked, 1> = Tensor::from_primitive(TensorPrimitive::Float(y));
    let cotangent: Tensor<Tracked, 1> = Tensor::from_data(TensorData::new(draw(count), [count]), &device);
    let grads = (y.clone() * cotangent).sum().backward();
    let host = |data: TensorData| data.to_vec::<f32>().expect("floats");
    let mut all = vec![host(y.into_data())];
    all.extend(leaves.iter().map(|leaf| host(leaf.grad(&grads).expect("tracked").into_data())));
    all
}
