//! The parameters of a graph as a Burn module.
//!
//! Written by hand, because the fields are known only when a graph is: parameters in checkpoint order under their
//! published names. Optimisers, autodiff, records and stores see an ordinary module. Linear weights are kept as
//! `[in, out]`, which is what matrix products want, under an owner that Burn's PyTorch adapters recognise as a linear
//! layer; everything else is kept as published.

use crate::Value;
use crate::init;
use archc_compiler::ir::{Graph, ParameterId};
use archc_compiler::ops::Op;
use burn::module::{Param, ParamId};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorData, TensorMetadata, TensorPrimitive};
use std::sync::Arc;

/// A parameter of rank 1 to 5.
#[derive(Clone, Debug)]
pub enum AnyParam<B: Backend> {
    R1(Param<Tensor<B, 1>>),
    R2(Param<Tensor<B, 2>>),
    R3(Param<Tensor<B, 3>>),
    R4(Param<Tensor<B, 4>>),
    R5(Param<Tensor<B, 5>>),
}

/// The same expression for every rank.
macro_rules! each {
    ($any:expr, $param:ident => $body:expr) => {
        match $any {
            AnyParam::R1($param) => $body,
            AnyParam::R2($param) => $body,
            AnyParam::R3($param) => $body,
            AnyParam::R4($param) => $body,
            AnyParam::R5($param) => $body,
        }
    };
    (map $any:expr, $param:ident => $body:expr) => {
        match $any {
            AnyParam::R1($param) => AnyParam::R1($body),
            AnyParam::R2($param) => AnyParam::R2($body),
            AnyParam::R3($param) => AnyParam::R3($body),
            AnyParam::R4($param) => AnyParam::R4($body),
            AnyParam::R5($param) => AnyParam::R5($body),
        }
    };
}

mod joined;
mod visit;

pub use visit::GraphRecord;

impl<B: Backend> AnyParam<B> {
    /// The value, with its rank erased. Draws it if it has not been read before.
    pub fn primitive(&self) -> B::FloatTensorPrimitive {
        each!(self, param => param.val().into_primitive().tensor())
    }

    pub fn id(&self) -> ParamId {
        each!(self, param => param.id)
    }

    /// A parameter with this value.
    fn of(id: ParamId, value: B::FloatTensorPrimitive, trainable: bool) -> Self {
        Self::as_is(id, B::float_set_require_grad(value, trainable))
    }

    /// A parameter with this value, which a tape follows to where it comes from.
    pub(crate) fn as_is(id: ParamId, value: B::FloatTensorPrimitive) -> Self {
        fn param<B: Backend, const D: usize>(id: ParamId, value: B::FloatTensorPrimitive) -> Param<Tensor<B, D>> {
            Param::initialized(id, Tensor::from_primitive(TensorPrimitive::Float(value)))
        }
        match value.shape().num_dims() {
            1 => AnyParam::R1(param(id, value)),
            2 => AnyParam::R2(param(id, value)),
            3 => AnyParam::R3(param(id, value)),
            4 => AnyParam::R4(param(id, value)),
            _ => AnyParam::R5(param(id, value)),
        }
    }

    /// A parameter of that shape with these elements, in the layout of the module.
    fn initialized(id: ParamId, data: TensorData, trainable: bool, device: &B::Device) -> Self {
        fn param<B: Backend, const D: usize>(
            id: ParamId,
            data: TensorData,
            trainable: bool,
            device: &B::Device,
        ) -> Param<Tensor<B, D>> {
            Param::initialized(id, Tensor::from_data(data, device).set_require_grad(trainable))
        }
        match data.shape.len() {
            1 => AnyParam::R1(param(id, data, trainable, device)),
            2 => AnyParam::R2(param(id, data, trainable, device)),
            3 => AnyParam::R3(param(id, data, trainable, device)),
            4 => AnyParam::R4(param(id, data, trainable, device)),
            _ => AnyParam::R5(param(id, data, trainable, device)),
        }
    }

