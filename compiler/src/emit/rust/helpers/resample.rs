/// Filters every channel by itself, and keeps every `factor`-th pixel.
pub fn resample<B: Backend>(x: Tensor<B, 4>, filter: Tensor<B, 4>, factor: usize, padding: usize) -> Tensor<B, 4> {
    let [batch, channels, height, width] = x.dims();
    let x = x.reshape([batch * channels, 1, height, width]);
    let options = burn::tensor::ops::ConvOptions::new([factor; 2], [padding; 2], [1, 1], 1);
    let y = burn::tensor::module::conv2d(x, filter, None, options);
    let [_, _, height, width] = y.dims();
    y.reshape([batch, channels, height, width])
}
