//! The parameters of a graph as a Burn module.
//!
//! Written by hand, because the fields are known only when a graph is: parameters in checkpoint order under their
//! published names. Optimisers, autodiff, records and stores see an ordinary module. Linear weights are kept as
//! `[in, out]`, which is what matrix products want, under an owner that Burn's PyTorch adapters recognise as a linear
//! layer; everything else is kept as published.

use crate::Value;
use crate::fold::Divisors;
use crate::init;
use crate::kernels::Kernels;
use archc_compiler::ir::{Graph, ParameterId};
use archc_compiler::ops::Op;
use archc_compiler::passes::Optimized;
use burn::module::{AutodiffModule, Devices, HasAutodiffModule, Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::record::{PrecisionSettings, Record};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Slice, Tensor, TensorData, TensorMetadata, TensorPrimitive};
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

impl<B: Kernels> GraphModule<B> {
    /// Parameters from elsewhere, for a graph and for the same graph optimised: what is one parameter there is in memory
    /// once, and the parameters of the graph as it is are parts of it. Each is let go of when it has been copied. What has
    /// been folded is the only one in memory too: the parameter that it was is made of it, but for rounding, when it is
    /// first read.
    pub fn load_both<E>(
        graph: &Graph,
        optimized: &Optimized,
        device: &B::Device,
        mut load: impl FnMut(&Slot) -> Result<Vec<f32>, E>,
    ) -> Result<(Self, Self), E> {
        let slots = Arc::new(slots(graph));
        let optimized_slots = Arc::new(self::slots(&optimized.graph));
        let held = held(&slots, &optimized_slots, optimized);
        let mut joints = joints(&held, &optimized_slots, optimized);
        let mut parameters = Vec::with_capacity(slots.len());
        let mut folded = vec![];
        for (at, (slot, held)) in slots.iter().zip(&held).enumerate() {
            let mut data = load(slot)?;
            if let Some(fold) = optimized.folds.get(&ParameterId(at as u32)) {
                folded.push((at, Divisors::of(*fold, &slot.shape, &mut data)));
            }
            let own = AnyParam::initialized(slot.id(), held.to_stored(data), slot.trainable, device);
            let found = joints.iter_mut().find_map(|joint| joint.start_of(at).map(|start| (joint, start)));
            let Some((joint, start)) = found else {
                parameters.push(own);
                continue;
            };
            let part = own.primitive();
            parameters.push(AnyParam::of(slot.id(), B::room([1].into(), &part), false));
            let room = joint.whole.take().unwrap_or_else(|| B::room(joint.shape.clone().into(), &part));
            joint.whole = Some(B::write_part(room, part, joint.axis, start));
        }
        for joint in &joints {
            for (id, start, size) in &joint.parts {
                if let (Some(slot), Some(own), Some(whole)) = (slots.get(*id), parameters.get_mut(*id), &joint.whole) {
                    let part = B::float_slice(whole.clone(), &joint.range(*start, *size));
                    *own = AnyParam::of(slot.id(), part, slot.trainable);
                }
            }
        }
        let mut wholes = joints.into_iter();
        let joined = optimized_slots.iter().zip(&optimized.parameters).filter_map(|(slot, sources)| match &**sources {
            [one] => parameters.get(one.index()).cloned(),
            _ => Some(AnyParam::of(slot.id(), wholes.next()?.whole?, slot.trainable)),
        });
        let joined = Self { parameters: joined.collect(), slots: optimized_slots };
        for (at, divisors) in folded {
            if let (Some(slot), Some(held), Some(own)) = (slots.get(at), held.get(at), parameters.get_mut(at)) {
                *own = unfolded(own.primitive(), (slot, held), divisors, device);
            }
        }
        Ok((Self { slots, parameters }, joined))
    }
}

/// Slots of a graph's parameters, in the layout in which the optimised graph's hold them.
fn held(own: &[Slot], optimized_slots: &[Slot], optimized: &Optimized) -> Vec<Slot> {
    let mut held = own.to_vec();
    for (slot, sources) in optimized_slots.iter().zip(&optimized.parameters) {
        for id in sources {
            if let Some(held) = held.get_mut(id.index()) {
                held.layout = slot.layout;
            }
        }
    }
    held
}

