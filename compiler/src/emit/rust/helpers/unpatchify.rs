/// Tokens of `patch * patch * channels` numbers to an image. Within a token: row, column, channel.
pub fn unpatchify<B: Backend>(x: Tensor<B, 3>, patch: usize, height: usize, width: usize) -> Tensor<B, 4> {
    let [batch, _, numbers] = x.dims();
    let (rows, columns, channels) = (height / patch, width / patch, numbers / (patch * patch));
    let x: Tensor<B, 6> = x.reshape([batch, rows, columns, patch, patch, channels]);
    x.permute([0, 5, 1, 3, 2, 4]).reshape([batch, channels, height, width])
}
