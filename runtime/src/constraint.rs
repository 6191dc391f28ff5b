//! What training does to parameters besides following gradients.

use crate::module::{AnyParam, GraphModule};
use crate::ops::normal_rows;
use archc_compiler::ir::Graph;
use archc_compiler::ops::Op;
use burn::module::Param;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// Forced weight normalisation: before each step of training, every weight of a magnitude-preserving layer is replaced
/// by its normalised self, so that it neither grows nor drowns its own updates. Karras et al., CVPR 2024, section 2.3.
pub fn force_weight_normalization<B: Backend>(graph: &Graph, module: GraphModule<B>) -> GraphModule<B> {
    let GraphModule { slots, parameters } = module;
    let forced = parameters.into_iter().zip(&graph.parameters).map(|(value, parameter)| {
        let eps = match graph.node(parameter.node).op() {
            Some(Op::MpLinear(op)) => op.eps,
            Some(Op::MpConv2d(op)) => op.eps,
            _ => return value,
        };
        match value {
            AnyParam::R2(param) => AnyParam::R2(normalized(param, eps)),
            AnyParam::R4(param) => AnyParam::R4(normalized(param, eps)),
            other => other,
        }
    });
    GraphModule { slots, parameters: forced.collect() }
}

fn normalized<B: Backend, const D: usize>(param: Param<Tensor<B, D>>, eps: f64) -> Param<Tensor<B, D>> {
    param.map(|weight| {
        let trained = weight.is_require_grad();
        let shape = weight.dims();
        let rows = shape.first().copied().unwrap_or(1);
        let inputs = shape.iter().skip(1).product::<usize>();
        let normal: Tensor<B, 2> = normal_rows(weight.detach().reshape([rows, inputs]), eps);
        normal.reshape(shape).detach().set_require_grad(trained)
    })
}
