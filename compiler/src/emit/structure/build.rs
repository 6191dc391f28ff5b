//! From scopes to modules, the inner ones first.

use super::draft::{Draft, makes, uses};
use super::sizes::size_from;
use super::{CallStep, Element, Field, Hyperparameter, Module, Numbers, OpStep, Part, Place, Port, Size, Spread, Step};
use super::{Structure, loops};
use crate::dim::Dim;
use crate::emit::EmitError;
use crate::emit::names::{field_name, type_name, unique};
use crate::emit::number::{Number, field};
use crate::emit::trace::Trace;
use crate::init::Init;
use crate::ir::{Graph, Node, NodeId, NodeKind, ROOT, ScopeId, ScopeKind};
use crate::ops::attribute::Shown;
use crate::ops::{Op, slice::Slice};
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
        Op::Indices(_) => attribute == "count",
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
            Op::Indices(indices) => wanted.push(("count", indices.count.clone(), Axis::Token)),
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

    /// Numbers of an operator as expressions, as far as the source explains them.
    fn numbers(&mut self, scope: ScopeId, id: NodeId, op: &Op) -> Numbers {
        let mut numbers: Numbers = vec![];
        for (name, shown) in op.attributes() {
            let actual = match shown {
                Shown::Int(value) => value as f64,
                Shown::Float(value) => value,
                Shown::Bool(_) | Shown::Text(_) | Shown::List(_) => continue,
            };
            if is_size(op, name) {
                continue;
            }
            let literal = Number::literal(&shown).unwrap_or(Number::Float(actual));
            let found = if is_fixed(op, name) { None } else { self.trace.attribute(scope, id, name, actual) };
            numbers.push((name.to_owned(), found.unwrap_or(literal)));
        }
        if let Some(operand) = self.graph.operand(id, 0)
            && self.graph.node(operand).ty.channels().is_some()
        {
            numbers.push(("in".to_owned(), self.channels(scope, operand)));
        }
        if let (Op::Embedding(_), Some(table)) = (op, self.graph.node(id).parameters.first()) {
            let rows = self.graph.parameter(*table).shape.first().copied().unwrap_or(1);
            numbers.push(("classes".to_owned(), self.classes(scope, id, rows)));
        }
        if let (Op::DropLabel(_), Some(labels)) = (op, self.graph.operand(id, 0))
            && let Some(classes) = self.graph.node(labels).ty.dim(Axis::Class).and_then(Dim::known)
        {
            let declared = self.declared(scope, labels, Axis::Class, classes as f64);
            numbers.push(("null".to_owned(), declared.unwrap_or(Number::Int(classes))));
        }
        if let Op::Parameter(_) = op {
            let table = self.graph.node(id).parameters.first().map(|own| &self.graph.parameter(*own).init);
            if let Some(Init::SinCos2d(grid)) = table {
                for (at, name, size) in [(0, "rows", &grid.height), (1, "columns", &grid.width)] {
                    let size = size.known().unwrap_or(1);
                    let found = self.trace.positional(scope, id, "sincos_table", at, size as f64);
                    numbers.push((name.to_owned(), found.unwrap_or(Number::Int(size))));
                }
            }
            let dims: Vec<u64> = self.graph.node(id).ty.dims.iter().filter_map(Dim::known).collect();
            for (at, size) in dims.into_iter().enumerate() {
                let found = self.trace.parameter_size(scope, id, at, size as f64);
                numbers.push((format!("size{at}"), found.unwrap_or(Number::Int(size))));
            }
        }
        numbers
    }

    /// Rows of a table: the classes of the label, and one more where labels are dropped.
    fn classes(&self, scope: ScopeId, embedding: NodeId, rows: u64) -> Number {
        let fields = self.trace.fields(scope);
        let Some(operand) = self.graph.operand(embedding, 0) else { return Number::Int(rows) };
        let dropped = matches!(self.graph.node(operand).op(), Some(Op::DropLabel(_)));
        let source = if dropped { self.graph.operand(operand, 0).unwrap_or(operand) } else { operand };
        let own = rows - u64::from(dropped);
        let declared = self.declared(scope, source, Axis::Class, own as f64);
        let number = declared.unwrap_or(Number::Int(own));
        let number = if dropped { Number::of(Operator::Add, number, Number::Int(1)) } else { number };
        if number.value(&fields) == Some(rows as f64) { number } else { Number::Int(rows) }
    }

    /// A size as the parameter list of the block or model declares it.
    fn declared(&self, scope: ScopeId, node: NodeId, axis: Axis, actual: f64) -> Option<Number> {
        let axes = self.graph.node(node).ty.kind.axes();
        if scope == ROOT {
            let input = self.graph.inputs.iter().find(|input| input.node == node)?;
            return self.trace.declared(scope, &input.name, axis, axes, actual);
        }
        let mut inputs = self.graph.scope(scope).inputs.iter().filter(|(_, own)| *own == node);
        inputs.find_map(|(name, _)| self.trace.declared(scope, name, axis, axes, actual))
    }

    /// The channels of a value in the code of a module.
    fn channels(&mut self, scope: ScopeId, node: NodeId) -> Number {
        if let Some(known) = self.channels.get(&(scope, node)) {
            return known.clone();
        }
        let actual = self.graph.node(node).ty.channels().unwrap_or(0);
        let found = self
            .explain_channels(scope, node)
            .filter(|number| number.value(&self.trace.fields(scope)) == Some(actual as f64));
        let number = found.unwrap_or(Number::Int(actual));
        self.channels.insert((scope, node), number.clone());
        number
    }

    fn explain_channels(&mut self, scope: ScopeId, id: NodeId) -> Option<Number> {
        let node = self.graph.node(id);
        let actual = node.ty.channels()? as f64;
        if !self.is_inside(scope, id) {
            return match self.graph.scope(scope).kind {
                ScopeKind::Section => {
                    let outer = self.owner(self.graph.scope(scope).parent?);
                    Some(self.channels(outer, id))
                }
                _ => self.declared(scope, id, Axis::Channel, actual),
            };
        }
        if let Some(child) = self.child(scope, id) {
            let inner = self.channels(child, id);
            return self.substituted(scope, child, &inner);
        }
        let Some(op) = node.op() else { return self.declared(scope, id, Axis::Channel, actual) };
        match op {
            Op::Linear(_)
            | Op::Conv1d(_)
            | Op::Conv2d(_)
            | Op::Conv3d(_)
            | Op::MpConv2d(_)
            | Op::MpLinear(_)
            | Op::Embedding(_)
            | Op::Sinusoid(_)
            | Op::SincosGrid(_) => self.trace.attribute(scope, id, "features", actual),
            Op::Unpatchify(_) => self.trace.attribute(scope, id, "channels", actual),
            Op::Parameter(_) => {
                let at = node.ty.kind.axes().iter().position(|axis| *axis == Axis::Channel)?;
                self.trace.parameter_size(scope, id, at, actual)
            }
            Op::Concat(concat) if concat.along.axis() == Axis::Channel => {
                let parts: Vec<Number> =
                    self.graph.operands(id).into_iter().map(|part| self.channels(scope, part)).collect();
                parts.into_iter().reduce(|sum, part| Number::of(Operator::Add, sum, part))
            }
            Op::Slice(slice) if slice.along.axis() == Axis::Channel => {
                let operand = self.graph.operand(id, 0)?;
                let (whole, size) = (self.graph.node(operand).ty.channels()?, node.ty.channels()?);
                let parts = whole.checked_div(size).filter(|parts| parts * size == whole)?;
                let whole = self.channels(scope, operand);
                Some(quotient(whole, parts))
            }
            _ => {
                let operands = self.graph.operands(id);
                let same = operands
                    .into_iter()
                    .find(|operand| self.graph.node(*operand).ty.channels() == node.ty.channels())?;
                Some(self.channels(scope, same))
            }
        }
    }

    /// A number of a part in the terms of the module around it.
    fn substituted(&mut self, scope: ScopeId, child: ScopeId, number: &Number) -> Option<Number> {
        let mut names = vec![];
        number.collect(&mut names);
        let arguments: Option<Vec<(Arc<str>, Number)>> =
            names.into_iter().map(|name| Some((name.clone(), self.argument(scope, child, &name)?))).collect();
        number.substitute(&arguments?)
    }

    /// What a part is given for one of its hyperparameters.
    fn argument(&mut self, scope: ScopeId, child: ScopeId, name: &str) -> Option<Number> {
        let inner = self.trace.fields(child);
        let value = field(&inner, name)?.clone();
        let literal = Number::literal(&value)?;
        let actual = literal.value(&[]);
        if self.graph.scope(child).kind == ScopeKind::Section {
            let round = self.graph.scope(child).hyperparameters.iter().any(|(own, _)| **own == *name);
            return Some(match (round, actual) {
                (true, Some(actual)) => self.trace.item(scope, child, actual).unwrap_or(literal),
                (true, None) => literal,
                (false, _) => Number::Field(Arc::from(name)),
            });
        }
        let given = self.trace.argument(scope, child, name, &value);
        let bound = given.or_else(|| {
            let (parameter, at) = self.trace.binds(child, name)?;
            let inputs = &self.graph.scope(child).inputs;
            let node = inputs.iter().find(|(own, _)| *own == parameter).map(|(_, node)| *node)?;
            let ty = &self.graph.node(node).ty;
            let is_channel = at.is_none_or(|at| ty.kind.axes().get(at) == Some(&Axis::Channel));
            is_channel.then(|| self.channels(scope, node))
        });
        let found = bound.or_else(|| {
            let default = self.trace.default(child, name, actual?)?;
            if default.is_literal() { None } else { self.substituted(scope, child, &default) }
        });
        let fields = self.trace.fields(scope);
        let holds = |number: &Number| match actual {
            Some(_) => number.value(&fields) == actual,
            None => true,
        };
        Some(found.filter(holds).unwrap_or(literal))
    }

    fn part(&mut self, scope: ScopeId, child: ScopeId, built: &Built) -> Option<Element> {
        let module = self.modules.get(built.module)?;
        if module.is_function() {
            return None;
        }
        let wanted: Vec<Arc<str>> = module.hyperparameters.iter().map(|own| own.source.clone()).collect();
        let arguments = wanted.into_iter().filter_map(|name| Some((name.clone(), self.argument(scope, child, &name)?)));
        let arguments = arguments.collect();
        let inner = self.graph.scope(child);
        let path = relative(&self.graph.scope(scope).path, &inner.path);
        let path = if path.is_empty() { format!("@{}", inner.name) } else { path };
        Some(Element { path, part: Part::Module { module: built.module, arguments } })
    }

    /// The place of a layer in its module.
    fn relative(&self, scope: ScopeId, node: &Node, op: &Op) -> String {
        let path = relative(&self.graph.scope(scope).path, node.path.as_deref().unwrap_or_default());
        if path.is_empty() { format!("@{}", op.name()) } else { path }
    }

    /// Elements as fields: what is numbered and alike is a list.
    fn fields(&self, scope: ScopeId, elements: Vec<Element>) -> (Vec<Field>, Vec<Place>) {
        let split = |path: &str| -> Option<(String, usize)> {
            let (prefix, last) = path.rsplit_once('.')?;
            Some((prefix.to_owned(), last.parse().ok()?))
        };
        let mut taken: Vec<String> = vec![];
        let mut fields: Vec<Field> = vec![];
        let mut places = vec![Place { field: 0, index: None }; elements.len()];
        let mut done = vec![false; elements.len()];
        for at in 0..elements.len() {
            if done.get(at) != Some(&false) {
                continue;
            }
            let Some(element) = elements.get(at) else { continue };
            let mut run = vec![at];
            let mut count = None;
            if let Some((prefix, first)) = split(&element.path) {
                let siblings = elements
                    .iter()
                    .filter(|own| own.path.strip_prefix(&*prefix).is_some_and(|rest| rest.starts_with('.')));
                let deeper = siblings.clone().any(|own| split(&own.path).is_none_or(|(own, _)| own != prefix));
                if siblings.count() > 1 && !deeper {
                    while let Some(next) = elements.iter().position(|own| {
                        split(&own.path) == Some((prefix.clone(), first + run.len())) && self.alike(element, own)
                    }) {
                        run.push(next);
                    }
                }
                if run.len() > 1 {
                    count = self.count(scope, &run, &elements);
                }
            }
            let is_list = run.len() > 1;
            let name = unique(self.field(&element.path, is_list, &elements), &mut taken);
            for (index, own) in run.iter().enumerate() {
                if let (Some(done), Some(place)) = (done.get_mut(*own), places.get_mut(*own)) {
                    *done = true;
                    *place = Place { field: fields.len(), index: is_list.then_some(index) };
                }
            }
            let elements = run.iter().filter_map(|own| elements.get(*own).cloned()).collect();
            fields.push(Field { name, elements, is_list, count });
        }
        (fields, places)
    }

    /// `to_out.0` is `to_out` where there is no other `to_out`.
    fn field(&self, path: &str, is_list: bool, elements: &[Element]) -> String {
        let path = path.trim_start_matches('@');
        let Some((prefix, last)) = path.rsplit_once('.') else { return field_name(path) };
        let starts = |own: &&Element| own.path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'));
        let same = elements.iter().any(|own| own.path == prefix);
        let alone = elements.iter().filter(starts).count() == 1 && !same;
        let numbered = last.parse::<usize>().is_ok();
        let first = last == "0" && is_list;
        if numbered && (alone || first) { field_name(prefix) } else { field_name(path) }
    }

    /// Whether two elements are of one type.
    fn alike(&self, a: &Element, b: &Element) -> bool {
        let name = |node: NodeId| self.graph.node(node).op().map(Op::name);
        match (&a.part, &b.part) {
            (Part::Module { module: a, .. }, Part::Module { module: b, .. }) => a == b,
            (Part::Layer { node: a, .. }, Part::Layer { node: b, .. }) => {
                name(*a) == name(*b) && !matches!(self.graph.node(*a).op(), Some(Op::Parameter(_)))
            }
            _ => false,
        }
    }

    /// The number of rounds of the loop that made a list, if all elements are given the same.
    fn count(&self, scope: ScopeId, run: &[usize], elements: &[Element]) -> Option<Number> {
        let parts: Vec<&Part> = run.iter().filter_map(|at| elements.get(*at)).map(|element| &element.part).collect();
        let same = parts.windows(2).all(|pair| match pair {
            [Part::Module { arguments: a, .. }, Part::Module { arguments: b, .. }] => a == b,
            _ => false,
        });
        let first = elements.get(*run.first()?)?;
        let full = |scope: &crate::ir::Scope, path: &str| {
            *scope.path == *format!("{path}.{}", first.path) || *scope.path == *first.path
        };
        let own = self.graph.scope(scope).path.clone();
        let child = self.graph.scope_ids().find(|id| {
            let inner = self.graph.scope(*id);
            inner.kind == ScopeKind::Block && full(inner, &own) && self.owner(inner.parent.unwrap_or(ROOT)) == scope
        })?;
        same.then(|| self.trace.rounds(scope, self.graph.scope(child).call, run.len())).flatten()
    }

    /// Hyperparameters that something in the module depends on, in the order of the source.
    fn hyperparameters(&self, scope: ScopeId, fields: &[Field], steps: &[Step]) -> Vec<Hyperparameter> {
        let mut used: Vec<Arc<str>> = vec![];
        for field in fields {
            field.count.iter().for_each(|count| count.collect(&mut used));
            for element in &field.elements {
                match &element.part {
                    Part::Layer { numbers, .. } => numbers.iter().for_each(|(_, number)| number.collect(&mut used)),
                    Part::Module { arguments, .. } => {
                        arguments.iter().for_each(|(_, number)| number.collect(&mut used));
                    }
                }
            }
        }
        for step in steps {
            if let Step::Op(OpStep { node, numbers, place: None, .. }) = step {
                let needed = |name: &str| self.graph.node(*node).op().is_some_and(|op| is_needed(op, name));
                numbers.iter().filter(|(name, _)| needed(name)).for_each(|(_, number)| number.collect(&mut used));
            }
            if let Step::Chunk { groups, .. } = step {
                groups.collect(&mut used);
            }
            if let Step::Op(OpStep { numbers, place: Some(_), .. }) = step {
                numbers.iter().for_each(|(_, number)| number.collect(&mut used));
            }
        }
        let definition = self.trace.definition(scope);
        let is_block = self.graph.scope(scope).kind != ScopeKind::Section;
        let mut taken = vec![];
        let visible = self.trace.fields(scope);
        let own = visible.iter().filter(|(name, _)| used.contains(name));
        own.map(|(source, value)| {
            let parameter = definition
                .filter(|_| is_block)
                .and_then(|definition| definition.parameters.iter().find(|own| own.name.text == *source));
            let default = if scope == ROOT {
                Some(value.clone())
            } else {
                parameter.and_then(|own| own.default.as_ref()).and_then(|default| match (&default.kind, value) {
                    (archc_grammar::ast::ExprKind::Int(own), Shown::Int(_)) => u64::try_from(*own).ok().map(Shown::Int),
                    (archc_grammar::ast::ExprKind::Float(own), Shown::Float(_)) => Some(Shown::Float(*own)),
                    (archc_grammar::ast::ExprKind::Int(own), Shown::Float(_)) => Some(Shown::Float(*own as f64)),
                    _ => None,
                })
            };
            let docs = match parameter {
                Some(parameter) if !parameter.docs.is_empty() => parameter.docs.clone(),
                Some(_) => String::new(),
                None => self.describe(scope, source),
            };
            Hyperparameter {
                source: source.clone(),
                name: unique(field_name(source), &mut taken),
                docs,
                value: value.clone(),
                default,
            }
        })
        .collect()
    }

    /// What a size is, where only the type of an input names it.
    fn describe(&self, scope: ScopeId, source: &str) -> String {
        let Some((parameter, at)) = self.trace.binds(scope, source) else { return String::new() };
        let inputs = &self.graph.scope(scope).inputs;
        let Some((_, node)) = inputs.iter().find(|(own, _)| *own == parameter) else { return String::new() };
        let axes = self.graph.node(*node).ty.kind.axes();
        let axis = at.and_then(|at| axes.get(at)).copied().unwrap_or(Axis::Channel);
        let name = axis.name();
        let mut chars = name.chars();
        let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
        format!("{first}{} of `{parameter}`.", chars.as_str())
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
    let stretches = matches!(op, Op::Add(_) | Op::Multiply(_));
    let like = types.iter().position(|ty| ty.batch == result.batch);
    let spread = |ty: &&Type| {
        let shared = !ty.batch.samples && ty.batch.folds.is_empty();
        if types.len() < 2 || ty.batch == result.batch || shared && stretches {
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
    types.iter().map(spread).collect()
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
