/// A layer norm with parameters.
pub fn affine_layer_norm<B: Kernels, const D: usize>(layer: &LayerNorm<B>, x: Tensor<B, D>, eps: f64) -> Tensor<B, D> {
    let channels = x.dims()[D - 1];
    match &layer.beta {
        Some(bias) => normalize(x, [1, channels, 1], eps, Some([layer.gamma.val(), bias.val()])),
        None => layer_norm(x, eps) * layer.gamma.val().unsqueeze(),
    }
}
