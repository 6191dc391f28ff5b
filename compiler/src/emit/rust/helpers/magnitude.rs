/// `eps` plus the root mean square along an axis. The tiny summand keeps the slope of the root finite at zero.
fn magnitude<B: Backend, const D: usize>(x: Tensor<B, D>, axis: usize, eps: f64) -> Tensor<B, D> {
    ((x.clone() * x).mean_dim(axis) + 1e-30).sqrt() + eps
}
