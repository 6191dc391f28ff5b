//! What an execution needs to know ahead: last uses, sizes, and what runs as one.

use crate::error::RunError;
use crate::host::HostTensor;
use archc_compiler::dim::{Dim, Sizes};
use archc_compiler::ir::groups::{Group, Groups};
use archc_compiler::ir::{Graph, NodeId};
use archc_compiler::passes;
use archc_compiler::types::{DType, Type};
use std::sync::Arc;

/// A graph with the last use of every value, and which of its nodes run as one.
#[derive(Clone, Debug)]
pub struct Plan {
    pub graph: Arc<Graph>,
    groups: Groups,
    last_use: Vec<u32>,
}

/// What runs in the place of a node.
pub(crate) enum Step<'p> {
    /// Nothing: the node is inside of a group.
    Inside,
    /// The node itself.
    Node,
    /// The group that the node is the last of.
    Group(&'p Group),
}

/// Sizes of one execution.
#[derive(Clone, Debug, PartialEq)]
pub struct Bindings {
    pub batch: usize,
    pub sizes: Sizes,
}

/// A value that outlives the nodes: an output.
const FOR_EVER: u32 = u32::MAX;

impl Plan {
    /// Runs every node by itself.
    pub fn new(graph: Arc<Graph>) -> Self {
        Self::with_groups(graph, Groups::default())
    }

    /// Runs groups as one.
    pub fn with_groups(graph: Arc<Graph>, groups: Groups) -> Self {
        let mut last_use = vec![0; graph.node_count()];
        for id in graph.node_ids() {
            let user = groups.place(id);
            for operand in graph.operands(id) {
                if let Some(last) = last_use.get_mut(operand.index()) {
                    *last = user.0.max(*last);
                }
            }
        }
        for output in &graph.outputs {
            if let Some(last) = last_use.get_mut(output.node.index()) {
                *last = FOR_EVER;
            }
        }
        Self { graph, groups, last_use }
    }

    /// Runs as one what can be, but for values that someone looks at.
    #[must_use]
    pub fn fused(self, is_seen: impl Fn(NodeId) -> bool) -> Self {
        let groups = passes::groups(&self.graph, is_seen);
        Self::with_groups(self.graph, groups)
    }

