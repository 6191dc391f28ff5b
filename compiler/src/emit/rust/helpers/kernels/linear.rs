/// A linear layer on a matrix with one row for each vector of `x`.
pub fn linear<B: Kernels, const D: usize>(layer: &Linear<B>, x: Tensor<B, D>) -> Tensor<B, D> {
    let mut shape = x.dims();
    let inputs = shape[D - 1];
    let rows: Tensor<B, 2> = x.reshape([shape.iter().product::<usize>() / inputs, inputs]);
    let bias = layer.bias.as_ref().map(|bias| primitive(bias.val()));
    let y: Tensor<B, 2> = tensor(B::affine(primitive(rows), primitive(layer.weight.val()), bias));
    shape[D - 1] = y.dims()[1];
    y.reshape(shape)
}
