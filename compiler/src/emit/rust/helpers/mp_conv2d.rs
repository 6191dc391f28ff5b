/// A convolution whose filters are brought to unit length at each use. Karras et al. 2024.
#[derive(Module, Debug)]
pub struct MpConv2d<B: Backend> {
    /// `[features, channels, height, width]`
    pub weight: Param<Tensor<B, 4>>,
    pub eps: f64,
}

impl<B: Backend> MpConv2d<B> {
    pub fn new(
        [inputs, outputs]: [usize; 2],
        [height, width]: [usize; 2],
        eps: f64,
        weight: Initializer,
        device: &B::Device,
    ) -> Self {
        let area = height * width;
        let shape = [outputs, inputs, height, width];
        let weight = weight.init_with(shape, Some(inputs * area), Some(outputs * area), device);
        Self { weight, eps }
    }

    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let [outputs, inputs, height, width] = self.weight.dims();
        let rows: Tensor<B, 2> = self.weight.val().reshape([outputs, inputs * height * width]);
        let weight = unit_rows(rows, self.eps).reshape([outputs, inputs, height, width]);
        let padding = [(height - 1) / 2, (width - 1) / 2];
        let options = burn::tensor::ops::ConvOptions::new([1, 1], padding, [1, 1], 1);
        burn::tensor::module::conv2d(x, weight, None, options)
    }
}
