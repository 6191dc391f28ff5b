/// Frequency `i` of `half = features / 2` is `max_period ^ (-i / (half - shift))`.
fn waves<B: Backend, const D: usize, const E: usize>(
    t: Tensor<B, D>,
    features: usize,
    max_period: f64,
    shift: f64,
) -> [Tensor<B, E>; 2] {
    let half = features / 2;
    let (slope, divisor) = (-max_period.ln() as f32, (half as f64 - shift) as f32);
    let frequencies: Vec<f32> = (0..half).map(|at| (slope * at as f32 / divisor).exp()).collect();
    let device = t.device();
    let frequencies: Tensor<B, 2> = Tensor::from_data(TensorData::new(frequencies, [1, half]), &device);
    let mut shape = [half; E];
    shape[..E - 1].copy_from_slice(&t.dims()[..E - 1]);
    let count = t.dims().iter().product();
    let angles = t.reshape([count, 1]) * frequencies;
    [angles.clone().cos().reshape(shape), angles.sin().reshape(shape)]
}
