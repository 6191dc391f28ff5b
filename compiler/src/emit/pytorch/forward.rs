//! The code of a module: its steps as statements.

use super::numbers::{Numbers, Wanted};
use super::text::ident;
use super::{Context, Stored, ops};
use crate::emit::EmitError;
use crate::emit::names::unique;
use crate::emit::number::Number;
use crate::emit::structure::{CallStep, LoopStep, Module, OpStep, Size, Spread, Step};
use crate::emit::values::wanted_axes;
use crate::emit::values::{FLOATS, SIZES, Values, makes, missing_axes, needs_device, new_shape, rank, takes_device};
use crate::ir::NodeId;
use crate::types::{Axis, Kind, Type};
use rustc_hash::FxHashMap;

/// The body of `forward`, and what it needs besides the parts of the module.
pub(super) struct Body {
    pub statements: Vec<String>,
    /// Numbers that it reads from the module.
    pub stored: Vec<Stored>,
}

/// Writes the body of a module.
///
/// `places` says where its parts are found.
pub(super) fn body(
    context: &mut Context<'_>,
    module: &Module,
    places: &super::parts::Places,
) -> Result<Body, EmitError> {
    let mut fixed = vec!["device".to_owned()];
    fixed.extend(context.functions.values().cloned());
    let values = Values::of(module, fixed);
    let mut writer = Writer { context, module, places, values, stored: vec![], axes: FxHashMap::default() };
    let mut statements = writer.read_axes();
    if let (true, Some(port)) =
        (needs_device(writer.context.graph, writer.context.structure, module), module.inputs.first())
    {
        statements.push(format!("device = {}.device", ident(&port.name)));
    }
    let mut last_kind = None;
    for (at, step) in module.steps.iter().enumerate() {
        let (kind, shape) = new_shape(writer.context.graph, step, last_kind);
        statements.extend(shape.map(|shape| format!("# {shape}")));
        last_kind = kind;
        let Some(value) = writer.value(step, &mut statements)? else { continue };
        if at + 1 == module.steps.len() && makes(step) == module.outputs {
            statements.push(format!("return {value}"));
            return Ok(Body { statements, stored: writer.stored });
        }
        let names = writer.values.bind_results(writer.context.graph, step, module);
        let names: Vec<String> =
            names.into_iter().map(|name| name.map_or("_".to_owned(), |name| ident(&name))).collect();
        let names = match (step, names.as_slice()) {
            (Step::Chunk { .. }, [only]) => format!("({only},)"),
            (_, names) => names.join(", "),
        };
        if names != value {
            statements.push(format!("{names} = {value}"));
        }
    }
    let outputs: Vec<String> = module.outputs.iter().map(|output| writer.take(*output)).collect();
    statements.push(format!("return {}", outputs.join(", ")));
    Ok(Body { statements, stored: writer.stored })
}

struct Writer<'a, 'g> {
    context: &'a mut Context<'g>,
    module: &'a Module,
    places: &'a super::parts::Places,
    values: Values,
    stored: Vec<Stored>,
    /// Names of the axes of inputs that the code reads.
    axes: FxHashMap<(usize, usize), String>,
}

impl Writer<'_, '_> {
    fn take(&mut self, node: NodeId) -> String {
        self.values.read(node);
        ident(self.values.name(node))
    }

    /// Statements that name the axes of inputs.
    fn read_axes(&mut self) -> Vec<String> {
        let wanted = wanted_axes(self.module);
        let mut taken: Vec<String> =
            self.module.inputs.iter().map(|port| port.name.clone()).chain(self.module.sizes.clone()).collect();
        taken.extend(self.values.fixed.iter().cloned());
        let mut statements = vec![];
        for (input, port) in self.module.inputs.iter().enumerate() {
            let kind = self.context.graph.node(port.node).ty.kind;
            let mut pattern = vec![];
            for at in 0..rank(kind) {
                if !wanted.contains(&(input, at)) {
                    pattern.push("_".to_owned());
                    continue;
                }
                let axis = at.checked_sub(1).and_then(|at| kind.axes().get(at));
                let name = unique(axis.map_or("batch", |axis| axis.name()).to_owned(), &mut taken);
                self.values.fixed.push(name.clone());
                pattern.push(ident(&name));
                self.axes.insert((input, at), ident(&name));
            }
            let name = ident(&port.name);
            let mut read = pattern.iter().enumerate().filter(|(_, own)| *own != "_");
            match (read.next(), read.next()) {
                (None, _) => {}
                (Some((at, only)), None) => statements.push(format!("{only} = {name}.shape[{at}]")),
                (Some(_), Some(_)) => statements.push(format!("{} = {name}.shape", pattern.join(", "))),
            }
        }
        statements
    }