/// The parameter that a folded one was, made when it is first read.
fn unfolded<B: Backend>(
    folded: B::FloatTensorPrimitive,
    (slot, held): (&Slot, &Slot),
    divisors: Divisors,
    device: &B::Device,
) -> AnyParam<B> {
    let (own, held) = (slot.clone(), held.clone());
    let draw = move || {
        let mut data = held.to_published(Value::<B>::Float(folded.clone()).to_host().to_f32());
        divisors.undo(&mut data);
        own.to_stored(data)
    };
    AnyParam::lazy(slot.id(), &slot.stored_shape(), slot.trainable, device, draw)
}

/// Parameters that are one in an optimised graph.
struct Joint<P> {
    /// Shape of the whole in the layout of the module.
    shape: Vec<usize>,
    /// Along which the parts lie behind each other.
    axis: usize,
    /// The places of the parts among the slots, where each starts, and its size.
    parts: Vec<(usize, usize, usize)>,
    whole: Option<P>,
}

impl<P> Joint<P> {
    fn start_of(&self, slot: usize) -> Option<usize> {
        self.parts.iter().find(|(own, _, _)| *own == slot).map(|(_, start, _)| *start)
    }

    /// The part of the whole that starts there.
    fn range(&self, start: usize, size: usize) -> Vec<Slice> {
        let whole = |(at, own): (usize, &usize)| if at == self.axis { start..start + size } else { 0..*own };
        self.shape.iter().enumerate().map(whole).map(Slice::from).collect()
    }
}

