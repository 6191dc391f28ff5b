/// Normalises groups of channels, the second axis, to zero mean and unit variance, without parameters.
pub fn group_norm<B: Kernels, const D: usize>(x: Tensor<B, D>, groups: usize, eps: f64) -> Tensor<B, D> {
    let [channels, positions] = [x.dims()[1] / groups, x.dims().iter().skip(2).product()];
    normalize(x, [groups, channels, positions], eps, None)
}
