/// Real and imaginary part of the matrix that keeps the low frequencies of an axis.
fn low_frequencies(size: usize, radius: usize, half_open: bool) -> [Vec<f32>; 2] {
    let half = (size / 2) as i64;
    let last = radius as i64 - i64::from(half_open);
    let frequencies = (-half).max(-(radius as i64))..=(size as i64 - half - 1).min(last);
    let turns = |distance: i64, f: fn(f64) -> f64| {
        let angle = |frequency: i64| {
            let turn = (frequency * distance).rem_euclid(size as i64) as f64 / size as f64;
            f(2.0 * std::f64::consts::PI * turn) / size as f64
        };
        frequencies.clone().map(angle).sum::<f64>() as f32
    };
    let places = || (0..size as i64).flat_map(|to| (0..size as i64).map(move |from| to - from));
    [places().map(|distance| turns(distance, f64::cos)).collect(), places().map(|distance| turns(distance, f64::sin)).collect()]
}
