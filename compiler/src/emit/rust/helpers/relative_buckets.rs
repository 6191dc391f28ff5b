/// How far each token is from each other one, as a class, query by query: half of the buckets for keys at and before the
/// query, half for those behind it; half of each for one distance, the others growing up to `max_distance`.
pub fn relative_buckets<B: Backend>(
    count: usize,
    buckets: usize,
    max_distance: usize,
    device: &B::Device,
) -> Tensor<B, 2, Int> {
    let (side, exact) = (buckets / 2, buckets / 4);
    let ratio = |distance: usize| (distance as f64 / exact as f64).ln();
    let class = |query: usize, key: usize| {
        let distance = query.abs_diff(key);
        let first = if key > query { side } else { 0 };
        let step = |distance| (ratio(distance) / ratio(max_distance) * (side - exact) as f64) as usize;
        first + if distance < exact { distance } else { (exact + step(distance)).min(side - 1) }
    };
    let classes: Vec<i64> = (0..count * count).map(|at| class(at / count, at % count) as i64).collect();
    Tensor::from_data(TensorData::new(classes, [1, count * count]), device)
}
