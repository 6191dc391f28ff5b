fn attend<B: Backend>(
    q: Tensor<B, 3>,
    k: Tensor<B, 3>,
    v: Tensor<B, 3>,
    bias: Option<Tensor<B, 4>>,
    heads: usize,
    is_causal: bool,
) -> Tensor<B, 3> {
    let [batch, queries, channels] = q.dims();
    let keys = k.dims()[1];
    // [batch, heads, tokens, channels of a head]
    let split = |x: Tensor<B, 3>| {
        let [batch, tokens, channels] = x.dims();
        x.reshape([batch, tokens, heads, channels / heads]).swap_dims(1, 2)
    };
    let bias = bias.map(|bias| bias.expand([batch, heads, queries, keys]));
    let options = burn::tensor::ops::AttentionModuleOptions { is_causal, ..Default::default() };
    let mixed = burn::tensor::module::attention(split(q), split(k), split(v), None, bias, options);
    mixed.swap_dims(1, 2).reshape([batch, queries, channels])
}
