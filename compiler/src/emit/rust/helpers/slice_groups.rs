/// The same part of each of several groups that an axis consists of.
pub fn slice_groups<B: Backend, const D: usize>(
    x: Tensor<B, D>,
    axis: usize,
    groups: usize,
    [start, size]: [usize; 2],
) -> Tensor<B, D> {
    let mut shape = x.dims();
    let before: usize = shape[..axis].iter().product();
    let after: usize = shape[axis + 1..].iter().product();
    let x: Tensor<B, 4> = x.reshape([before, groups, shape[axis] / groups, after]);
    shape[axis] = groups * size;
    x.narrow(2, start, size).reshape(shape)
}
