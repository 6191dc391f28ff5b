//! Training on GPUs: one, or several of one machine, whose gradients NCCL sums through Burn.

use super::learner::Trainer;
use super::perceptual::Perceptual;
use super::recipe::Recipe;
use crate::error::RunError;
use archc_compiler::ir::Graph;
use std::sync::Arc;

#[cfg(not(feature = "cuda"))]
pub(super) fn open(
    _: &Arc<Graph>,
    _: &Recipe,
    _: Option<&Perceptual>,
    _: &[usize],
) -> Result<Box<dyn Trainer>, RunError> {
    Err(crate::session::without_cuda())
}

#[cfg(feature = "cuda")]
pub(super) use with_gpus::open;

#[cfg(feature = "cuda")]
mod with_gpus {
    use super::super::learner::Learner;
    use super::super::replicas::{End, Exchange, Replicas};
    use super::*;
    use crate::cuda::{prepare, prepare_several};
    use crate::kernels::Cuda;
    use crate::value::Value;
    use burn::backend::Autodiff;
    use burn::backend::cuda::CudaDevice;
    use burn::tensor::Tensor;
    use burn::tensor::backend::{Backend, DeviceId, DeviceOps};
    use burn_backend::distributed::{CollectiveTensor, DistributedBackend, ReduceOperation};

    type OnTape = Autodiff<Cuda>;

    pub fn open(
        graph: &Arc<Graph>,
        recipe: &Recipe,
        perceptual: Option<&Perceptual>,
        numbers: &[usize],
    ) -> Result<Box<dyn Trainer>, RunError> {
        prepare()?;
        let there = Cuda::device_count(CudaDevice::default().id().type_id);
        if let Some(number) = numbers.iter().find(|number| **number >= there) {
            return Err(RunError::Device(format!(
                "there is no GPU {number}: this machine has {there}, counted from 0"
            )));
        }
        let devices: Vec<CudaDevice> = numbers.iter().map(|number| CudaDevice::new(*number)).collect();
        if let [] | [_] = &*devices {
            let device = devices.into_iter().next().unwrap_or_default();
            return Ok(Box::new(Learner::<OnTape>::new(graph, recipe, perceptual, device)?));
        }
        prepare_several()?;
        let ids: Vec<DeviceId> = devices.iter().map(DeviceOps::id).collect();
        let opening = |device: CudaDevice| {
            let (graph, recipe, perceptual) = (graph.clone(), recipe.clone(), perceptual.cloned());
            let exchange: End<OnTape> = Box::new(Nccl { devices: ids.clone() });
            (move || Learner::<OnTape>::new(&graph, &recipe, perceptual.as_ref(), device), exchange)
        };
        Ok(Box::new(Replicas::open(devices.into_iter().map(opening).collect())?))
    }

    /// Sums by NVIDIA's collectives.
    struct Nccl {
        devices: Vec<DeviceId>,
    }

    impl Exchange<Cuda> for Nccl {
        fn sum(&mut self, tensors: Vec<Tensor<Cuda, 1>>) -> Vec<Tensor<Cuda, 1>> {
            // All of them are on their way before the first is waited for.
            let send = |tensor: Tensor<Cuda, 1>| {
                Cuda::all_reduce(tensor.into_primitive().tensor(), ReduceOperation::Sum, self.devices.clone())
            };
            let sent: Vec<CollectiveTensor<Cuda>> = tensors.into_iter().map(send).collect();
            sent.into_iter().map(|sum| Value::Float(sum.resolve()).tensor()).collect()
        }
    }
}
