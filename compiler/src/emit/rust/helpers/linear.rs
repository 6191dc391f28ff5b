/// A linear layer on a matrix with one row for each vector of `x`.
///
/// With a batch in front, Burn 0.21 would compute one weight gradient for each sample before it adds them up.
pub fn linear<B: Backend, const D: usize>(layer: &Linear<B>, x: Tensor<B, D>) -> Tensor<B, D> {
    let mut shape = x.dims();
    let inputs = shape[D - 1];
    let rows = x.reshape([shape.iter().product::<usize>() / inputs, inputs]);
    let y: Tensor<B, 2> = layer.forward(rows);
    shape[D - 1] = y.dims()[1];
    y.reshape(shape)
}
