/// Sine-cosine positions of a grid as one token for each cell.
pub fn sincos_grid<B: Backend>(
    [height, width]: [usize; 2],
    channels: usize,
    base: Option<f64>,
    scale: f64,
    device: &B::Device,
) -> Tensor<B, 3> {
    let values = sincos_values(height, width, channels, base, scale);
    Tensor::from_data(TensorData::new(values, [1, height * width, channels]), device)
}
