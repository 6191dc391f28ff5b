//! What a module holds: its layers and inner modules as fields and lists, and its hyperparameters.

use super::{Builder, Built, is_needed, relative};
use crate::emit::names::{field_name, unique};
use crate::emit::number::Number;
use crate::emit::structure::{Element, Field, Hyperparameter, OpStep, Part, Place, Step};
use crate::ir::{Node, NodeId, ROOT, ScopeId, ScopeKind};
use crate::ops::Op;
use crate::ops::attribute::Shown;
use crate::types::Axis;
use std::sync::Arc;

impl Builder<'_> {
    pub(super) fn part(&mut self, scope: ScopeId, child: ScopeId, built: &Built) -> Option<Element> {
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
    pub(super) fn relative(&self, scope: ScopeId, node: &Node, op: &Op) -> String {
        let path = relative(&self.graph.scope(scope).path, node.path.as_deref().unwrap_or_default());
        if path.is_empty() { format!("@{}", op.name()) } else { path }
    }

    /// Elements as fields: what is numbered and alike is a list.
    pub(super) fn fields(&self, scope: ScopeId, elements: Vec<Element>) -> (Vec<Field>, Vec<Place>) {
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
    pub(super) fn field(&self, path: &str, is_list: bool, elements: &[Element]) -> String {
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
    pub(super) fn alike(&self, a: &Element, b: &Element) -> bool {
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
    pub(super) fn count(&self, scope: ScopeId, run: &[usize], elements: &[Element]) -> Option<Number> {
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
    pub(super) fn hyperparameters(&self, scope: ScopeId, fields: &[Field], steps: &[Step]) -> Vec<Hyperparameter> {
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
    pub(super) fn describe(&self, scope: ScopeId, source: &str) -> String {
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
}
