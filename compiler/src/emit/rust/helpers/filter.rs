/// The square filter made of taps as a tensor `[1, 1, taps, taps]`.
pub fn filter<B: Backend>(taps: &[f64], device: &B::Device) -> Tensor<B, 4> {
    Tensor::from_data(TensorData::new(filter_values(taps), [1, 1, taps.len(), taps.len()]), device)
}
