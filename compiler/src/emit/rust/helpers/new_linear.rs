/// A linear layer whose weight and bias start as given.
pub fn new_linear<B: Backend>(
    config: LinearConfig,
    weight: Initializer,
    bias: Initializer,
    device: &B::Device,
) -> Linear<B> {
    let fans = (Some(config.d_input), Some(config.d_output));
    let mut layer: Linear<B> = config.init(device);
    layer.weight = weight.init_with([config.d_input, config.d_output], fans.0, fans.1, device);
    layer.bias = config.bias.then(|| bias.init_with([config.d_output], fans.0, fans.1, device));
    layer
}
