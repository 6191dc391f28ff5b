/// `[batch * frames, channels, height, width]` to `[batch, frames, channels, height, width]`.
pub fn to_video<B: Backend>(x: Tensor<B, 4>, frames: usize) -> Tensor<B, 5> {
    let [images, channels, height, width] = x.dims();
    x.reshape([images / frames, frames, channels, height, width])
}
