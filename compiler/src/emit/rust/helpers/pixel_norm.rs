/// Divides each group of channels, at each position by itself, by `eps` plus its root mean square.
pub fn pixel_norm<B: Backend, const D: usize>(x: Tensor<B, D>, axis: usize, groups: usize, eps: f64) -> Tensor<B, D> {
    let shape = x.dims();
    let before: usize = shape[..axis].iter().product();
    let after: usize = shape[axis + 1..].iter().product();
    let x: Tensor<B, 3> = x.reshape([before * groups, shape[axis] / groups, after]);
    (x.clone() / magnitude(x, 1, eps)).reshape(shape)
}