    /// What runs in the place of a node.
    pub(crate) fn step(&self, id: NodeId) -> Step<'_> {
        match self.groups.of(id) {
            None => Step::Node,
            Some(group) if group.last() == Some(id) => Step::Group(group),
            Some(_) => Step::Inside,
        }
    }

    /// Whether no group lies across a cut before a node.
    pub(crate) fn is_between_groups(&self, node: usize) -> bool {
        let lies_across = |group: &Group| {
            group.nodes.iter().any(|own| own.index() < node) && group.nodes.iter().any(|own| own.index() >= node)
        };
        !self.groups.iter().any(lies_across)
    }

    /// Whether nothing uses a value after `user`.
    pub fn is_last_use(&self, value: NodeId, user: NodeId) -> bool {
        self.last_use.get(value.index()).is_some_and(|last| *last <= user.0)
    }

    /// Whether something uses a value after so many nodes have run.
    pub fn is_used_from(&self, value: NodeId, node: usize) -> bool {
        self.last_use.get(value.index()).is_some_and(|last| *last as usize >= node)
    }

    /// The sizes that inputs bring, or everything that does not fit about them.
    pub fn bind(&self, inputs: &[HostTensor]) -> Result<Bindings, RunError> {
        let mut problems = vec![];
        let mut batch: Option<(usize, &str)> = None;
        let mut sizes = Sizes::new();
        for (input, tensor) in self.graph.inputs.iter().zip(inputs) {
            let ty = &self.graph.node(input.node).ty;
            let Some((own_batch, data)) =
                tensor.shape.split_first().filter(|(_, data)| data.len() == ty.data_dims().len())
            else {
                problems
                    .push(format!("`{}` is {ty} with a batch in front; its shape is {:?}", input.name, tensor.shape));
                continue;
            };
            match batch {
                None => batch = Some((*own_batch, &input.name)),
                Some((known, first)) if known != *own_batch => {
                    problems.push(format!("`{}` has a batch of {own_batch}, `{first}` one of {known}", input.name));
                }
                Some(_) => {}
            }
            bind_sizes(&input.name, ty, data, &mut sizes, &mut problems);
        }
        if problems.is_empty() {
            problems.extend(self.broken_constraints(&sizes));
        }
        match (batch, problems.is_empty()) {
            (Some((batch, _)), true) if batch > 0 => Ok(Bindings { batch, sizes }),
            (_, true) => Err(RunError::Inputs { problems: vec!["the batch is empty".to_owned()] }),
            (_, false) => Err(RunError::Inputs { problems }),
        }
    }

    /// Requirements of the model that sizes do not meet.
    pub fn broken_constraints(&self, sizes: &Sizes) -> Vec<String> {
        let mut broken = vec![];
        for constraint in &self.graph.constraints {
            if constraint.whole.at(sizes).is_some() {
                continue;
            }
            let sentence = match constraint.whole.divisibility() {
                Some((symbol, modulus)) => {
                    let size = sizes.get(&symbol).map_or("unknown".to_owned(), u64::to_string);
                    format!("{symbol} is {size}; it has to be divisible by {modulus}")
                }
                None => format!("{} has to be a whole number, and not below zero", constraint.whole),
            };
            broken.push(sentence);
        }
        // The strictest requirement on a size says it all.
        broken.dedup();
        broken
    }

    /// Values for all inputs: shapes for given sizes, elements drawn by `draw`.
    pub fn shape_of(&self, ty: &Type, bindings: &Bindings) -> Vec<usize> {
        let data = ty.data_dims().iter().map(|dim| dim.at(&bindings.sizes).unwrap_or(0) as usize);
        let batch: usize = self.batch_of(ty, bindings).into_iter().product();
        std::iter::once(batch).chain(data).collect()
    }

    /// How many samples, and in how many parts each of them.
    pub fn batch_of(&self, ty: &Type, bindings: &Bindings) -> Vec<usize> {
        let folds = ty.batch.folds.iter().map(|dim| dim.at(&bindings.sizes).unwrap_or(0) as usize);
        std::iter::once(if ty.batch.samples { bindings.batch } else { 1 }).chain(folds).collect()
    }
}

/// Takes sizes from an input; what contradicts those of others is a problem.
pub(crate) fn bind_sizes(name: &str, ty: &Type, data: &[usize], sizes: &mut Sizes, problems: &mut Vec<String>) {
    for ((dim, size), axis) in ty.data_dims().iter().zip(data).zip(ty.kind.axes()) {
        let size = *size as u64;
        if let (Dim::Open(_), [symbol]) = (dim, dim.symbols().as_slice())
            && *dim == Dim::symbol(symbol)
        {
            let known = sizes.entry(symbol.clone()).or_insert(size);
            if *known != size {
                problems.push(format!("`{name}` has {symbol} = {size}, another input has {symbol} = {known}"));
            }
            continue;
        }
        match dim.at(sizes) {
            Some(expected) if expected == size => {}
            Some(expected) => {
                problems.push(format!("`{name}` has {} = {size}, the model expects {expected}", axis.name()));
            }
            None => problems.push(format!("`{name}`: {} has to be {dim}", axis.name())),
        }
    }
}

/// Whether a tensor has elements that an input of this type can take. Whole numbers serve as times.
pub(crate) fn fits_dtype(ty: &Type, tensor: &HostTensor) -> bool {
    match (ty.dtype(), &tensor.data) {
        (DType::I64, crate::host::HostData::I64(_)) | (DType::F32, crate::host::HostData::F32(_)) => true,
        (DType::F32, crate::host::HostData::I64(_)) => ty.kind.is_scalar(),
        (DType::I64, crate::host::HostData::F32(_)) => false,
    }
}
