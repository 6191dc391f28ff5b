//! From scopes to modules, the inner ones first.

mod fields;
mod numbers;

use super::draft::{Draft, makes, uses};
use super::sizes::size_from;
use super::{CallStep, Element, Module, Numbers, OpStep, Part, Port, Size, Spread, Step};
use super::{Structure, loops};
use crate::dim::Dim;
use crate::emit::EmitError;
use crate::emit::names::{field_name, type_name, unique};
use crate::emit::number::Number;
use crate::emit::trace::Trace;
use crate::ir::{Graph, NodeId, NodeKind, ROOT, ScopeId, ScopeKind};
use crate::ops::{Indices, Op, RelativeBuckets, slice::Slice};
use crate::program::Program;
use crate::types::{Axis, Type};
use archc_grammar::ast::Operator;
use indexmap::IndexMap;
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;

pub(super) struct Builder<'a> {
    pub graph: &'a Graph,
    trace: Trace<'a>,
    /// The module that each scope is part of.
    owners: Vec<ScopeId>,
    /// Nodes in the module of a scope and in those within it.
    inside: FxHashMap<ScopeId, Vec<NodeId>>,
    /// Nodes that an output depends on.
    live: Vec<bool>,
    outputs: FxHashSet<NodeId>,
    modules: Vec<Module>,
    known: IndexMap<String, usize>,
    names: Vec<String>,
    channels: FxHashMap<(ScopeId, NodeId), Number>,
}

/// An instance that has become a module.
struct Built {
    module: usize,
    inputs: Vec<NodeId>,
    sizes: Vec<(Dim, Axis)>,
    outputs: Vec<NodeId>,
}

/// Whether an attribute is a size that the running model tells.
pub(super) fn is_size(op: &Op, attribute: &str) -> bool {
    match op {
        Op::ToImage(_) | Op::CropGrid(_) | Op::Resize(_) | Op::Unpatchify(_) | Op::SincosGrid(_) => {
            matches!(attribute, "height" | "width")
        }
        Op::Indices(_) | Op::RelativeBuckets(_) => attribute == "count",
        Op::Slice(slice) => slice.along.axis() == Axis::Token && matches!(attribute, "start" | "size"),
        _ => false,
    }
}

impl<'a> Builder<'a> {
    pub fn new(graph: &'a Graph, program: &'a Program) -> Self {
        let mut builder = Self {
            graph,
            trace: Trace::new(graph, program),
            owners: vec![],
            inside: FxHashMap::default(),
            live: live(graph),
            outputs: graph.outputs.iter().map(|output| output.node).collect(),
            modules: vec![],
            known: IndexMap::new(),
            names: RESERVED.iter().map(|name| (*name).to_owned()).collect(),
            channels: FxHashMap::default(),
        };
        for id in graph.scope_ids() {
            let owner = if builder.is_module(id) { id } else { builder.owner(graph.scope(id).parent.unwrap_or(ROOT)) };
            builder.owners.push(owner);
        }
        for node in graph.node_ids() {
            for module in builder.modules_around(graph.node(node).scope) {
                builder.inside.entry(module).or_default().push(node);
            }
        }
        builder
    }

    pub fn structure(mut self) -> Result<Structure, EmitError> {
        let root = self.module(ROOT)?;
        if !root.sizes.is_empty() {
            return Err(EmitError("a size in this model does not follow from those of its inputs".to_owned()));
        }
        if self.modules.get(root.module).is_some_and(Module::is_function) {
            return Err(EmitError("this model has no parameters: there is no network to build".to_owned()));
        }
        Ok(Structure { modules: self.modules, root: root.module })
    }

    fn is_module(&self, id: ScopeId) -> bool {
        let scope = self.graph.scope(id);
        match scope.kind {
            ScopeKind::Model | ScopeKind::Block => true,
            ScopeKind::Section => scope.parent.is_some_and(|parent| self.graph.scope(parent).path != scope.path),
            ScopeKind::Residual => false,
        }
    }

    fn owner(&self, scope: ScopeId) -> ScopeId {
        self.owners.get(scope.index()).copied().unwrap_or(ROOT)
    }

    /// Modules around a scope, innermost first.
    fn modules_around(&self, scope: ScopeId) -> Vec<ScopeId> {
        let mut found: Vec<ScopeId> = vec![];
        for scope in self.graph.enclosing(scope) {
            let owner = self.owner(scope);
            if !found.contains(&owner) {
                found.push(owner);
            }
        }
        found
    }

    /// The part of a module that a node is in; none where it is its own.
    fn child(&self, module: ScopeId, node: NodeId) -> Option<ScopeId> {
        let around = self.modules_around(self.graph.node(node).scope);
        let at = around.iter().position(|own| *own == module)?;
        at.checked_sub(1).and_then(|at| around.get(at)).copied()
    }

