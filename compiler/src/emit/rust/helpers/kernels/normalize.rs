/// Normalises groups of channels, each with its positions, and scales and shifts them by channel.
fn normalize<B: Kernels, const D: usize>(
    x: Tensor<B, D>,
    [groups, channels, positions]: [usize; 3],
    eps: f64,
    affine: Option<[Tensor<B, 1>; 2]>,
) -> Tensor<B, D> {
    let rows = Rows { groups, channels, positions, eps, centred: true, silu: false };
    let affine = affine.map(|[weight, bias]| (primitive(weight), primitive(bias)));
    tensor(B::normalize(rows, primitive(x), affine))
}
