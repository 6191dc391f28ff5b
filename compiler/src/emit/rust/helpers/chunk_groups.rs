/// The equal parts of each of several groups that an axis consists of, the first parts side by side, then the second ones.
pub fn chunk_groups<B: Backend, const N: usize, const D: usize>(
    x: Tensor<B, D>,
    axis: usize,
    groups: usize,
) -> [Tensor<B, D>; N] {
    let size = x.dims()[axis] / groups / N;
    std::array::from_fn(|at| slice_groups(x.clone(), axis, groups, [at * size, size]))
}
