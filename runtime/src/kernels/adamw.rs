//! The update of AdamW in one pass over a parameter, its gradient and its two moments, in place.

use super::{Own, flex};
use burn::backend::{Autodiff, Flex};
use burn::tensor::TensorMetadata;
use burn::tensor::ops::FloatTensor;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_flex::FlexTensor;
use multiversion::multiversion;
use rayon::prelude::*;

/// One step (Loshchilov & Hutter 2019), as PyTorch takes it:
/// `p = p (1 - decay) - rate * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)`, where `rate` holds `1 / (1 - beta1^t)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    pub beta1: f32,
    pub beta2: f32,
    pub eps: f32,
    /// The learning rate over `1 - beta1^t`.
    pub rate: f32,
    /// The learning rate times the decay of weights.
    pub decay: f32,
    /// `1 / sqrt(1 - beta2^t)`
    pub correction: f32,
}

/// A parameter with the moments of its gradient.
pub type Moving<B> = [FloatTensor<B>; 3];

/// Backends that update parameters. The default is made of Burn's operations.
pub trait AdamWKernel: Own {
    /// A parameter and the mean and mean square of its gradient, after one more gradient.
    fn adamw(update: Update, moving: Moving<Self>, grad: FloatTensor<Self>) -> Moving<Self> {
        composed::<Self>(update, moving, grad)
    }
}

fn composed<B: Own>(update: Update, [parameter, mean, square]: Moving<B>, grad: FloatTensor<B>) -> Moving<B> {
    let scaled = |x: FloatTensor<B>, factor: f32| B::float_mul_scalar(x, factor.into());
    let squared = B::float_mul(grad.clone(), grad.clone());
    let mean = B::float_add(scaled(mean, update.beta1), scaled(grad, 1.0 - update.beta1));
    let square = B::float_add(scaled(square, update.beta2), scaled(squared, 1.0 - update.beta2));
    let deviation = scaled(B::float_sqrt(square.clone()), update.correction);
    let step = B::float_div(mean.clone(), B::float_add_scalar(deviation, update.eps.into()));
    let parameter = B::float_sub(scaled(parameter, 1.0 - update.decay), scaled(step, update.rate));
    [parameter, mean, square]
}

#[multiversion(targets = "simd")]
fn step(update: Update, [parameter, mean, square]: [&mut [f32]; 3], grad: &[f32]) {
    let moving = parameter.iter_mut().zip(mean).zip(square);
    for (((parameter, mean), square), grad) in moving.zip(grad) {
        *mean = (grad - *mean).mul_add(1.0 - update.beta1, *mean);
        *square = (grad * grad - *square).mul_add(1.0 - update.beta2, *square);
        let deviation = square.sqrt().mul_add(update.correction, update.eps);
        *parameter = (*parameter).mul_add(1.0 - update.decay, -update.rate * *mean / deviation);
    }
}

/// Elements that a thread takes at a time.
const GRAIN: usize = 16 * 1024;

/// The elements in C order, without a copy where nothing else has them.
fn into_elements(tensor: FlexTensor) -> Vec<f32> {
    flex::contiguous(tensor).into_data().into_vec::<f32>().unwrap_or_default()
}

impl AdamWKernel for Flex {
    fn adamw(update: Update, moving: Moving<Self>, grad: FloatTensor<Self>) -> Moving<Self> {
        if !moving.iter().chain([&grad]).all(Self::has_kernels) {
            return composed::<Self>(update, moving, grad);
        }
        let grad = flex::contiguous(grad);
        let shape = grad.shape();
        let [mut parameter, mut mean, mut square] = moving.map(into_elements);
        let chunks = parameter.par_chunks_mut(GRAIN).zip(mean.par_chunks_mut(GRAIN));
        let chunks = chunks.zip(square.par_chunks_mut(GRAIN)).zip(flex::elements(&grad).par_chunks(GRAIN));
        chunks.for_each(|(((parameter, mean), square), grad)| {
            step(update, [parameter, mean, square], grad);
        });
        [parameter, mean, square].map(|elements| flex::tensor(elements, shape.clone()))
    }
}

/// Nothing of it is on a tape.
impl<B: AdamWKernel, C: CheckpointStrategy> AdamWKernel for Autodiff<B, C> {}

#[cfg(feature = "cuda")]
impl AdamWKernel for super::Cuda {}

#[cfg(test)]
mod tests {
    use super::super::testing::draw;
    use super::*;
    use burn::tensor::ops::FloatTensorOps;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn equals_the_composition(seed: u64, count in 1usize..300, rate in 1e-4f32..0.1, decay in 0f32..0.1) {
            let update =
                Update { beta1: 0.9, beta2: 0.999, eps: 1e-8, rate, decay, correction: 3.0 };
            let shape = vec![count];
            let [parameter, mean, square, grad]: [FloatTensor<Flex>; 4] =
                draw(seed, &[shape.clone(), shape.clone(), shape.clone(), shape]).try_into().expect("four tensors");
            let square = Flex::float_mul(square.clone(), square);
            let moving = [parameter, mean, square];
            let found = Flex::adamw(update, moving.clone(), grad.clone());
            let expected = composed::<Flex>(update, moving, grad);
            for (found, expected) in found.iter().zip(&expected) {
                for (found, expected) in flex::elements(found).iter().zip(flex::elements(expected)) {
                    prop_assert!((found - expected).abs() <= 1e-5 * (1.0 + expected.abs()), "{found}, not {expected}");
                }
            }
        }
    }
}
