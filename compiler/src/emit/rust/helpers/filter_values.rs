/// The square filter made of taps: their outer product, divided by its sum.
pub fn filter_values(taps: &[f64]) -> Vec<f32> {
    let sum: f64 = taps.iter().sum();
    taps.iter().flat_map(|row| taps.iter().map(move |column| (row * column / (sum * sum)) as f32)).collect()
}
