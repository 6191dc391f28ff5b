/// Normalises groups of channels, the second axis, to zero mean and unit variance, without parameters.
pub fn group_norm<B: Backend, const D: usize>(x: Tensor<B, D>, groups: usize, eps: f64) -> Tensor<B, D> {
    let shape = x.dims();
    let rows = shape[0] * groups;
    let x: Tensor<B, 2> = x.reshape([rows, shape.iter().product::<usize>() / rows]);
    layer_norm(x, eps).reshape(shape)
}
