/// The token of each text at the first of its largest ids.
pub fn end_token<B: Backend>(x: Tensor<B, 3>, ids: Tensor<B, 2, Int>) -> Tensor<B, 2> {
    let largest = ids.clone().max_dim(1);
    first_token(x, ids.equal(largest))
}
