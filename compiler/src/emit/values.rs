//! Names for the values in the code of a module, whatever the language.

use super::names::{field_name, unique};
use super::structure::{CallStep, Module, OpStep, Place, Size, Step, Structure};
use crate::ir::{Graph, NodeId};
use crate::ops::Op;
use crate::types::{Axis, Kind, Type};
use indexmap::IndexMap;
use rustc_hash::FxHashMap;

/// Attributes that are no whole numbers.
pub(super) const FLOATS: &[&str] = &["scale", "shift", "eps", "max_period", "rate", "base", "low", "high"];

/// Names of the sizes of a parameter among its numbers.
pub(super) const SIZES: [&str; 4] = ["size0", "size1", "size2", "size3"];

/// Axes of a tensor, the batch among them.
pub(super) fn rank(kind: Kind) -> usize {
    match kind {
        Kind::Label => 1,
        Kind::Ids => 2,
        _ => 1 + kind.axes().len(),
    }
}

/// `[batch, tokens, channels]`
pub(super) fn shape(kind: Kind) -> String {
    let axes = kind.axes().iter().filter(|axis| **axis != Axis::Class).map(|axis| axis.name());
    format!("[{}]", std::iter::once("batch").chain(axes).collect::<Vec<_>>().join(", "))
}

/// The shape of a value as documentation gives it.
pub(super) fn described(ty: &Type) -> String {
    let kind = if ty.kind.is_index() { "classes " } else { "" };
    format!("{kind}`{}`", shape(ty.kind))
}

/// Shapes of what a module takes and gives, a line each.
pub(super) fn shapes(graph: &Graph, module: &Module) -> Vec<String> {
    let mut lines = vec![];
    for port in &module.inputs {
        lines.push(format!("* `{}`: {}", port.name, described(&graph.node(port.node).ty)));
    }
    let outputs: Vec<String> = module.outputs.iter().map(|output| described(&graph.node(*output).ty)).collect();
    lines.push(format!("* returns {}", outputs.join(" and ")));
    lines
}

/// The axes that an operand lacks beside a result, the batch being the first.
pub(super) fn missing_axes(own: Kind, result: Kind) -> Vec<usize> {
    if rank(own) == rank(result) {
        return vec![];
    }
    let axes = result.axes().iter().enumerate();
    axes.filter(|(_, axis)| !own.axes().contains(axis)).map(|(at, _)| at + 1).collect()
}

/// How the value of a parameter comes from the tensor that is stored.
pub(super) enum Stored {
    /// It has the axis of the batch, or none at all.
    AsItIs,
    WithoutBatch,
    /// In another shape.
    Reshaped,
}

/// How a raw parameter is stored.
pub(super) fn stored(shape: &[u64], value: &Type) -> Stored {
    let own: Vec<u64> = value.dims.iter().filter_map(|dim| dim.known()).collect();
    if own.is_empty() || shape.len() == own.len() + 1 && shape.get(1..) == Some(&own[..]) {
        Stored::AsItIs
    } else if shape == own {
        Stored::WithoutBatch
    } else {
        Stored::Reshaped
    }
}

/// Values that a step reads, one by one.
pub(super) fn uses(step: &Step) -> Vec<NodeId> {
    match step {
        Step::Op(step) => {
            let mut used = step.operands.clone();
            let like = step.spreads.iter().flatten().filter_map(|spread| step.operands.get(spread.like));
            used.extend(like);
            used
        }
        Step::Chunk { operand, .. } => vec![*operand],
        Step::Call(step) => step.operands.clone(),
        Step::Loop(step) => step.operands.iter().map(|(operand, _)| *operand).collect(),
    }
}

/// Values that a step makes.
pub(super) fn makes(step: &Step) -> Vec<NodeId> {
    match step {
        Step::Op(step) => vec![step.node],
        Step::Chunk { parts, .. } => parts.iter().flatten().copied().collect(),
        Step::Call(step) => step.results.clone(),
        Step::Loop(step) => step.results.clone(),
    }
}

/// The shape of what a step makes, where a reader has not just seen it.
pub(super) fn new_shape(graph: &Graph, step: &Step, last: Option<Kind>) -> (Option<Kind>, Option<String>) {
    let kind = makes(step).first().map(|node| graph.node(*node).ty.kind);
    let operand = uses(step).first().map(|node| graph.node(*node).ty.kind);
    let told = kind.filter(|own| operand != kind && last != kind && own.axes().len() > 1);
    (kind, told.map(shape))
}

/// Axes of inputs that the code of a module reads, as input and axis.
pub(super) fn wanted_axes(module: &Module) -> Vec<(usize, usize)> {
    let mut wanted = vec![];
    for step in &module.steps {
        match step {
            Step::Op(step) => step.sizes.iter().for_each(|(_, size)| sizes_in(size, &mut wanted)),
            Step::Call(step) => step.sizes.iter().for_each(|size| sizes_in(size, &mut wanted)),
            Step::Loop(step) => step.sizes.iter().for_each(|size| sizes_in(size, &mut wanted)),
            Step::Chunk { .. } => {}
        }
    }
    wanted
}

fn sizes_in(size: &Size, found: &mut Vec<(usize, usize)>) {
    match size {
        Size::Axis { input, axis } => {
            if !found.contains(&(*input, *axis)) {
                found.push((*input, *axis));
            }
        }
        Size::Product(parts) => parts.iter().for_each(|part| sizes_in(part, found)),
        Size::Quotient(size, _) => sizes_in(size, found),
        Size::Known(_) | Size::Given(_) => {}
    }
}

