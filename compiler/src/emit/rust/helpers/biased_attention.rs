/// Multi-head attention; `bias [batch, keys]` is added to what every query scores for a key.
pub fn biased_attention<B: Backend>(
    q: Tensor<B, 3>,
    k: Tensor<B, 3>,
    v: Tensor<B, 3>,
    bias: Tensor<B, 2>,
    heads: usize,
) -> Tensor<B, 3> {
    attend(q, k, v, Some(bias), heads, false)
}
