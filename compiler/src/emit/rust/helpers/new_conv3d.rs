/// A convolution whose weight and bias start as given.
pub fn new_conv3d<B: Backend>(
    config: Conv3dConfig,
    weight: Initializer,
    bias: Initializer,
    device: &B::Device,
) -> Conv3d<B> {
    let ([inputs, outputs], [frames, height, width]) = (config.channels, config.kernel_size);
    let area = frames * height * width;
    let fans = (Some(inputs * area), Some(outputs * area));
    let mut layer: Conv3d<B> = config.init(device);
    layer.weight = weight.init_with([outputs, inputs, frames, height, width], fans.0, fans.1, device);
    layer.bias = config.bias.then(|| bias.init_with([outputs], fans.0, fans.1, device));
    layer
}
