/// Softmax over all axes from `axis` on.
pub fn softmax_positions<B: Backend, const D: usize>(x: Tensor<B, D>, axis: usize) -> Tensor<B, D> {
    let shape = x.dims();
    let x: Tensor<B, 2> = x.reshape([shape[..axis].iter().product(), shape[axis..].iter().product::<usize>()]);
    burn::tensor::activation::softmax(x, 1).reshape(shape)
}
