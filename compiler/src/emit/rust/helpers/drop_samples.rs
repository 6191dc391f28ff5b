/// In training, sets whole samples to zero with probability `rate`.
pub fn drop_samples<B: Backend, const D: usize>(x: Tensor<B, D>, rate: f64) -> Tensor<B, D> {
    drop_path(x, rate) * (1.0 - rate)
}
