/// In training, sets whole samples to zero with probability `rate` and divides the others by `1 - rate`.
pub fn drop_path<B: Backend, const D: usize>(x: Tensor<B, D>, rate: f64) -> Tensor<B, D> {
    let mut shape = [1; D];
    shape[0] = x.dims()[0];
    let keep = dropout(Tensor::ones(shape, &x.device()), rate);
    x * keep
}