    /// A parameter that is drawn when it is first read.
    fn lazy(
        id: ParamId,
        shape: &[usize],
        trainable: bool,
        device: &B::Device,
        draw: impl Fn() -> TensorData + Send + Sync + 'static,
    ) -> Self {
        fn param<B: Backend, const D: usize>(
            id: ParamId,
            shape: &[usize],
            trainable: bool,
            device: &B::Device,
            draw: impl Fn() -> TensorData + Send + Sync + 'static,
        ) -> Param<Tensor<B, D>> {
            let init = move |device: &B::Device, require_grad: bool| {
                Tensor::from_data(draw(), device).set_require_grad(require_grad)
            };
            Param::uninitialized(id, init, device.clone(), trainable, burn::tensor::Shape::from(shape.to_vec()))
        }
        match shape.len() {
            1 => AnyParam::R1(param(id, shape, trainable, device, draw)),
            2 => AnyParam::R2(param(id, shape, trainable, device, draw)),
            3 => AnyParam::R3(param(id, shape, trainable, device, draw)),
            4 => AnyParam::R4(param(id, shape, trainable, device, draw)),
            _ => AnyParam::R5(param(id, shape, trainable, device, draw)),
        }
    }
}

/// How a parameter is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// As published.
    Plain,
    /// A linear weight, `[in, out]` instead of `[out, in]`.
    Transposed,
}

/// What is fixed about a parameter of the module.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Published name.
    pub path: String,
    /// Published shape.
    pub shape: Vec<usize>,
    pub layout: Layout,
    pub trainable: bool,
}

impl Slot {
    /// The shape in the module. A scalar has an axis of one.
    pub fn stored_shape(&self) -> Vec<usize> {
        match (self.layout, self.shape.as_slice()) {
            (Layout::Transposed, [rows, columns]) => vec![*columns, *rows],
            (_, []) => vec![1],
            (_, shape) => shape.to_vec(),
        }
    }

    /// The module that owns the parameter, in the words of Burn's adapters.
    fn owner(&self) -> &'static str {
        match self.layout {
            Layout::Transposed => "Struct:Linear",
            Layout::Plain => "Struct:Graph",
        }
    }

    /// Elements in the published layout to elements in the layout of the module.
    pub fn to_stored(&self, data: Vec<f32>) -> TensorData {
        let data = match (self.layout, self.shape.as_slice()) {
            (Layout::Transposed, [rows, columns]) => transposed(&data, *rows, *columns),
            _ => data,
        };
        TensorData::new(data, self.stored_shape())
    }

    /// The way back.
    pub fn to_published(&self, data: Vec<f32>) -> Vec<f32> {
        match (self.layout, self.shape.as_slice()) {
            (Layout::Transposed, [rows, columns]) => transposed(&data, *columns, *rows),
            _ => data,
        }
    }

    /// Stable over processes and versions: optimiser states and reductions are keyed and ordered by it.
    pub(crate) fn id(&self) -> ParamId {
        ParamId::from(init::name_hash(&self.path))
    }
}

/// Transposes `rows x columns` in tiles, so that both sides stay in the cache.
fn transposed(data: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    const TILE: usize = 32;
    let mut result = vec![0.0; data.len()];
    for row_tile in (0..rows).step_by(TILE) {
        for column_tile in (0..columns).step_by(TILE) {
            for row in row_tile..(row_tile + TILE).min(rows) {
                for column in column_tile..(column_tile + TILE).min(columns) {
                    if let (Some(to), Some(from)) =
                        (result.get_mut(column * rows + row), data.get(row * columns + column))
                    {
                        *to = *from;
                    }
                }
            }
        }
    }
    result
}

/// The slots of a graph, in checkpoint order.
pub fn slots(graph: &Graph) -> Vec<Slot> {
    let slot = |id: ParameterId| {
        let parameter = graph.parameter(id);
        let is_linear = matches!(graph.node(parameter.node).op(), Some(Op::Linear(_)));
        Slot {
            path: parameter.path.to_string(),
            shape: parameter.shape.iter().map(|size| *size as usize).collect(),
            layout: if is_linear && parameter.shape.len() == 2 { Layout::Transposed } else { Layout::Plain },
            trainable: parameter.is_trained(),
        }
    };
    graph.parameter_ids().map(slot).collect()
}

/// The parameters of a graph.
#[derive(Clone, Debug)]
pub struct GraphModule<B: Backend> {
    pub slots: Arc<Vec<Slot>>,
    pub parameters: Vec<AnyParam<B>>,
}

impl<B: Backend> GraphModule<B> {
    /// Parameters as the spec initialises them. Each is drawn when it is first read.
    pub fn init(graph: &Arc<Graph>, seed: u64, device: &B::Device) -> Self {
        let slots = Arc::new(slots(graph));
        let parameters = slots
            .iter()
            .zip(graph.parameter_ids())
            .map(|(slot, id)| {
                let (graph, own) = (graph.clone(), slot.clone());
                let draw = move || own.to_stored(init::parameter(&graph, graph.parameter(id), seed));
                AnyParam::lazy(slot.id(), &slot.stored_shape(), slot.trainable, device, draw)
            })
            .collect();
        Self { slots, parameters }
    }

