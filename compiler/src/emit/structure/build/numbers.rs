//! Where the numbers of an operator come from: hyperparameters around it, channels of values, arguments of calls.

use super::{Builder, is_fixed, is_size, quotient};
use crate::dim::Dim;
use crate::emit::number::{Number, field};
use crate::emit::structure::Numbers;
use crate::init::Init;
use crate::ir::{NodeId, ROOT, ScopeId, ScopeKind};
use crate::ops::Op;
use crate::ops::attribute::Shown;
use crate::types::Axis;
use archc_grammar::ast::Operator;
use std::sync::Arc;

impl Builder<'_> {
    /// Numbers of an operator as expressions, as far as the source explains them.
    pub(super) fn numbers(&mut self, scope: ScopeId, id: NodeId, op: &Op) -> Numbers {
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
    pub(super) fn classes(&self, scope: ScopeId, embedding: NodeId, rows: u64) -> Number {
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
    pub(super) fn declared(&self, scope: ScopeId, node: NodeId, axis: Axis, actual: f64) -> Option<Number> {
        let axes = self.graph.node(node).ty.kind.axes();
        if scope == ROOT {
            let input = self.graph.inputs.iter().find(|input| input.node == node)?;
            return self.trace.declared(scope, &input.name, axis, axes, actual);
        }
        let mut inputs = self.graph.scope(scope).inputs.iter().filter(|(_, own)| *own == node);
        inputs.find_map(|(name, _)| self.trace.declared(scope, name, axis, axes, actual))
    }

    /// The channels of a value in the code of a module.
    pub(super) fn channels(&mut self, scope: ScopeId, node: NodeId) -> Number {
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

    pub(super) fn explain_channels(&mut self, scope: ScopeId, id: NodeId) -> Option<Number> {
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
    pub(super) fn substituted(&mut self, scope: ScopeId, child: ScopeId, number: &Number) -> Option<Number> {
        let mut names = vec![];
        number.collect(&mut names);
        let arguments: Option<Vec<(Arc<str>, Number)>> =
            names.into_iter().map(|name| Some((name.clone(), self.argument(scope, child, &name)?))).collect();
        number.substitute(&arguments?)
    }

    /// What a part is given for one of its hyperparameters.
    pub(super) fn argument(&mut self, scope: ScopeId, child: ScopeId, name: &str) -> Option<Number> {
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
}
