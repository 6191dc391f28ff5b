/// In training, sets elements to zero with probability `rate`.
pub fn drop_elements<B: Backend, const D: usize>(x: Tensor<B, D>, rate: f64) -> Tensor<B, D> {
    dropout(x, rate) * (1.0 - rate)
}
