//! A graph's parameters as a module of Burn: visited, mapped, recorded, put on a tape.

use super::{AnyParam, GraphModule, Slot};
use burn::module::{AutodiffModule, Devices, HasAutodiffModule, Module, ModuleMapper, ModuleVisitor, Param};
use burn::record::{PrecisionSettings, Record};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};

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
