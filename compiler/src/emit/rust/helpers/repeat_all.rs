/// All entries of the batch, one after the other, as often as makes it `batch` long.
pub fn repeat_all<B: Backend, const D: usize>(x: Tensor<B, D>, batch: usize) -> Tensor<B, D> {
    let own = x.dims()[0];
    x.repeat_dim(0, batch / own)
}
