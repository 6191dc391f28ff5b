/// In training, replaces labels by the null class with probability `rate`.
pub fn drop_label<B: Backend>(y: Tensor<B, 1, Int>, rate: f64, null: usize) -> Tensor<B, 1, Int> {
    if !B::ad_enabled(&y.device()) {
        return y;
    }
    let draw = burn::tensor::Distribution::Uniform(0.0, 1.0);
    let dropped = Tensor::<B, 1>::random(y.dims(), draw, &y.device()).lower_elem(rate);
    y.mask_fill(dropped, null as i64)
}
