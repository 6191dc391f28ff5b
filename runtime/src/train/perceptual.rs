//! Errors as a frozen network sees them.
//!
//! An error `e` of the output is an error `q e` of the data. Instead of `e²` counts `((F(z + s e) - F(z)) / s)²`, the mean
//! over the elements of `F`, a value of the network for the sample `z`:
//!
//! * with `s = q`, so that `F` sees what the output makes of the data, this is a distance of features. The division turns
//!   the weight of an error of the data into that of an error of the output, as all weightings have it;
//! * with `s` close to zero, this is `(J e)²`, with `J` the Jacobian of `F` at the sample: a quadratic form that adapts to
//!   the sample, and that is defined for all predictions and at all levels of noise.
//!
//! Both are divided by what an error of independent elements with a variance of one would count, so that the loss keeps
//! its scale. The gradient goes through `F` to the output; nothing of `F` is trained.

use super::batch::Batch;
use crate::error::RunError;
use crate::execute::{Mode, Run, Unobserved, Values};
use crate::frozen::Frozen;
use crate::kernels::{Kernels, Tape};
use crate::module::{AnyParam, GraphModule};
use crate::plan::{Bindings, Plan};
use crate::sensitivity::{STEP, magnitude};
use crate::session::in_memory;
use crate::value::Value;
use archc_compiler::ir::NodeId;
use burn::tensor::{Shape, Tensor, TensorData};

/// A frozen network with how errors are measured in it.
#[derive(Clone, Debug)]
pub struct Perceptual {
    pub frozen: Frozen,
    pub distance: Distance,
    /// The sum of [`sensitivity`](crate::sensitivity::sensitivity) over all channels: what an error of independent elements
    /// with a variance of one counts without being divided by it.
    pub gain: f64,
}

/// How far a wrong sample is from the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distance {
    /// Between the values of the network.
    Features,
    /// Of the error itself, through the network's Jacobian at the right sample.
    Jacobian,
}

/// The network on a device.
pub(super) struct Sight<A: Tape> {
    plan: Plan,
    at: NodeId,
    module: GraphModule<A::InnerBackend>,
    bindings: Bindings,
    distance: Distance,
    gain: f64,
    device: A::Device,
}

impl<A: Tape> Sight<A> {
    pub fn new(perceptual: &Perceptual, batch: usize, device: &A::Device) -> Result<Self, RunError> {
        let Perceptual { frozen, distance, gain } = perceptual;
        let module = GraphModule::load(&frozen.plan.graph, device, |slot| in_memory(&frozen.parameters, slot))?;
        Ok(Self {
            plan: frozen.plan.clone(),
            at: frozen.at,
            module,
            bindings: frozen.bindings(batch),
            distance: *distance,
            gain: *gain,
            device: device.clone(),
        })
    }

    /// The mean of what the errors of a batch count, `[samples, elements]`, each sample by its weight `[samples, 1]`.
    pub fn loss(&self, error: Tensor<A, 2>, weight: Tensor<A, 2>, batch: &Batch) -> Tensor<A, 1> {
        let [samples, width] = error.dims();
        let clean = batch.clean.to_f32();
        let smallest = Self::smallest(error.clone().inner(), &clean);
        let step = match self.distance {
            Distance::Jacobian => smallest,
            Distance::Features => {
                let data: Vec<f32> = batch.lessons.iter().map(|lesson| lesson.data as f32).collect();
                let data = Tensor::<A::InnerBackend, 2>::from_data(TensorData::new(data, [samples, 1]), &self.device);
                // A sample without noise is not far from any: what remains of the distance is its derivative.
                let is_still = data.clone().abs().lower(smallest.clone());
                data.mask_where(is_still, smallest)
            }
        };
        let clean = Tensor::<A::InnerBackend, 2>::from_data(TensorData::new(clean, [samples, width]), &self.device);
        let still = self.value(&self.module, clean.clone(), batch, &self.device);
        let step = Tensor::<A, 2>::from_inner(step);
        let moved = Tensor::<A, 2>::from_inner(clean) + error * step.clone();
        let moved = self.value(&self.on_tape(), moved, batch, &self.device);
        let change = (moved - Tensor::from_inner(still)) / step;
        (change.clone() * change * weight).mean() / self.gain
    }

    /// The smallest steps that a derivative can be taken over, `[samples, 1]`.
    fn smallest(error: Tensor<A::InnerBackend, 2>, clean: &[f32]) -> Tensor<A::InnerBackend, 2> {
        let [samples, width] = error.dims();
        let largest: Vec<f32> = clean.chunks(width.max(1)).map(|own| (STEP * magnitude(own)) as f32).collect();
        let largest = Tensor::<A::InnerBackend, 2>::from_data(TensorData::new(largest, [samples, 1]), &error.device());
        let size = (error.clone() * error).mean_dim(1).sqrt();
        // Where nothing is wrong any step will do.
        largest / (size + f32::MIN_POSITIVE.sqrt())
    }

