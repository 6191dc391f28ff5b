/// A parameter with fixed values at the start.
pub fn table<B: Backend, const D: usize>(values: Vec<f32>, shape: [usize; D], device: &B::Device) -> Param<Tensor<B, D>> {
    Param::from_data(TensorData::new(values, shape), device)
}
