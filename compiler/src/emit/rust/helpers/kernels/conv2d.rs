/// A convolution.
pub fn conv2d<B: Kernels>(layer: &Conv2d<B>, x: Tensor<B, 4>) -> Tensor<B, 4> {
    let padding = match layer.padding {
        PaddingConfig2d::Explicit(top, left, bottom, right) => [top, left, bottom, right],
        PaddingConfig2d::Valid | PaddingConfig2d::Same => [0; 4],
    };
    let window = Window { stride: layer.stride, padding };
    let bias = layer.bias.as_ref().map(|bias| primitive(bias.val()));
    tensor(B::convolve(window, primitive(x), primitive(layer.weight.val()), bias))
}
