/// The numbers 0, 1, .. as one token each.
pub fn indices<B: Backend>(count: usize, device: &B::Device) -> Tensor<B, 3> {
    Tensor::<B, 1, Int>::arange(0..count as i64, device).float().reshape([1, count, 1])
}