    /// The value of a step; of a loop none, but its statements.
    fn value(&mut self, step: &Step, statements: &mut Vec<String>) -> Result<Option<String>, EmitError> {
        Ok(Some(match step {
            Step::Op(step) => self.op(step)?,
            Step::Chunk { operand, count, groups, .. } => {
                let ty = &self.context.graph.node(*operand).ty;
                let axis = ty.axis(Axis::Channel).map_or(1, |at| at + 1);
                let x = self.take(*operand);
                if *groups == Number::Int(1) {
                    format!("{x}.chunk({count}, dim={axis})")
                } else {
                    let groups = self.number(groups, "groups");
                    self.context.helper("chunk_groups", &format!("{x}, {count}, {axis}, {groups}"))
                }
            }
            Step::Call(step) => self.call(step)?,
            Step::Loop(step) => {
                self.repeat(step, statements)?;
                return Ok(None);
            }
        }))
    }

    fn op(&mut self, step: &OpStep) -> Result<String, EmitError> {
        let Some(op) = self.context.graph.node(step.node).op() else { return Ok(String::new()) };
        // The batch that others are repeated to is read before names are given to something else.
        let like = |spread: &Option<Spread>| spread.and_then(|spread| step.operands.get(spread.like)).copied();
        let batches: Vec<Option<String>> =
            step.spreads.iter().map(|spread| like(spread).map(|like| self.take(like))).collect();
        let mut operands = vec![];
        for (at, operand) in step.operands.iter().enumerate() {
            let x = self.take(*operand);
            operands.push(match batches.get(at) {
                Some(Some(batch)) => {
                    let each = step.spreads.get(at).copied().flatten().is_some_and(|spread| spread.each);
                    let name = if each { "repeat_each" } else { "repeat_all" };
                    self.context.helper(name, &format!("{x}, {batch}.shape[0]"))
                }
                _ => x,
            });
        }
        ops::call(op, &mut Call { writer: self, step, operands })
    }

    /// What is behind the values in a call: sizes, and the device where no value tells it.
    fn further(&self, callee: &Module, sizes: &[Size]) -> Vec<String> {
        let mut further: Vec<String> = sizes.iter().map(|size| self.size(size, false)).collect();
        if takes_device(self.context.graph, self.context.structure, callee) {
            further.push("device".to_owned());
        }
        further
    }

    fn call(&mut self, step: &CallStep) -> Result<String, EmitError> {
        let callee = self.context.module(step.module)?;
        let mut arguments: Vec<String> = step.operands.iter().map(|operand| self.take(*operand)).collect();
        arguments.extend(self.further(&callee, &step.sizes));
        let called = match step.place {
            Some(place) => self.places.part(place)?,
            None => self.context.function(&callee.name),
        };
        Ok(format!("{called}({})", arguments.join(", ")))
    }

    fn repeat(&mut self, step: &LoopStep, statements: &mut Vec<String>) -> Result<(), EmitError> {
        let callee = self.context.module(step.module)?;
        let firsts: Vec<String> = step.operands.iter().map(|(operand, _)| self.take(*operand)).collect();
        let mut carried: Vec<(usize, String)> = vec![];
        let mut arguments = vec![];
        for ((operand, result), first) in step.operands.iter().zip(firsts) {
            let node = result.and_then(|result| Some((result, *step.results.get(result)?)));
            let Some((result, node)) = node else {
                arguments.push(first);
                continue;
            };
            let own = self.context.graph.node(node).name.as_deref().map(str::to_owned);
            let wanted = self.values.names.get(operand).cloned().or(own).unwrap_or_else(|| "h".to_owned());
            let name = ident(&self.values.bind(node, &wanted));
            if name != first {
                statements.push(format!("{name} = {first}"));
            }
            arguments.push(name.clone());
            carried.push((result, name));
        }
        arguments.extend(self.further(&callee, &step.sizes));
        carried.sort_by_key(|(result, _)| *result);
        let targets: Vec<&str> = carried.iter().map(|(_, name)| name.as_str()).collect();
        statements.push(format!("for block in {}:", self.places.list(step.field)?));
        statements.push(format!("    {} = block({})", targets.join(", "), arguments.join(", ")));
        Ok(())
    }

    /// A number that the code reads: as it is, or from the module where it follows from hyperparameters.
    fn number(&mut self, number: &Number, name: &str) -> String {
        let numbers = Numbers { hyperparameters: &self.module.hyperparameters };
        let wanted = if FLOATS.contains(&name) { Wanted::Float } else { Wanted::Whole };
        if number.is_literal() {
            return numbers.render(number, wanted);
        }
        let known = self.stored.iter().find(|own| own.number == *number && own.wanted == wanted);
        if let Some(known) = known {
            return format!("self.{}", known.name);
        }
        let mut taken = self.places.names();
        taken.extend(self.stored.iter().map(|own| own.name.clone()));
        let plain = match number {
            Number::Field(source) => self.module.hyperparameters.iter().find(|own| own.source == *source),
            _ => None,
        };
        let name = unique(ident(plain.map_or(name, |own| &own.name)), &mut taken);
        self.stored.push(Stored { name: name.clone(), number: number.clone(), wanted });
        format!("self.{name}")
    }

