//! An instance of a module, and what has to be the same for two of them to be one module.

use super::{Element, Field, Hyperparameter, Numbers, Part, Port, Step};
use crate::ir::{Graph, NodeId, ScopeId};
use crate::ops::Op;
use rustc_hash::FxHashMap;
use std::fmt::Write;

pub(super) struct Draft {
    pub scope: ScopeId,
    pub hyperparameters: Vec<Hyperparameter>,
    pub fields: Vec<Field>,
    pub inputs: Vec<Port>,
    pub sizes: Vec<String>,
    pub outputs: Vec<NodeId>,
    pub steps: Vec<Step>,
}

/// Values that a step needs.
pub(super) fn uses(step: &Step) -> Vec<NodeId> {
    match step {
        Step::Op(step) => step.operands.clone(),
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

impl Draft {
    /// Everything that code made of this instance depends on. What differs between instances of one module stands in
    /// expressions over hyperparameters.
    pub fn key(&self, graph: &Graph) -> String {
        let mut locals: FxHashMap<NodeId, usize> = FxHashMap::default();
        for node in self.inputs.iter().map(|port| port.node).chain(self.steps.iter().flat_map(makes)) {
            let next = locals.len();
            locals.entry(node).or_insert(next);
        }
        let local = |node: &NodeId| locals.get(node).map_or("?".to_owned(), usize::to_string);
        let all = |nodes: &[NodeId]| nodes.iter().map(local).collect::<Vec<_>>().join(",");
        let kind = |node: NodeId| format!("{:?}", graph.node(node).ty.kind);
        let own = graph.scope(self.scope);
        let mut key = format!("{:?} {:?} {}\n", own.kind, own.definition, own.name);
        for own in &self.hyperparameters {
            let _ = writeln!(key, "{} {}", own.source, matches!(own.value, crate::ops::attribute::Shown::Float(_)));
        }
        for port in &self.inputs {
            let _ = writeln!(key, "in {} {}", port.name, kind(port.node));
        }
        let _ = writeln!(key, "sizes {:?}", self.sizes);
        for field in &self.fields {
            let count = field.count.as_ref().map(ToString::to_string);
            let _ = writeln!(key, "field {} {} {count:?}", field.name, field.is_list);
            field.elements.iter().for_each(|element| element_key(&mut key, graph, element));
        }
        for step in &self.steps {
            let _ = match step {
                Step::Op(step) => {
                    let (node, kinds) = (graph.node(step.node), step.operands.iter().map(|own| kind(*own)));
                    let Some(op) = node.op() else { continue };
                    writeln!(
                        key,
                        "{} {:?} {} {:?} {:?} {:?} {} -> {}",
                        op_key(op, &step.numbers),
                        step.place,
                        all(&step.operands),
                        kinds.collect::<Vec<_>>(),
                        step.sizes,
                        step.spreads,
                        node.ty.batch.folds.len(),
                        kind(step.node),
                    )
                }
                Step::Chunk { operand, parts, count, groups } => {
                    let parts: Vec<String> =
                        parts.iter().map(|part| part.map_or("_".into(), |own| local(&own))).collect();
                    writeln!(key, "chunk {} {} {count} {groups} {:?}", local(operand), kind(*operand), parts)
                }
                Step::Call(step) => writeln!(
                    key,
                    "call {} {:?} {} {:?} -> {}",
                    step.module,
                    step.place,
                    all(&step.operands),
                    step.sizes,
                    step.results.len()
                ),
                Step::Loop(step) => {
                    let operands: Vec<_> = step.operands.iter().map(|(own, result)| (local(own), *result)).collect();
                    writeln!(key, "loop {} {} {operands:?} {:?}", step.module, step.field, step.sizes)
                }
            };
        }
        let _ = writeln!(key, "out {}", all(&self.outputs));
        key
    }
}

fn element_key(key: &mut String, graph: &Graph, element: &Element) {
    let _ = match &element.part {
        Part::Layer { node, numbers } => {
            let node = graph.node(*node);
            let parameters = node.parameters.iter().map(|id| graph.parameter(*id));
            let starts: Vec<String> =
                parameters.map(|own| format!("{} {} {:?}", own.name, own.init, own.storage)).collect();
            let op = node.op().map(|op| op_key(op, numbers));
            writeln!(key, "layer {} {op:?} {starts:?}", element.path)
        }
        Part::Module { module, arguments } => {
            let arguments: Vec<String> = arguments.iter().map(|(name, number)| format!("{name}: {number}")).collect();
            writeln!(key, "module {} {module} {arguments:?}", element.path)
        }
    };
}

/// An operator with expressions in the place of numbers.
fn op_key(op: &Op, numbers: &Numbers) -> String {
    let mut key = op.name().to_owned();
    for (name, shown) in op.attributes() {
        if name == "of" || super::build::is_size(op, name) || numbers.iter().any(|(own, _)| own == name) {
            continue;
        }
        let _ = write!(key, " {name}={shown}");
    }
    for (name, number) in numbers {
        let _ = write!(key, " {name}={number}");
    }
    key
}