    /// The parameters on a tape that does not follow them.
    fn on_tape(&self) -> GraphModule<A> {
        let slots = self.module.slots.clone();
        let own = slots.iter().zip(&self.module.parameters);
        let parameters = own.map(|(slot, own)| AnyParam::as_is(slot.id(), A::from_inner(own.primitive()))).collect();
        GraphModule { slots, parameters }
    }

    /// The value that counts, `[samples, features]`, for samples as `[samples, elements]`.
    fn value<C: Kernels>(
        &self,
        module: &GraphModule<C>,
        samples: Tensor<C, 2>,
        batch: &Batch,
        device: &C::Device,
    ) -> Tensor<C, 2> {
        let primitive = samples.into_primitive().tensor();
        let shaped = Value::Float(C::float_reshape(primitive, Shape::from(batch.clean.shape.clone())));
        let mut values = Values::of(&self.plan, vec![shaped]);
        let run = Run { plan: &self.plan, module, bindings: &self.bindings, mode: Mode::Evaluation, device };
        run.nodes(0..self.at.index() + 1, &mut values, &mut Unobserved);
        let rows = self.bindings.batch;
        let made = values.0.get_mut(self.at.index()).and_then(Option::take);
        let made = made.unwrap_or_else(|| Value::of(Tensor::<C, 1>::zeros([rows], device)));
        let width = made.shape().iter().product::<usize>() / rows.max(1);
        made.reshape([rows, width])
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test stops where something is missing")]
mod tests {
    use super::*;
    use crate::data::{DataSet, Elements, Samples};
    use crate::host::HostTensor;
    use crate::sensitivity::{Probing, channel_weights, sensitivity};
    use crate::session::Device;
    use crate::train::{Precision, Recipe, Trainer, fit};
    use archc_compiler::ir::Graph;
    use archc_compiler::{Options, compile};
    use archc_process::{Lesson, Level};
    use burn::backend::{Autodiff, Flex};
    use std::collections::BTreeMap;
    use std::ops::ControlFlow;
    use std::sync::Arc;

    fn graph(body: &str) -> Arc<Graph> {
        let spec = format!("arch 1\nmodel M(z: image[2, 2, 2]) -> {body}");
        let compiled = compile("m.arch", None, &[], &[("m.arch", spec.as_str())], &Options::default())
            .expect("the source is given");
        Arc::new(compiled.graph.expect("the spec is right"))
    }

    fn frozen(body: &str, parameters: &[(&str, &[usize], &[f32])]) -> Frozen {
        let tensor =
            |own: &(&str, &[usize], &[f32])| (own.0.to_owned(), HostTensor::f32(own.1.to_vec(), own.2.to_vec()));
        Frozen::new(graph(body), parameters.iter().map(tensor).collect(), None, &[2, 2, 2])
            .expect("it takes the samples")
    }

    fn samples(data: &[f32]) -> Samples {
        Samples { shape: vec![data.len() / 8, 2, 2, 2], data: Elements::F32(data.to_vec()), range: None }
    }

    /// A map of channels, `[[3, 0], [0, 1], [4, 2]]`.
    fn linear() -> Frozen {
        let weight = [3.0, 0.0, 0.0, 1.0, 4.0, 2.0];
        let parameters: [(&str, &[usize], &[f32]); 2] =
            [("map.weight", &[3, 2, 1, 1], &weight), ("map.bias", &[3], &[1.0, -1.0, 0.5])];
        frozen("image[3, 2, 2] { z -> conv2d(3, kernel: 1) @map }", &parameters)
    }

    const Z: [f32; 16] = [0.5, -1.0, 2.0, 1.0, -0.5, 0.25, 1.5, -2.0, 1.0, 1.0, -1.0, 3.0, 0.5, 0.75, -0.25, 0.1];
    const ERROR: [f32; 16] = [0.3, 0.1, -0.2, 0.7, 0.0, -0.5, 0.4, 0.2, -0.1, 0.6, 0.3, -0.3, 0.2, 0.1, -0.4, 0.5];

    fn lesson(data: f64, weight: f64) -> Lesson {
        let level = Level::flow(0.5);
        Lesson { level, told: 0.0, input: (0.0, 0.0), target: (0.0, 0.0), data, weight, variance: None }
    }

    /// The loss of the errors with weights 1 and 3, and its gradient.
    fn measured(frozen: Frozen, distance: Distance, data: f64, gain: f64) -> (f64, Vec<f32>) {
        type OnTape = Autodiff<Flex>;
        let device = Default::default();
        let sight =
            Sight::<OnTape>::new(&Perceptual { frozen, distance, gain }, 2, &device).expect("all parameters are given");
        let batch = Batch {
            number: 0,
            clean: HostTensor::f32(vec![2, 2, 2, 2], Z.to_vec()),
            inputs: vec![],
            target: vec![],
            lessons: vec![lesson(data, 1.0), lesson(data, 3.0)],
        };
        let error = Tensor::<OnTape, 2>::from_data(TensorData::new(ERROR.to_vec(), [2, 8]), &device).require_grad();
        let weight = Tensor::from_data(TensorData::new(vec![1.0f32, 3.0], [2, 1]), &device);
        let loss = sight.loss(error.clone(), weight, &batch);
        let gradient = error.grad(&loss.backward()).expect("the loss depends on the error");
        (super::super::loss::number(loss), gradient.into_data().to_vec().expect("floats"))
    }

    /// `mean w c(z, e)^2 / gain` over 16 elements, and its gradient with `d` the derivative of `c` by `e`.
    fn expected(gain: f64, c: impl Fn(f64, f64) -> f64, d: impl Fn(f64, f64) -> f64) -> (f64, Vec<f64>) {
        let weight = |at: usize| if at < 8 { 1.0 } else { 3.0 } / 16.0 / gain;
        let each = || Z.iter().zip(ERROR).map(|(z, e)| (f64::from(*z), f64::from(e))).enumerate();
        let loss = each().map(|(at, (z, e))| weight(at) * c(z, e).powi(2)).sum();
        (loss, each().map(|(at, (z, e))| 2.0 * weight(at) * c(z, e) * d(z, e)).collect())
    }

    /// Within a share of the loss, and of the largest element of the gradient: elements near zero are differences.
    #[track_caller]
    fn close((loss, gradient): &(f64, Vec<f32>), expected: &(f64, Vec<f64>), tolerance: f64) {
        assert!((loss - expected.0).abs() < tolerance * expected.0, "{loss} instead of {}", expected.0);
        let largest = expected.1.iter().fold(0.0_f64, |most, own| most.max(own.abs()));
        for (found, expected) in gradient.iter().zip(&expected.1) {
            assert!((f64::from(*found) - expected).abs() < tolerance * largest, "{found} instead of {expected}");
        }
    }

    const SQUARE: &str = "image[2, 2, 2] { z * z }";

    #[test]
    fn distances_are_those_of_the_network() {
        let (data, gain) = (0.5, 0.8);
        // (z + q e)^2 - z^2 over q; f32 loses three digits to the difference.
        let features = measured(frozen(SQUARE, &[]), Distance::Features, data, gain);
        close(&features, &expected(gain, |z, e| e * (2.0 * z + data * e), |z, e| 2.0 * (z + data * e)), 1e-4);
        // The Jacobian is 2 z; a forward difference over the smallest step is off by its second order.
        let jacobian = measured(frozen(SQUARE, &[]), Distance::Jacobian, data, gain);
        close(&jacobian, &expected(gain, |z, e| 2.0 * z * e, |z, _| 2.0 * z), 0.02);
        // Where there is hardly any noise the one becomes the other, also where there is none.
        for data in [1e-9, 0.0, -0.0] {
            close(
                &measured(frozen(SQUARE, &[]), Distance::Features, data, gain),
                &(jacobian.0, wide(&jacobian.1)),
                1e-6,
            );
        }
    }

    fn wide(values: &[f32]) -> Vec<f64> {
        values.iter().map(|value| f64::from(*value)).collect()
    }

    #[test]
    fn sensitivities_are_squares_of_the_jacobian() {
        let probing = Probing { samples: 5, draws: 3, batch: 1, seed: 1 };
        let gains = |frozen: &Frozen| {
            sensitivity(frozen, &samples(&Z), &probing, Device::Cpu, |_, _| ()).expect("the samples fit")
        };
        let found = gains(&linear());
        // Columns of the map, over three channels: (9 + 16) / 3 and (1 + 4) / 3; a small step leaves f32 a thousandth of rounding.
        for (found, expected) in found.iter().zip([25.0 / 3.0, 5.0 / 3.0]) {
            assert!((found - expected).abs() < 1e-3 * expected, "{found} instead of {expected}");
        }
        let weights = channel_weights(&found);
        assert!((weights[0] - 5.0 / 3.0).abs() < 1e-3 && (weights[1] - 1.0 / 3.0).abs() < 1e-3, "{weights:?}");
        // Of 4 z^2 the means over the first channels and over the second ones, of which each is half of the value.
        let mean = |half: usize| {
            let own = Z.chunks(4).skip(half).step_by(2).flatten();
            own.map(|z| 4.0 * f64::from(z * z)).sum::<f64>() / 8.0 / 2.0
        };
        for (found, expected) in gains(&frozen(SQUARE, &[])).iter().zip([mean(0), mean(1)]) {
            assert!((found - expected).abs() < 0.02 * expected, "{found} instead of {expected}");
        }
    }

    fn denoiser(process: &str) -> Arc<Graph> {
        graph(&format!(
            "image[2, 2, 2] {{\n process {{ schedule: flow; prediction: flow; weighting: min_snr(gamma: 5){process} }}\n \
             z -> conv2d(2, kernel: 1) @net }}"
        ))
    }

    /// Losses and how far weights and biases of both output channels have moved, after a few updates.
    fn trained(graph: &Arc<Graph>, perceptual: Option<&Perceptual>) -> (Vec<f64>, [f32; 2]) {
        let data = DataSet { samples: samples(&Z), labels: None, classes: vec![], conditions: BTreeMap::new() };
        let recipe =
            Recipe { steps: 4, batch: 2, rate: 0.01, warmup: 0, precision: Precision::F32, ..Recipe::default() };
        let start =
            crate::train::open(graph, &recipe, None, &Device::Cpu.into()).expect("the recipe is right").parameters();
        let mut losses = vec![];
        let trainer = fit(graph, &data, &recipe, perceptual, &Device::Cpu.into(), None, |report, _| {
            losses.push(report.loss);
            Ok(ControlFlow::Continue(()))
        });
        let moved = |trainer: &dyn Trainer, channel: usize| {
            let change = trainer.parameters().into_iter().map(|(name, after)| {
                let (before, after) = (start[&name].to_f32(), after.to_f32());
                let run = after.len() / 2;
                let own = channel * run..(channel + 1) * run;
                own.map(|at| (after[at] - before[at]).abs()).sum::<f32>()
            });
            change.sum()
        };
        let trainer = trainer.expect("it trains");
        (losses, [moved(&*trainer, 0), moved(&*trainer, 1)])
    }

    /// A decoder that looks at one channel alone trains this channel alone, in whatever way errors are measured.
    #[test]
    fn what_a_decoder_does_not_see_is_not_trained() {
        let blind = || {
            let parameters: [(&str, &[usize], &[f32]); 2] =
                [("map.weight", &[1, 2, 1, 1], &[3.0, 0.0]), ("map.bias", &[1], &[0.0])];
            frozen("image[1, 2, 2] { z -> conv2d(1, kernel: 1) @map }", &parameters)
        };
        let probing = Probing { samples: 2, draws: 1, batch: 2, seed: 0 };
        let gains = sensitivity(&blind(), &samples(&Z), &probing, Device::Cpu, |_, _| ()).expect("the samples fit");
        assert!((gains[0] - 9.0).abs() < 1e-2 && gains[1] == 0.0, "{gains:?}");
        let (plain, moved) = trained(&denoiser(""), None);
        assert!(moved.iter().all(|own| *own > 0.0));
        let (weighted, moved) = trained(&denoiser("; channel_weights: [2, 0]"), None);
        assert!(moved[0] > 0.0 && moved[1] == 0.0, "{moved:?}");
        assert_ne!(plain, weighted);
        for distance in [Distance::Jacobian, Distance::Features] {
            let gain = gains.iter().sum();
            let (losses, moved) = trained(&denoiser(""), Some(&Perceptual { frozen: blind(), distance, gain }));
            assert!(moved[0] > 0.0 && moved[1] == 0.0, "{moved:?}");
            // The decoder is linear: all three are one loss.
            for (found, expected) in losses.iter().zip(&weighted) {
                assert!((found - expected).abs() < 2e-3 * expected, "{distance:?}: {losses:?} {weighted:?}");
            }
        }
    }

    #[test]
    fn networks_that_see_no_samples_are_refused() {
        let refused = |body: &str, sample: &[usize]| {
            let error =
                Frozen::new(graph(body), BTreeMap::new(), None, sample).expect_err("it sees no samples").to_string();
            assert!(!error.contains("{"), "{error}");
            error
        };
        assert!(refused(SQUARE, &[2, 4, 4]).contains("takes image[2, 2, 2], and a sample is [2, 4, 4]"));
        assert!(refused(SQUARE, &[8]).contains("a sample is [8]"));
        assert!(
            refused("image[2, 2, 2] { parameter(image[2, 2, 2]) @p }", &[2, 2, 2]).contains("no error of a sample")
        );
    }
}
