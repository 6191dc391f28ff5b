/// Every entry of the batch as often as makes it `batch` long, in place.
pub fn repeat_each<B: Backend, const D: usize>(x: Tensor<B, D>, batch: usize) -> Tensor<B, D> {
    let mut shape = x.dims();
    let (own, rest) = (shape[0], shape[1..].iter().product::<usize>());
    let x: Tensor<B, 3> = x.reshape([own, 1, rest]);
    shape[0] = batch;
    x.repeat_dim(1, batch / own).reshape(shape)
}
