/// `[batch, tokens, channels]` to `[batch, channels, height, width]`.
pub fn to_image<B: Backend>(x: Tensor<B, 3>, height: usize, width: usize) -> Tensor<B, 4> {
    let [batch, _, channels] = x.dims();
    x.swap_dims(1, 2).reshape([batch, channels, height, width])
}
