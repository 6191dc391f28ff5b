/// Normalises the last axis to zero mean and unit variance, without parameters.
pub fn layer_norm<B: Kernels, const D: usize>(x: Tensor<B, D>, eps: f64) -> Tensor<B, D> {
    let channels = x.dims()[D - 1];
    normalize(x, [1, channels, 1], eps, None)
}
