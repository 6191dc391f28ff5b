/// Equal parts along an axis.
pub fn chunk<B: Backend, const N: usize, const D: usize>(x: Tensor<B, D>, axis: usize) -> [Tensor<B, D>; N] {
    let size = x.dims()[axis] / N;
    std::array::from_fn(|at| x.clone().narrow(axis, at * size, size))
}
