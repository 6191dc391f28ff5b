//! Parameters of a graph and of what passes make of it, in one memory: where several became one, they are parts of it.

use super::{AnyParam, GraphModule, Layout, Slot};
use crate::Value;
use crate::fold::Divisors;
use crate::kernels::Kernels;
use archc_compiler::ir::{Graph, ParameterId};
use archc_compiler::passes::Optimized;
use burn::tensor::Slice;
use burn::tensor::backend::Backend;
use std::sync::Arc;

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
        let slots = Arc::new(super::slots(graph));
        let optimized_slots = Arc::new(super::slots(&optimized.graph));
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
