/// A convolution whose weight and bias start as given.
pub fn new_conv2d<B: Backend>(
    config: Conv2dConfig,
    weight: Initializer,
    bias: Initializer,
    device: &B::Device,
) -> Conv2d<B> {
    let ([inputs, outputs], [height, width]) = (config.channels, config.kernel_size);
    let fans = (Some(inputs * height * width), Some(outputs * height * width));
    let mut layer: Conv2d<B> = config.init(device);
    layer.weight = weight.init_with([outputs, inputs, height, width], fans.0, fans.1, device);
    layer.bias = config.bias.then(|| bias.init_with([outputs], fans.0, fans.1, device));
    layer
}
