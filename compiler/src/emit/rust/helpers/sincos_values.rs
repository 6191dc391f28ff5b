/// Sine-cosine positions of a grid, token by token, row by row. The first half of the channels encodes the column.
/// Positions are `index * base / size`, or indices without a `base`, divided by `scale`.
pub fn sincos_values(height: usize, width: usize, channels: usize, base: Option<f64>, scale: f64) -> Vec<f32> {
    let position = |index: usize, size: usize| {
        let step = base.map_or(1.0, |base| size as f64 / base);
        index as f32 / step as f32 / scale as f32
    };
    let half = channels / 2;
    let quarter = (half / 2).max(1);
    let value = |token: usize, channel: usize| {
        let (position, at) = if channel < half {
            (position(token % width, width), channel)
        } else {
            (position(token / width, height), channel - half)
        };
        let angle = f64::from(position) / 10_000_f64.powf((at % quarter) as f64 / quarter as f64);
        (if at < quarter { angle.sin() } else { angle.cos() }) as f32
    };
    (0..height * width * channels).map(|at| value(at / channels, at % channels)).collect()
}
