//! Measuring speed and memory.

use crate::adamw::{AdamW, Moments};
use crate::execute::{Mode, Unobserved, execute};
use crate::kernels::Tape;
use crate::module::GraphModule;
use crate::plan::{Bindings, Plan};
use crate::value::Value;
use crate::{HostTensor, RunError};
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor};
use std::time::{Duration, Instant};

/// Fixes how many threads the kernels use; only before the first of them runs.
pub fn use_threads(count: usize) -> Result<(), RunError> {
    let built = rayon::ThreadPoolBuilder::new().num_threads(count).build_global();
    built.map_err(|error| RunError::Unsupported(format!("the number of threads cannot be set: {error}")))
}

/// Most bytes that this process has had in memory at once, where the system tells.
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Floating-point operations per second of a large matrix product in f32, the best of some: what a model could reach.
pub(crate) fn matmul_ceiling<B: Backend>(device: &B::Device) -> f64 {
    const SIZE: usize = 1024;
    const RUNS: usize = 8;
    let draw = || Tensor::<B, 2>::random([SIZE, SIZE], Distribution::Uniform(-1.0, 1.0), device);
    let (a, b) = (draw(), draw());
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        let start = Instant::now();
        let product = a.clone().matmul(b.clone());
        // Reading an element waits for the device.
        let _ = product.slice([0..1, 0..1]).into_data();
        best = best.min(start.elapsed());
    }
    2.0 * (SIZE as f64).powi(3) / best.as_secs_f64()
}

/// Times of training steps, and what they make of the parameters: a forward pass, the gradients of the mean square of the
/// main output, a step of AdamW.
pub(crate) fn training_steps<A: Tape>(
    plan: &Plan,
    mut module: GraphModule<A>,
    inputs: &[HostTensor],
    bindings: &Bindings,
    device: &A::Device,
    count: usize,
) -> (Vec<Duration>, GraphModule<A>) {
    let mut moments = Moments::default();
    let mut times = vec![];
    for step in 0..count {
        let start = Instant::now();
        let values = inputs.iter().map(|input| Value::<A>::from_host(input, device)).collect();
        let mode = Mode::Training { seed: 0, step: step as u64 };
        let outputs = execute(plan, &module, values, bindings, mode, device, Unobserved);
        let Some(main) = outputs.into_iter().next() else { break };
        let elements = main.shape().iter().product();
        let flat: Tensor<A, 1> = main.reshape([elements]);
        let loss = (flat.clone() * flat).mean();
        let gradients = module.take_gradients(&mut loss.backward());
        module = AdamW::default().step(&mut moments, module, gradients, 1e-4, |_| true);
        // The last parameter waits for the device.
        if let Some(parameter) = module.parameters.last() {
            let _ = Value::<A>::Float(parameter.primitive()).to_host();
        }
        times.push(start.elapsed());
    }
    (times, module)
}
