/// Multiplies frequencies of an image below a radius along both axes by `low`, all others by `high`: frequencies from
/// `-radius` to `radius`, or, half open, to `radius - 1`.
pub fn fourier<B: Backend>(x: Tensor<B, 4>, radius: usize, low: f64, high: f64, half_open: bool) -> Tensor<B, 4> {
    let [_, _, height, width] = x.dims();
    let ([rows, row_turns], [columns, column_turns]) =
        (low_frequencies(height, radius, half_open), low_frequencies(width, radius, half_open));
    let device = x.device();
    let filtered = |rows: Vec<f32>, columns: Vec<f32>| {
        let rows: Tensor<B, 2> = Tensor::from_data(TensorData::new(rows, [height, height]), &device);
        let columns: Tensor<B, 2> = Tensor::from_data(TensorData::new(columns, [width, width]), &device);
        rows.unsqueeze::<4>().matmul(x.clone()).matmul(columns.unsqueeze::<4>())
    };
    // The real part of `(A + iB) x (C + iD)^T` is `A x C^T - B x D^T`, and `D^T` is `-D`.
    let kept = filtered(rows, columns) + filtered(row_turns, column_turns);
    x * high + kept * (low - high)
}
