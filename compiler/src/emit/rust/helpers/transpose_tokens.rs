/// `[batch * folds, tokens, channels]` to `[batch * tokens, folds, channels]`.
pub fn transpose_tokens<B: Backend>(x: Tensor<B, 3>, folds: usize) -> Tensor<B, 3> {
    let [rows, tokens, channels] = x.dims();
    let x: Tensor<B, 4> = x.reshape([rows / folds, folds, tokens, channels]);
    x.swap_dims(1, 2).reshape([rows / folds * tokens, folds, channels])
}
