/// A function of each element.
pub fn activation<B: Kernels, const D: usize>(x: Tensor<B, D>, function: Function) -> Tensor<B, D> {
    tensor(B::activation(function, primitive(x)))
}
