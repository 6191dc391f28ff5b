/// The tanh form of GELU, as `x * sigmoid(2 u)` with `u = sqrt(2 / pi) (x + 0.044715 x^3)`: the same function in fewer passes
/// over memory.
pub fn gelu_tanh<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    let twice = 2.0 * (2.0 / std::f64::consts::PI).sqrt();
    let inner = x.clone() * x.clone() * (0.044715 * twice) + twice;
    x.clone() * burn::tensor::activation::sigmoid(x * inner)
}
