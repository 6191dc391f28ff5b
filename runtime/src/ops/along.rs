//! Constant matrices along the axes of images.

use archc_compiler::ops::along::Matrix;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

/// `[batch, channels, height, width]` with every column of an image multiplied by one matrix, every row by another.
pub(super) fn along<B: Backend>(x: Tensor<B, 4>, columns: &Matrix, rows: &Matrix, device: &B::Device) -> Tensor<B, 4> {
    let [batch, channels, height, _] = x.dims();
    let maps = batch * channels;
    let wide = x.reshape([maps * height, rows.from]).matmul(transposed(rows, device));
    let turned = wide.reshape([maps, height, rows.to]).swap_dims(1, 2).reshape([maps * rows.to, height]);
    let tall = turned.matmul(transposed(columns, device)).reshape([maps, rows.to, columns.to]).swap_dims(1, 2);
    tall.reshape([batch, channels, columns.to, rows.to])
}

/// For a product from the right.
fn transposed<B: Backend>(matrix: &Matrix, device: &B::Device) -> Tensor<B, 2> {
    let values: Vec<f32> = matrix.transposed().values.into_iter().map(|value| value as f32).collect();
    Tensor::from_data(TensorData::new(values, [matrix.from, matrix.to]), device)
}
