/// A linear map whose rows are brought to unit length at each use. Karras et al. 2024.
#[derive(Module, Debug)]
pub struct MpLinear<B: Backend> {
    /// `[features, channels]`
    pub weight: Param<Tensor<B, 2>>,
    pub eps: f64,
}

impl<B: Backend> MpLinear<B> {
    pub fn new([inputs, outputs]: [usize; 2], eps: f64, weight: Initializer, device: &B::Device) -> Self {
        let weight = weight.init_with([outputs, inputs], Some(inputs), Some(outputs), device);
        Self { weight, eps }
    }

    pub fn forward<const D: usize>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        let mut shape = x.dims();
        let inputs = shape[D - 1];
        let x: Tensor<B, 2> = x.reshape([shape.iter().product::<usize>() / inputs, inputs]);
        let y = x.matmul(unit_rows(self.weight.val(), self.eps).transpose());
        shape[D - 1] = y.dims()[1];
        y.reshape(shape)
    }
}
