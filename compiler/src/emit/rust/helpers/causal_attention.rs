/// Multi-head attention in which a token sees itself and the tokens before it.
pub fn causal_attention<B: Backend>(q: Tensor<B, 3>, k: Tensor<B, 3>, v: Tensor<B, 3>, heads: usize) -> Tensor<B, 3> {
    attend(q, k, v, None, heads, true)
}