/// Whether the code of a module makes tensors from nothing.
pub(super) fn needs_device(graph: &Graph, structure: &Structure, module: &Module) -> bool {
    let called = |id: usize| structure.module(id).is_some_and(|module| takes_device(graph, structure, module));
    module.steps.iter().any(|step| match step {
        Step::Op(step) => match graph.node(step.node).op() {
            Some(Op::Indices(_) | Op::RelativeBuckets(_) | Op::SincosGrid(_)) => true,
            Some(Op::Resample(resample)) => !resample.stored && !resample.is_box(),
            _ => false,
        },
        Step::Call(step) => called(step.module),
        Step::Loop(step) => called(step.module),
        Step::Chunk { .. } => false,
    })
}

/// Whether a module is told the device, having no input that tells it.
pub(super) fn takes_device(graph: &Graph, structure: &Structure, module: &Module) -> bool {
    module.inputs.is_empty() && needs_device(graph, structure, module)
}

/// Values of a module by name, as far as its code has been written.
pub(super) struct Values {
    pub names: IndexMap<NodeId, String>,
    /// Uses that are still to come.
    pub uses: FxHashMap<NodeId, usize>,
    /// Names of sizes and of other things that are no values.
    pub fixed: Vec<String>,
}

impl Values {
    pub fn of(module: &Module, fixed: Vec<String>) -> Self {
        let mut values = Self { names: IndexMap::new(), uses: FxHashMap::default(), fixed };
        for port in &module.inputs {
            values.names.insert(port.node, port.name.clone());
        }
        for used in module.steps.iter().flat_map(uses).chain(module.outputs.iter().copied()) {
            *values.uses.entry(used).or_insert(0) += 1;
        }
        values.fixed.extend(module.sizes.iter().cloned());
        values
    }

    pub fn name(&self, node: NodeId) -> &str {
        self.names.get(&node).map_or("x", |name| name)
    }

    /// Counts a use of a value. Whether it was the last one.
    pub fn read(&mut self, node: NodeId) -> bool {
        let left = self.uses.entry(node).or_insert(1);
        *left = left.saturating_sub(1);
        *left == 0
    }

    /// A name for a new value: the wanted one, unless something under it is still needed.
    pub fn bind(&mut self, node: NodeId, wanted: &str) -> String {
        let mut taken: Vec<String> = self.fixed.clone();
        for (other, name) in &self.names {
            if *other != node && self.uses.get(other).is_some_and(|left| *left > 0) {
                taken.push(name.clone());
            }
        }
        let name = unique(field_name(wanted), &mut taken);
        self.names.insert(node, name.clone());
        name
    }

    /// Names for what a step makes; none for what is not needed.
    pub fn bind_results(&mut self, graph: &Graph, step: &Step, module: &Module) -> Vec<Option<String>> {
        match step {
            Step::Chunk { parts, .. } => {
                parts.iter().map(|part| part.map(|part| self.bind_result(graph, part, step, module))).collect()
            }
            Step::Op(_) | Step::Call(_) | Step::Loop(_) => {
                let named = makes(step).into_iter().enumerate().map(|(at, node)| {
                    // Behind the first result of a section come the values that others skip to.
                    let is_skip = at > 0 && graph.node(node).name.is_none();
                    if is_skip { self.bind(node, "skip") } else { self.bind_result(graph, node, step, module) }
                });
                named.map(Some).collect()
            }
        }
    }

    fn bind_result(&mut self, graph: &Graph, node: NodeId, step: &Step, module: &Module) -> String {
        let own = graph.node(node).name.as_deref();
        let stream = uses(step).first().copied();
        // A stream goes by one name as long as it can.
        let inherited = stream
            .filter(|_| goes_on(graph, step))
            .filter(|stream| self.uses.get(stream).is_none_or(|left| *left == 0))
            .and_then(|stream| self.names.get(&stream).cloned());
        let made = match step {
            Step::Call(CallStep { place: Some(place), results, .. }) if results.len() == 1 => {
                place_name(module, *place)
            }
            Step::Op(OpStep { place: Some(place), node, .. }) if is_projection(graph, *node) => {
                place_name(module, *place)
            }
            _ => None,
        };
        let wanted = own.map(str::to_owned).or(inherited).or(made).unwrap_or_else(|| "h".to_owned());
        self.bind(node, &wanted)
    }
}

/// Whether a layer makes something with a name of its own: queries, a shift, a table.
fn is_projection(graph: &Graph, node: NodeId) -> bool {
    matches!(graph.node(node).op(), Some(Op::Linear(_) | Op::MpLinear(_) | Op::Embedding(_) | Op::Parameter(_)))
}

/// Whether a step carries a stream on, rather than making something else of several values.
fn goes_on(graph: &Graph, step: &Step) -> bool {
    match step {
        Step::Op(step) => {
            let joins = matches!(graph.node(step.node).op(), Some(Op::Attention(_) | Op::Concat(_)));
            let labels = step.operands.first().is_some_and(|operand| graph.node(*operand).ty.kind.is_index());
            !joins && !labels
        }
        Step::Call(step) => step.results.len() == 1,
        Step::Chunk { .. } | Step::Loop(_) => true,
    }
}

fn place_name(module: &Module, place: Place) -> Option<String> {
    module.fields.get(place.field).filter(|field| !field.is_list).map(|field| field.name.clone())
}
