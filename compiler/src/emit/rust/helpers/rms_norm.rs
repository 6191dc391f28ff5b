/// Brings the channels of each head to unit root mean square, without parameters.
pub fn rms_norm<B: Backend, const D: usize>(x: Tensor<B, D>, heads: usize, eps: f64) -> Tensor<B, D> {
    let shape = x.dims();
    let width = shape[D - 1] / heads;
    let x: Tensor<B, 2> = x.reshape([shape.iter().product::<usize>() / width, width]);
    let square = (x.clone() * x.clone()).mean_dim(1);
    (x / (square + eps).sqrt()).reshape(shape)
}
