/// Multi-head attention; `bias [batch, heads, queries, keys]` is added to the scores. Its axes but the last may be one.
pub fn biased_attention<B: Backend>(
    q: Tensor<B, 3>,
    k: Tensor<B, 3>,
    v: Tensor<B, 3>,
    bias: Tensor<B, 4>,
    heads: usize,
    is_causal: bool,
) -> Tensor<B, 3> {
    attend(q, k, v, Some(bias), heads, is_causal)
}
