/// Multi-head attention of `[batch, tokens, channels]`, the channels of a head side by side.
pub fn attention<B: Backend>(q: Tensor<B, 3>, k: Tensor<B, 3>, v: Tensor<B, 3>, heads: usize) -> Tensor<B, 3> {
    attend(q, k, v, None, heads, false)
}
