/// A product with what has one element for some axes of `x`.
pub fn multiply<B: Kernels, const D: usize>(x: Tensor<B, D>, small: Tensor<B, D>) -> Tensor<B, D> {
    match Spread::of(&x.dims(), &small.dims()) {
        Some(spread) => tensor(B::broadcast(Binary::Multiply, spread, primitive(x), primitive(small))),
        None => x * small,
    }
}
