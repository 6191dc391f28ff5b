/// In training, sets elements to zero with probability `rate` and divides the others by `1 - rate`.
pub fn dropout<B: Backend, const D: usize>(x: Tensor<B, D>, rate: f64) -> Tensor<B, D> {
    burn::nn::DropoutConfig::new(rate).init().forward(x)
}