    fn size(&self, size: &Size, nested: bool) -> String {
        let text = match size {
            Size::Known(size) => return size.to_string(),
            Size::Axis { input, axis } => return self.axes.get(&(*input, *axis)).cloned().unwrap_or_default(),
            Size::Given(at) => return self.module.sizes.get(*at).map_or(String::new(), |name| ident(name)),
            Size::Product(parts) => parts.iter().map(|part| self.size(part, true)).collect::<Vec<_>>().join(" * "),
            Size::Quotient(size, divisor) => {
                let inner = self.size(size, !matches!(**size, Size::Product(_)));
                format!("{inner} // {divisor}")
            }
        };
        if nested { format!("({text})") } else { text }
    }
}

/// A call of an operator, while it is being written.
pub(super) struct Call<'a, 'w, 'g> {
    writer: &'a mut Writer<'w, 'g>,
    step: &'a OpStep,
    operands: Vec<String>,
}

impl Call<'_, '_, '_> {
    pub fn count(&self) -> usize {
        self.operands.len()
    }

    fn ty(&self, at: usize) -> Option<&Type> {
        self.step.operands.get(at).map(|operand| &self.writer.context.graph.node(*operand).ty)
    }

    pub fn result(&self) -> &Type {
        &self.writer.context.graph.node(self.step.node).ty
    }

    pub fn operand_kind(&self, at: usize) -> Kind {
        self.ty(at).map_or(Kind::Vector, |ty| ty.kind)
    }

    /// The operand of that place; what is the same for parts of the batch has been repeated.
    pub fn operand(&self, at: usize) -> String {
        self.operands.get(at).cloned().unwrap_or_default()
    }

    /// The operand with an axis for each of the result's.
    pub fn aligned(&self, at: usize) -> String {
        let (x, result) = (self.operand(at), self.result().kind);
        let missing = missing_axes(self.operand_kind(at), result);
        let Some(last) = missing.iter().max() else { return x };
        let axes = (0..=*last).map(|axis| if missing.contains(&axis) { "None" } else { ":" });
        format!("{x}[{}]", axes.collect::<Vec<_>>().join(", "))
    }

    /// The place of an axis in the result, the batch being the first.
    pub fn axis(&self, axis: Axis) -> usize {
        self.result().axis(axis).map_or(0, |at| at + 1)
    }

    pub fn operand_axis(&self, at: usize, axis: Axis) -> usize {
        self.ty(at).and_then(|ty| ty.axis(axis)).map_or(0, |at| at + 1)
    }

    /// What holds the parameters.
    pub fn layer(&self) -> Result<String, EmitError> {
        let none = || EmitError(format!("a layer of `{}` has no place", self.writer.module.name));
        self.writer.places.part(self.step.place.ok_or_else(none)?)
    }

    /// The shape that the first parameter is kept in.
    pub fn stored_shape(&self) -> Vec<u64> {
        let graph = self.writer.context.graph;
        let first = graph.node(self.step.node).parameters.first();
        first.map_or(vec![], |id| graph.parameter(*id).shape.clone())
    }

    /// Names of the sizes of the result among its numbers.
    pub fn sizes(&self) -> Vec<&'static str> {
        SIZES.into_iter().take(self.result().dims.len()).collect()
    }

    pub fn number(&mut self, name: &str) -> String {
        let number = Module::number(&self.step.numbers, name).cloned().unwrap_or(Number::Int(1));
        self.writer.number(&number, name)
    }

    pub fn size(&self, name: &str) -> String {
        let size = self.step.sizes.iter().find(|(own, _)| *own == name);
        size.map_or("1".to_owned(), |(_, size)| self.writer.size(size, false))
    }

    pub fn device(&self) -> &'static str {
        "device"
    }

    /// Whether labels, elements and paths are dropped at random in training.
    pub fn masks(&self) -> bool {
        self.writer.context.options.masks
    }

    /// Whether the network is being trained.
    pub fn training(&self) -> &'static str {
        if self.writer.module.is_function() { "torch.is_grad_enabled()" } else { "self.training" }
    }

    pub fn helper(&mut self, name: &'static str, arguments: &str) -> String {
        self.writer.context.helper(name, arguments)
    }

    /// A helper that is told sizes behind other arguments.
    pub fn sized_helper(&mut self, name: &'static str, arguments: &str, sizes: &[&str]) -> String {
        let sizes: Vec<String> = sizes.iter().map(|size| self.size(size)).collect();
        self.helper(name, &format!("{arguments}, {}", sizes.join(", ")))
    }
}
