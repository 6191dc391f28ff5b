/// A group norm with parameters.
pub fn affine_group_norm<B: Kernels, const D: usize>(layer: &GroupNorm<B>, x: Tensor<B, D>) -> Tensor<B, D> {
    let (Some(weight), Some(bias)) = (&layer.gamma, &layer.beta) else {
        return group_norm(x, layer.num_groups, layer.epsilon);
    };
    let [channels, positions] = [x.dims()[1] / layer.num_groups, x.dims().iter().skip(2).product()];
    normalize(x, [layer.num_groups, channels, positions], layer.epsilon, Some([weight.val(), bias.val()]))
}
