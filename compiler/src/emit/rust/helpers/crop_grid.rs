/// The middle `height` x `width` of the tokens of a square grid.
pub fn crop_grid<B: Backend>(x: Tensor<B, 3>, height: usize, width: usize) -> Tensor<B, 3> {
    let [batch, tokens, channels] = x.dims();
    let side = tokens.isqrt();
    let x: Tensor<B, 4> = x.reshape([batch, side, side, channels]);
    let middle = x.narrow(1, (side - height) / 2, height).narrow(2, (side - width) / 2, width);
    middle.reshape([batch, height * width, channels])
}
