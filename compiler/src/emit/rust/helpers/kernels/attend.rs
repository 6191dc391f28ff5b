fn attend<B: Kernels>(
    q: Tensor<B, 3>,
    k: Tensor<B, 3>,
    v: Tensor<B, 3>,
    bias: Option<Tensor<B, 4>>,
    heads: usize,
    is_causal: bool,
) -> Tensor<B, 3> {
    let heads = Heads { heads, causal: is_causal };
    tensor(B::attend(heads, primitive(q), primitive(k), primitive(v), bias.map(primitive)))
}
