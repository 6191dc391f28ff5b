/// Means of windows of `factor` x `factor` pixels.
pub fn average_pool<B: Backend>(x: Tensor<B, 4>, factor: usize) -> Tensor<B, 4> {
    let [batch, channels, height, width] = x.dims();
    let (rows, columns) = (height / factor, width / factor);
    let x: Tensor<B, 3> = x.reshape([batch * channels * height, columns, factor]);
    let x: Tensor<B, 3> = x.mean_dim(2).reshape([batch * channels * rows, factor, columns]);
    x.mean_dim(1).reshape([batch, channels, rows, columns])
}
