//! AdamW over the parameters of a graph, with the defaults of PyTorch.
//!
//! Burn's own optimiser has other defaults, and takes some fifteen passes over memory for what is one.

use crate::kernels::adamw::{AdamWKernel, Update};
use crate::kernels::{Kernels, Tape};
use crate::module::{GraphModule, Slot};
use burn::tensor::TensorMetadata;
use burn::tensor::ops::{FloatTensor, FloatTensorOps};

/// Loshchilov & Hutter, ICLR 2019.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 }
    }
}

/// Mean and mean square of the gradient of every parameter that has had one, by slot.
#[derive(Clone, Debug)]
pub struct Moments<B: Kernels> {
    /// Steps taken.
    pub step: u64,
    pub of: Vec<Option<[FloatTensor<B>; 2]>>,
}

impl<B: Kernels> Default for Moments<B> {
    fn default() -> Self {
        Self { step: 0, of: vec![] }
    }
}

/// The gradient of every parameter that has one, by slot, in the layout of the module.
pub type Gradients<B> = Vec<Option<FloatTensor<B>>>;

impl AdamW {
    /// What the `step`-th update of a parameter does, counted from 1.
    pub fn update(&self, step: u64, learning_rate: f64, decays: bool) -> Update {
        let step = i32::try_from(step).unwrap_or(i32::MAX);
        Update {
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            eps: self.eps as f32,
            rate: (learning_rate / (1.0 - self.beta1.powi(step))) as f32,
            decay: if decays { (learning_rate * self.weight_decay) as f32 } else { 0.0 },
            correction: (1.0 / (1.0 - self.beta2.powi(step)).sqrt()) as f32,
        }
    }

    /// Takes one step. Weights decay where `decays` says so; parameters without a gradient stay.
    pub fn step<A: Tape>(
        &self,
        moments: &mut Moments<A::InnerBackend>,
        module: GraphModule<A>,
        gradients: Gradients<A::InnerBackend>,
        learning_rate: f64,
        decays: impl Fn(&Slot) -> bool,
    ) -> GraphModule<A> {
        moments.step += 1;
        moments.of.resize_with(module.slots.len(), || None);
        let step = moments.step;
        let update = |slot: &Slot| self.update(step, learning_rate, decays(slot));
        let mut own = moments.of.iter_mut().zip(gradients);
        module.updated(|slot, parameter| {
            let Some((moments, Some(grad))) = own.next() else { return parameter };
            let device = A::InnerBackend::float_device(&grad);
            let zeros = || A::InnerBackend::float_zeros(grad.shape(), &device, grad.dtype().into());
            let [mean, square] = moments.take().unwrap_or_else(|| [zeros(), zeros()]);
            let [parameter, mean, square] = A::InnerBackend::adamw(update(slot), [parameter, mean, square], grad);
            *moments = Some([mean, square]);
            parameter
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use archc_compiler::{Options, compile};
    use burn::backend::{Autodiff, Flex};
    use burn::tensor::{Tensor, TensorData};
    use std::sync::Arc;

    type OnTape = Autodiff<Flex>;

    /// What `torch.optim.AdamW` of PyTorch 2.15 makes of the same numbers, with a learning rate of 0.1.
    #[test]
    fn takes_the_steps_of_pytorch() {
        let spec = "arch 1\nmodel M(x: vector[4]) -> vector[4] { x * parameter(vector[4]) @p }";
        let compiled = compile("m.arch", None, &[], &[("m.arch", spec)], &Options::default()).expect("it exists");
        let graph = Arc::new(compiled.graph.expect("it compiles"));
        let device = Default::default();
        let start = [1.0f32, -2.0, 0.5, 3.0].to_vec();
        let module: Result<_, ()> = GraphModule::<OnTape>::load(&graph, &device, |_| Ok(start.clone()));
        let mut module = module.expect("it loads");
        let mut moments = Moments::default();
        let steps = [
            ([0.1, -0.2, 3.0, 0.0], [0.898_999_99, -1.898, 0.399_500_01, 2.996_999_98]),
            ([1.0, 0.5, -1.0, 0.0], [0.817_392_17, -1.940_323_59, 0.359_078_65, 2.994_003_06]),
            ([0.0, 0.25, 2.0, 1e-3], [0.754_186_69, -1.996_296_88, 0.298_410_89, 2.927_128_79]),
        ];
        for (gradient, expected) in steps {
            let gradient: Tensor<Flex, 1> =
                Tensor::from_data(TensorData::from(gradient.map(|x: f64| x as f32)), &device);
            let gradients = vec![Some(gradient.into_primitive().tensor())];
            module = AdamW::default().step(&mut moments, module, gradients, 0.1, |_| true);
            let (_, found) = module.published().next().expect("one parameter");
            for (found, expected) in found.iter().zip(expected) {
                assert!((f64::from(*found) - expected).abs() < 2e-6, "{found} instead of {expected}");
            }
        }
    }

    #[test]
    fn parameters_without_a_gradient_stay_and_weights_decay_where_they_should() {
        let spec = "arch 1\nmodel M(x: vector[2]) -> vector[2] { x * parameter(vector[2]) @p }";
        let compiled = compile("m.arch", None, &[], &[("m.arch", spec)], &Options::default()).expect("it exists");
        let graph = Arc::new(compiled.graph.expect("it compiles"));
        let device = Default::default();
        let module = || {
            let module: Result<_, ()> = GraphModule::<OnTape>::load(&graph, &device, |_| Ok(vec![1.0, 1.0]));
            module.expect("it loads")
        };
        let values = |module: GraphModule<OnTape>| module.published().next().map(|(_, values)| values);
        let stayed = AdamW::default().step(&mut Moments::default(), module(), vec![None], 0.1, |_| true);
        assert_eq!(values(stayed), Some(vec![1.0, 1.0]));
        let zero = || {
            let zero: Tensor<Flex, 1> = Tensor::zeros([2], &device);
            vec![Some(zero.into_primitive().tensor())]
        };
        let decayed = AdamW::default().step(&mut Moments::default(), module(), zero(), 0.1, |_| true);
        assert_eq!(values(decayed), Some(vec![0.999, 0.999]));
        let kept = AdamW::default().step(&mut Moments::default(), module(), zero(), 0.1, |_| false);
        assert_eq!(values(kept), Some(vec![1.0, 1.0]));
    }
}
