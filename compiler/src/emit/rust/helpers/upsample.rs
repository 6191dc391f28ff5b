/// Each pixel `factor` times in both directions.
pub fn upsample<B: Backend>(x: Tensor<B, 4>, factor: usize) -> Tensor<B, 4> {
    let [batch, channels, height, width] = x.dims();
    let x: Tensor<B, 3> = x.reshape([batch * channels * height, width, 1]);
    let wide = x.repeat_dim(2, factor).reshape([batch * channels * height, 1, width * factor]);
    wide.repeat_dim(1, factor).reshape([batch, channels, height * factor, width * factor])
}