/// What is joined, in the order of the optimised graph's parameters.
fn joints<P>(own: &[Slot], optimized_slots: &[Slot], optimized: &Optimized) -> Vec<Joint<P>> {
    let several = optimized_slots.iter().zip(&optimized.parameters).filter(|(_, held)| held.len() > 1);
    let joint = |(slot, held): (&Slot, &Vec<ParameterId>)| {
        // The first axis of the published layout.
        let axis = if slot.layout == Layout::Transposed { 1 } else { 0 };
        let mut start = 0;
        let part = |id: &ParameterId| {
            let size = own.get(id.index()).and_then(|slot| slot.stored_shape().get(axis).copied()).unwrap_or(0);
            start += size;
            (id.index(), start - size, size)
        };
        Joint { shape: slot.stored_shape(), axis, parts: held.iter().map(part).collect(), whole: None }
    };
    several.map(joint).collect()
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

/// The names on the way to a parameter, with the kind of container each stands in.
fn segments(slot: &Slot) -> Vec<(&str, &'static str)> {
    let parts: Vec<&str> = slot.path.split('.').collect();
    let last = parts.len() - 1;
    parts
        .into_iter()
        .enumerate()
        .map(|(at, name)| {
            let container = if at == last {
                slot.owner()
            } else if name.bytes().all(|byte| byte.is_ascii_digit()) {
                "Vec"
            } else {
                "Struct:Graph"
            };
            (name, container)
        })
        .collect()
}

impl<B: Backend> Module<B> for GraphModule<B> {
    type Record = GraphRecord<B>;

    fn collect_devices(&self, mut devices: Devices<B>) -> Devices<B> {
        for parameter in &self.parameters {
            let device = each!(parameter, param => param.lazy_device());
            if !devices.contains(&device) {
                devices.push(device);
            }
        }
        devices
    }

    fn fork(self, device: &B::Device) -> Self {
        self.map_each(|parameter| each!(map parameter, param => Module::<B>::fork(param, device)))
    }

    fn to_device(self, device: &B::Device) -> Self {
        self.map_each(|parameter| each!(map parameter, param => Module::<B>::to_device(param, device)))
    }

    fn visit<V: ModuleVisitor<B>>(&self, visitor: &mut V) {
        for (slot, parameter) in self.slots.iter().zip(&self.parameters) {
            let segments = segments(slot);
            for (name, container) in &segments {
                visitor.enter_module(name, container);
            }
            each!(parameter, param => visitor.visit_float(param));
            for (name, container) in segments.iter().rev() {
                visitor.exit_module(name, container);
            }
        }
    }

    fn map<M: ModuleMapper<B>>(self, mapper: &mut M) -> Self {
        let slots = self.slots;
        let parameters = slots
            .iter()
            .zip(self.parameters)
            .map(|(slot, parameter)| {
                let segments = segments(slot);
                for (name, container) in &segments {
                    mapper.enter_module(name, container);
                }
                let mapped = each!(map parameter, param => mapper.map_float(param));
                for (name, container) in segments.iter().rev() {
                    mapper.exit_module(name, container);
                }
                mapped
            })
            .collect();
        Self { slots, parameters }
    }

    fn load_record(self, record: Self::Record) -> Self {
        // A record of another graph leaves what does not fit as it was; `weights` is the strict way.
        let mut entries: std::collections::BTreeMap<String, AnyParam<B>> = record.entries.into_iter().collect();
        let slots = self.slots;
        let parameters = slots
            .iter()
            .zip(self.parameters)
            .map(|(slot, parameter)| match (parameter, entries.remove(&slot.path)) {
                (AnyParam::R1(param), Some(AnyParam::R1(entry))) => AnyParam::R1(param.load_record(entry)),
                (AnyParam::R2(param), Some(AnyParam::R2(entry))) => AnyParam::R2(param.load_record(entry)),
                (AnyParam::R3(param), Some(AnyParam::R3(entry))) => AnyParam::R3(param.load_record(entry)),
                (AnyParam::R4(param), Some(AnyParam::R4(entry))) => AnyParam::R4(param.load_record(entry)),
                (AnyParam::R5(param), Some(AnyParam::R5(entry))) => AnyParam::R5(param.load_record(entry)),
                (parameter, _) => parameter,
            })
            .collect();
        Self { slots, parameters }
    }

    fn into_record(self) -> Self::Record {
        let entry = |(slot, parameter): (&Slot, AnyParam<B>)| {
            (slot.path.clone(), each!(map parameter, param => param.into_record()))
        };
        GraphRecord { entries: self.slots.iter().zip(self.parameters).map(entry).collect() }
    }
}

impl<B: AutodiffBackend> AutodiffModule<B> for GraphModule<B> {
    type InnerModule = GraphModule<B::InnerBackend>;

    fn valid(&self) -> Self::InnerModule {
        let valid = |parameter: &AnyParam<B>| each!(map parameter, param => AutodiffModule::<B>::valid(param));
        GraphModule { slots: self.slots.clone(), parameters: self.parameters.iter().map(valid).collect() }
    }

    fn from_inner(module: Self::InnerModule) -> Self {
        // Backends without a tape forget which tensors are trained.
        let lift = |(slot, parameter): (&Slot, AnyParam<B::InnerBackend>)| {
            let lifted = each!(map parameter, param => AutodiffModule::<B>::from_inner(param));
            each!(map lifted, param => param.set_require_grad(slot.trainable))
        };
        let parameters = module.slots.iter().zip(module.parameters).map(lift).collect();
        GraphModule { slots: module.slots, parameters }
    }
}

impl<B: AutodiffBackend> HasAutodiffModule<B> for GraphModule<B::InnerBackend> {
    type TrainModule = GraphModule<B>;
}

/// The state of a module: parameters by published name.
pub struct GraphRecord<B: Backend> {
    entries: Vec<(String, AnyParam<B>)>,
}

impl<B: Backend> Record<B> for GraphRecord<B> {
    /// Name, rank and elements; tensors of all ranks are serialised alike.
    type Item<S: PrecisionSettings> = Vec<(String, usize, <Param<Tensor<B, 1>> as Record<B>>::Item<S>)>;

    fn into_item<S: PrecisionSettings>(self) -> Self::Item<S> {
        self.entries
            .into_iter()
            .map(|(name, parameter)| match parameter {
                AnyParam::R1(param) => (name, 1, param.into_item::<S>()),
                AnyParam::R2(param) => (name, 2, param.into_item::<S>()),
                AnyParam::R3(param) => (name, 3, param.into_item::<S>()),
                AnyParam::R4(param) => (name, 4, param.into_item::<S>()),
                AnyParam::R5(param) => (name, 5, param.into_item::<S>()),
            })
            .collect()
    }

    fn from_item<S: PrecisionSettings>(item: Self::Item<S>, device: &B::Device) -> Self {
        let entry = |(name, rank, item)| {
            let parameter = match rank {
                1 => AnyParam::R1(Record::<B>::from_item::<S>(item, device)),
                2 => AnyParam::R2(Record::<B>::from_item::<S>(item, device)),
                3 => AnyParam::R3(Record::<B>::from_item::<S>(item, device)),
                4 => AnyParam::R4(Record::<B>::from_item::<S>(item, device)),
                _ => AnyParam::R5(Record::<B>::from_item::<S>(item, device)),
            };
            (name, parameter)
        };
        GraphRecord { entries: item.into_iter().map(entry).collect() }
    }
}