    fn is_inside(&self, module: ScopeId, node: NodeId) -> bool {
        self.modules_around(self.graph.node(node).scope).contains(&module)
    }

    fn is_live(&self, node: NodeId) -> bool {
        self.live.get(node.index()).copied().unwrap_or(false)
    }

    fn module(&mut self, scope: ScopeId) -> Result<Built, EmitError> {
        let nodes = self.inside.get(&scope).cloned().unwrap_or_default();
        let (inputs, outputs) = self.border(scope, &nodes);
        let mut sizes: Vec<(Dim, Axis)> = vec![];
        let mut elements: Vec<Element> = vec![];
        // Which element a step uses, until elements have become fields.
        let mut steps: Vec<(Step, Option<usize>)> = vec![];
        let mut seen: Vec<ScopeId> = vec![];
        for id in &nodes {
            match self.child(scope, *id) {
                Some(child) if seen.contains(&child) => {}
                Some(child) => {
                    seen.push(child);
                    let built = self.module(child)?;
                    let element = self.part(scope, child, &built).map(|element| {
                        elements.push(element);
                        elements.len() - 1
                    });
                    if !built.outputs.is_empty() {
                        let wanted = built.sizes.iter().map(|(dim, axis)| self.size(&inputs, dim, *axis, &mut sizes));
                        let call = CallStep {
                            place: None,
                            module: built.module,
                            sizes: wanted.collect(),
                            operands: built.inputs,
                            results: built.outputs,
                        };
                        steps.push((Step::Call(call), element));
                    }
                }
                None => {
                    let Some(op) = self.graph.node(*id).op() else { continue };
                    let numbers = self.numbers(scope, *id, op);
                    let element = (!self.graph.node(*id).parameters.is_empty()).then(|| {
                        let path = self.relative(scope, self.graph.node(*id), op);
                        elements.push(Element { path, part: Part::Layer { node: *id, numbers: numbers.clone() } });
                        elements.len() - 1
                    });
                    if self.is_live(*id) {
                        let step = self.op_step(*id, op, numbers, &inputs, &mut sizes)?;
                        steps.push((Step::Op(step), element));
                    }
                }
            }
        }
        let (fields, places) = self.fields(scope, elements);
        let steps = steps.into_iter().map(|(mut step, element)| {
            let place = element.and_then(|at| places.get(at)).copied();
            match &mut step {
                Step::Op(step) => step.place = place,
                Step::Call(step) => step.place = place,
                Step::Chunk { .. } | Step::Loop(_) => {}
            }
            step
        });
        let steps = loops::chunks(self.graph, steps.collect());
        let lengths: Vec<usize> =
            fields.iter().map(|field| if field.is_list { field.elements.len() } else { 0 }).collect();
        let steps = loops::roll(steps, &outputs, &lengths);
        let mut taken = vec![];
        let inputs: Vec<Port> = inputs.iter().map(|node| self.port(scope, *node, &mut taken)).collect();
        let names = sizes.iter().map(|(_, axis)| unique(axis.name().to_owned(), &mut taken)).collect();
        let hyperparameters = self.hyperparameters(scope, &fields, &steps);
        let draft = Draft { scope, hyperparameters, fields, inputs, sizes: names, outputs: outputs.clone(), steps };
        let inputs = draft.inputs.iter().map(|port| port.node).collect();
        Ok(Built { module: self.intern(draft), inputs, sizes, outputs })
    }

    /// What a module is given and what others take from it, in the order of the source.
    fn border(&self, scope: ScopeId, nodes: &[NodeId]) -> (Vec<NodeId>, Vec<NodeId>) {
        let own = self.graph.scope(scope);
        if scope == ROOT {
            let inputs = self.graph.inputs.iter().map(|input| input.node).filter(|node| self.is_live(*node));
            return (inputs.collect(), self.graph.outputs.iter().map(|output| output.node).collect());
        }
        let mut used: Vec<NodeId> = vec![];
        let mut given: Vec<NodeId> = vec![];
        for id in nodes.iter().filter(|id| self.is_live(**id)) {
            for operand in self.graph.operands(*id) {
                if !self.is_inside(scope, operand) && !used.contains(&operand) {
                    used.push(operand);
                }
            }
            let leaves = self.graph.users(*id).any(|(user, _)| self.is_live(user) && !self.is_inside(scope, user));
            if leaves || self.outputs.contains(id) {
                given.push(*id);
            }
        }
        let place = |list: &[NodeId], node: &NodeId| list.iter().position(|own| own == node).unwrap_or(list.len());
        let declared: Vec<NodeId> = own.inputs.iter().map(|(_, node)| *node).collect();
        used.sort_by_key(|node| place(&declared, node));
        given.sort_by_key(|node| place(&own.outputs, node));
        (used, given)
    }

