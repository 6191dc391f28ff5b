/// The token of each text at the first of its ids that is `id`.
pub fn end_token_of<B: Backend>(x: Tensor<B, 3>, ids: Tensor<B, 2, Int>, id: i64) -> Tensor<B, 2> {
    first_token(x, ids.equal_elem(id))
}
