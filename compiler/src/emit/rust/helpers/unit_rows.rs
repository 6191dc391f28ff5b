/// Rows of unit length, up to `eps`.
fn unit_rows<B: Backend>(weight: Tensor<B, 2>, eps: f64) -> Tensor<B, 2> {
    let inputs = weight.dims()[1];
    weight.clone() / magnitude(weight, 1, eps) / (inputs as f64).sqrt()
}
