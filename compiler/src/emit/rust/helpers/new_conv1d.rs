/// A convolution whose weight and bias start as given.
pub fn new_conv1d<B: Backend>(
    config: Conv1dConfig,
    weight: Initializer,
    bias: Initializer,
    device: &B::Device,
) -> Conv1d<B> {
    let (inputs, outputs, area) = (config.channels_in, config.channels_out, config.kernel_size);
    let fans = (Some(inputs * area), Some(outputs * area));
    let mut layer: Conv1d<B> = config.init(device);
    layer.weight = weight.init_with([outputs, inputs, area], fans.0, fans.1, device);
    layer.bias = config.bias.then(|| bias.init_with([outputs], fans.0, fans.1, device));
    layer
}
