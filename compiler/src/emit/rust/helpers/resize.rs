/// Bicubic resizing, corners on corners; an axis that shrinks is smoothed by a Gaussian first.
pub fn resize<B: Backend>(x: Tensor<B, 4>, height: usize, width: usize) -> Tensor<B, 4> {
    let [_, _, rows, columns] = x.dims();
    let device = x.device();
    let weights = |from: usize, to: usize| -> Tensor<B, 4> {
        Tensor::<B, 2>::from_data(TensorData::new(resize_weights(from, to), [to, from]), &device).unsqueeze()
    };
    weights(rows, height).matmul(x).matmul(weights(columns, width).swap_dims(2, 3))
}
