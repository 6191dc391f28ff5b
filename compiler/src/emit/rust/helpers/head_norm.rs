/// A norm of each head by itself, with one weight for all heads.
pub fn head_norm<B: Backend, const D: usize>(norm: &RmsNorm<B>, x: Tensor<B, D>, heads: usize) -> Tensor<B, D> {
    let shape = x.dims();
    let width = shape[D - 1] / heads;
    let x: Tensor<B, 2> = x.reshape([shape.iter().product::<usize>() / width, width]);
    norm.forward(x).reshape(shape)
}
