/// The matrix that resizes an axis, row by row.
fn resize_weights(from: usize, to: usize) -> Vec<f32> {
    // Cubic convolution, Keys 1981.
    let cubic = |distance: f64| match distance.abs() {
        x if x <= 1.0 => (1.25 * x - 2.25) * x * x + 1.0,
        x if x < 2.0 => -0.75 * (((x - 5.0) * x + 8.0) * x - 4.0),
        _ => 0.0,
    };
    let deviation = (from as f64 / to as f64 - 1.0) / 2.0;
    let reach = if deviation > 1e-3 { (4.0 * deviation).max(3.0) as i64 / 2 } else { 0 };
    let gaussian = |offset: i64| (-0.5 * (offset as f64 / deviation.max(1e-3)).powi(2)).exp();
    let total: f64 = (-reach..=reach).map(gaussian).sum();
    let last = from as i64 - 1;
    let mut weights = vec![0.0; from * to];
    for row in 0..to {
        let place = (row as i64 * last) as f64 / (to as f64 - 1.0).max(1.0);
        for tap in -1..=2 {
            let pixel = (place.floor() as i64 + tap).clamp(0, last);
            let weight = cubic(place - place.floor() - tap as f64);
            for offset in -reach..=reach {
                // Smoothing reflects at the border.
                let seen = last - (last - (pixel + offset).abs()).abs();
                weights[row * from + seen as usize] += (weight * gaussian(offset) / total) as f32;
            }
        }
    }
    weights
}