    fn port(&self, scope: ScopeId, node: NodeId, taken: &mut Vec<String>) -> Port {
        let own = self.graph.scope(scope);
        let declared = own.inputs.iter().find(|(_, input)| *input == node).map(|(name, _)| name.clone());
        let input = match self.graph.node(node).kind {
            NodeKind::Input(_) => self.graph.inputs.iter().find(|input| input.node == node),
            NodeKind::Op(_) => None,
        };
        let named = input.map(|input| input.name.clone()).or_else(|| self.graph.node(node).name.clone());
        let name = declared.or(named).unwrap_or_else(|| Arc::from("x"));
        Port { name: unique(field_name(&name), taken), node }
    }

    /// A size from the inputs of a module, or as a further argument of it.
    fn size(&self, inputs: &[NodeId], dim: &Dim, axis: Axis, given: &mut Vec<(Dim, Axis)>) -> Size {
        size_from(self, inputs, dim, axis).unwrap_or_else(|| {
            let at = given.iter().position(|(own, _)| own == dim).unwrap_or_else(|| {
                given.push((dim.clone(), axis));
                given.len() - 1
            });
            Size::Given(at)
        })
    }

    fn op_step(
        &self,
        id: NodeId,
        op: &Op,
        numbers: Numbers,
        inputs: &[NodeId],
        given: &mut Vec<(Dim, Axis)>,
    ) -> Result<OpStep, EmitError> {
        let node = self.graph.node(id);
        let operands = self.graph.operands(id).to_vec();
        let mut sizes: Vec<(&'static str, Size)> = vec![];
        let mut wanted: Vec<(&'static str, Dim, Axis)> = vec![];
        let result = |axis: Axis| node.ty.dim(axis).cloned();
        let operand = operands.first().map(|operand| &self.graph.node(*operand).ty);
        match op {
            Op::ToImage(_) | Op::Resize(_) | Op::Unpatchify(_) => {
                wanted.extend(result(Axis::Height).map(|dim| ("height", dim, Axis::Height)));
                wanted.extend(result(Axis::Width).map(|dim| ("width", dim, Axis::Width)));
            }
            Op::CropGrid(crop) => {
                wanted.push(("height", crop.height.clone(), Axis::Height));
                wanted.push(("width", crop.width.clone(), Axis::Width));
            }
            Op::SincosGrid(grid) => {
                wanted.push(("height", grid.height.clone(), Axis::Height));
                wanted.push(("width", grid.width.clone(), Axis::Width));
            }
            Op::Indices(Indices { count }) | Op::RelativeBuckets(RelativeBuckets { count, .. }) => {
                wanted.push(("count", count.clone(), Axis::Token));
            }
            Op::Slice(Slice { start, size, along, .. }) if along.axis() == Axis::Token => {
                wanted.push(("start", start.0.clone(), Axis::Token));
                wanted.push(("size", size.clone(), Axis::Token));
            }
            Op::ToVideo(_) => wanted.extend(result(Axis::Frame).map(|dim| ("frames", dim, Axis::Frame))),
            Op::TransposeTokens(_) => {
                let fold = operand.and_then(|ty| ty.batch.folds.last());
                wanted.extend(fold.map(|dim| ("folds", dim.clone(), Axis::Frame)));
            }
            _ => {}
        }
        for (name, dim, axis) in wanted {
            sizes.push((name, self.size(inputs, &dim, axis, given)));
        }
        let types: Vec<&Type> = operands.iter().map(|operand| &self.graph.node(*operand).ty).collect();
        let spreads = spreads(op, &types, &node.ty)?;
        Ok(OpStep { node: id, place: None, operands, numbers, sizes, spreads })
    }

    /// The module of an instance: one that reads the same, or a new one.
    fn intern(&mut self, draft: Draft) -> usize {
        let key = draft.key(self.graph);
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let own = self.graph.scope(draft.scope);
        let definition = self.trace.definition(draft.scope).filter(|_| own.kind != ScopeKind::Section);
        let base = match own.kind {
            ScopeKind::Section => section_name(&own.path),
            _ => type_name(&own.name),
        };
        let docs = match definition {
            Some(definition) => definition.docs.clone(),
            None => format!("`{}` of `{}`.", own.path, self.graph.model),
        };
        let module = Module {
            name: unique_type(base, &mut self.names),
            docs,
            scope: draft.scope,
            hyperparameters: draft.hyperparameters,
            fields: draft.fields,
            inputs: draft.inputs,
            sizes: draft.sizes,
            outputs: draft.outputs,
            steps: draft.steps,
        };
        debug_assert!(is_ordered(&module), "{} uses values before they are made", module.name);
        self.modules.push(module);
        self.known.insert(key, self.modules.len() - 1);
        self.modules.len() - 1
    }
}

/// Names that mean something in the code around.
const RESERVED: &[&str] = &[
    "Tensor",
    "Param",
    "Module",
    "Config",
    "Backend",
    "Int",
    "Bool",
    "Linear",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "LayerNorm",
    "GroupNorm",
    "RmsNorm",
    "Embedding",
    "Dropout",
    "DropLabel",
    "MpLinear",
    "MpConv2d",
    "Function",
    "Kernels",
    "Resample",
    "Initializer",
    "Vec",
    "Option",
    "Box",
    "String",
    "Self",
    "B",
];

/// Numbers that are written out, whatever they come from.
fn is_fixed(op: &Op, name: &str) -> bool {
    match op {
        Op::Conv1d(_) | Op::Conv3d(_) => matches!(name, "kernel" | "stride" | "padding"),
        Op::Conv2d(_) => name == "padding",
        Op::MpConv2d(_) => name == "kernel",
        Op::Resample(_) | Op::Clip(_) | Op::EndToken(_) => true,
        _ => false,
    }
}

/// Numbers that code without parameters reads.
pub fn is_needed(op: &Op, name: &str) -> bool {
    match op {
        Op::Sinusoid(_) => matches!(name, "features" | "max_period" | "shift"),
        Op::Unpatchify(_) => matches!(name, "patch" | "channels"),
        Op::Slice(_) => matches!(name, "start" | "size" | "groups"),
        _ => name != "in",
    }
}

fn unique_type(name: String, taken: &mut Vec<String>) -> String {
    let mut found = name.clone();
    let mut count = 2;
    while taken.contains(&found) || taken.iter().any(|own| *own == format!("{found}Config")) {
        found = format!("{name}{count}");
        count += 1;
    }
    taken.push(found.clone());
    found
}

/// `down_blocks.0` is a `DownBlock`.
fn section_name(path: &str) -> String {
    let mut segments = path.split('.').filter(|segment| segment.parse::<u64>().is_err());
    let last = segments.next_back().unwrap_or("section");
    let one = last.strip_suffix('s').filter(|one| !one.ends_with('s')).unwrap_or(last);
    type_name(&field_name(one))
}

fn relative(outer: &str, path: &str) -> String {
    match path.strip_prefix(outer) {
        Some(rest) if outer.is_empty() || rest.is_empty() || rest.starts_with('.') => {
            rest.trim_start_matches('.').to_owned()
        }
        _ => path.to_owned(),
    }
}

/// `6 * D` by 6 is `D`.
fn quotient(number: Number, divisor: u64) -> Number {
    if let Number::Of(Operator::Multiply, a, b) = &number {
        match (&**a, &**b) {
            (Number::Int(own), other) | (other, Number::Int(own)) if *own == divisor => return other.clone(),
            _ => {}
        }
    }
    Number::of(Operator::Divide, number, Number::Int(divisor))
}

/// Nodes that an output depends on.
fn live(graph: &Graph) -> Vec<bool> {
    let mut live = vec![false; graph.node_count()];
    let mut next: Vec<NodeId> = graph.outputs.iter().map(|output| output.node).collect();
    while let Some(node) = next.pop() {
        if let Some(own) = live.get_mut(node.index())
            && !*own
        {
            *own = true;
            next.extend(graph.operands(node));
        }
    }
    live
}

/// Which operands have to be repeated along the batch.
fn spreads(op: &Op, types: &[&Type], result: &Type) -> Result<Vec<Option<Spread>>, EmitError> {
    // The fourth operand of attention is its bias.
    let stretches = |at: usize| match op {
        Op::Add(_) | Op::Multiply(_) => true,
        Op::Attention(_) => at == 3,
        _ => false,
    };
    let like = types.iter().position(|ty| ty.batch == result.batch);
    let spread = |(at, ty): (usize, &&Type)| {
        let shared = !ty.batch.samples && ty.batch.folds.is_empty();
        if types.len() < 2 || ty.batch == result.batch || shared && stretches(at) {
            return Ok(None);
        }
        let like =
            like.ok_or_else(|| EmitError(format!("no operand of `{}` has the batch of its result", op.name())))?;
        let all = !ty.batch.samples && (shared || ty.batch.folds == result.batch.folds);
        if all || ty.batch.samples == result.batch.samples {
            Ok(Some(Spread { each: !all, like }))
        } else {
            Err(EmitError(format!("`{}` repeats a value along two axes at once", op.name())))
        }
    };
    types.iter().enumerate().map(spread).collect()
}

/// Whether every value is made before it is used.
fn is_ordered(module: &Module) -> bool {
    let mut made: FxHashSet<NodeId> = module.inputs.iter().map(|port| port.node).collect();
    module.steps.iter().all(|step| {
        let ready = uses(step).iter().all(|used| made.contains(used));
        made.extend(makes(step));
        ready
    })
}