    /// Parameters from elsewhere: `load` gives the elements of each in the published layout.
    pub fn load<E>(
        graph: &Graph,
        device: &B::Device,
        mut load: impl FnMut(&Slot) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        let slots = Arc::new(slots(graph));
        let parameters: Result<Vec<AnyParam<B>>, E> = slots
            .iter()
            .map(|slot| Ok(AnyParam::initialized(slot.id(), slot.to_stored(load(slot)?), slot.trainable, device)))
            .collect();
        Ok(Self { slots, parameters: parameters? })
    }

    /// A parameter with its rank erased.
    pub fn parameter(&self, id: ParameterId) -> Option<B::FloatTensorPrimitive> {
        self.parameters.get(id.index()).map(AnyParam::primitive)
    }

    /// Other values for the parameters, which nothing is learned from any more.
    pub(crate) fn each(
        self,
        mut f: impl FnMut(ParameterId, B::FloatTensorPrimitive) -> B::FloatTensorPrimitive,
    ) -> Self {
        let parameters = self.parameters.into_iter().enumerate();
        let parameter =
            |(at, own): (usize, AnyParam<B>)| AnyParam::of(own.id(), f(ParameterId(at as u32), own.primitive()), false);
        Self { parameters: parameters.map(parameter).collect(), slots: self.slots }
    }

    /// Reads every parameter once, so that none is drawn later.
    pub fn materialize(&self) {
        for parameter in &self.parameters {
            parameter.primitive();
        }
    }

    /// The elements of every parameter in the published layout.
    pub fn published(&self) -> impl Iterator<Item = (&Slot, Vec<f32>)> {
        self.slots.iter().zip(&self.parameters).map(|(slot, parameter)| {
            let host = Value::<B>::Float(parameter.primitive()).to_host();
            (slot, slot.to_published(host.to_f32()))
        })
    }

    fn map_each(self, f: impl FnMut(AnyParam<B>) -> AnyParam<B>) -> Self {
        Self { slots: self.slots, parameters: self.parameters.into_iter().map(f).collect() }
    }
}

impl<B: AutodiffBackend> GraphModule<B> {
    /// Other values for the parameters: `f` is given each with its rank erased and nobody else's, in the layout of the
    /// module, and returns what takes its place.
    pub fn updated(
        self,
        mut f: impl FnMut(&Slot, FloatTensor<B::InnerBackend>) -> FloatTensor<B::InnerBackend>,
    ) -> Self {
        fn replaced<B: AutodiffBackend, const D: usize>(
            param: Param<Tensor<B, D>>,
            trainable: bool,
            f: impl FnOnce(FloatTensor<B::InnerBackend>) -> FloatTensor<B::InnerBackend>,
        ) -> Param<Tensor<B, D>> {
            param.map(|tensor| {
                let inner = f(tensor.inner().into_primitive().tensor());
                Tensor::from_inner(Tensor::from_primitive(TensorPrimitive::Float(inner))).set_require_grad(trainable)
            })
        }
        let slots = self.slots;
        let parameters = slots
            .iter()
            .zip(self.parameters)
            .map(|(slot, parameter)| {
                each!(map parameter, param => replaced(param, slot.trainable, |inner| f(slot, inner)))
            })
            .collect();
        Self { slots, parameters }
    }

    /// Takes the gradient of every parameter that has one, by slot, in the layout of the module.
    pub fn take_gradients(&self, gradients: &mut B::Gradients) -> Vec<Option<FloatTensor<B::InnerBackend>>> {
        let of = |parameter: &AnyParam<B>| {
            each!(parameter, param => {
                let gradient = param.val().grad_remove(gradients)?;
                Some(gradient.into_primitive().tensor())
            })
        };
        self.parameters.iter().map(of).collect()
    }

    /// The gradient of every parameter that has one, in the published layout.
    pub fn gradients(&self, gradients: &B::Gradients) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let of = |(slot, parameter): (&Slot, &AnyParam<B>)| {
            let gradient = each!(parameter, param => param
                .val()
                .grad(gradients)
                .map(|gradient| Value::<B::InnerBackend>::of(gradient).to_host()))?;
            Some((slot.path.clone(), slot.shape.clone(), slot.to_published(gradient.to_f32())))
        };
        self.slots.iter().zip(&self.parameters).filter_map(of).collect()
    }
}
