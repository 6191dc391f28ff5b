/// Cosines, then sines, of numbers at geometrically spaced frequencies: `[.., numbers]` to `[.., numbers, features]`, or one
/// number for each token to `features` of it.
pub fn sinusoid<B: Backend, const D: usize, const E: usize>(
    t: Tensor<B, D>,
    features: usize,
    max_period: f64,
    shift: f64,
) -> Tensor<B, E> {
    let [cosines, sines] = waves(t, features, max_period, shift);
    Tensor::cat(vec![cosines, sines], E - 1)
}
