/// Spreads pixels by `factor`, and filters every channel by itself.
pub fn resample_up<B: Backend>(x: Tensor<B, 4>, filter: Tensor<B, 4>, factor: usize, padding: usize) -> Tensor<B, 4> {
    let [batch, channels, height, width] = x.dims();
    let x = x.reshape([batch * channels, 1, height, width]);
    let options = burn::tensor::ops::ConvTransposeOptions::new([factor; 2], [padding; 2], [0, 0], [1, 1], 1);
    let y = burn::tensor::module::conv_transpose2d(x, filter * (factor * factor) as f64, None, options);
    let [_, _, height, width] = y.dims();
    y.reshape([batch, channels, height, width])
}
