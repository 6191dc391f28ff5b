//! Parameters, floating-point operations and activation memory, by scope.

use crate::dim::{Sizes, Symbol};
use crate::ir::{Graph, NodeId, ROOT, ScopeId};
use crate::types::fits;
use serde::Serialize;
use smallvec::SmallVec;

/// Bytes of an f32 element.
const ELEMENT: u64 = 4;

/// What a part of a model costs for one sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Elements of all parameters, frozen ones included, buffers not.
    pub parameters: u64,
    /// Floating-point operations of a forward pass; a multiply-add counts as two.
    pub flops: u64,
    /// Bytes of all values in f32: what training keeps for the backward pass.
    pub activations: u64,
}

impl Cost {
    fn add(&mut self, other: Cost) {
        self.parameters = self.parameters.saturating_add(other.parameters);
        self.flops = self.flops.saturating_add(other.flops);
        self.activations = self.activations.saturating_add(other.activations);
    }
}

/// Costs by scope; a scope includes those inside it.
#[derive(Debug)]
pub struct Costs {
    scopes: Vec<Cost>,
    nodes: Vec<Cost>,
    /// Most bytes alive at once in a forward pass in f32 that frees every value after its last use.
    pub peak: u64,
}

/// Sizes that a symbol needs and that nobody has given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unbound(pub Vec<Symbol>);

impl Costs {
    /// Costs for given sizes of the symbols.
    pub fn of(graph: &Graph, sizes: &Sizes) -> Result<Self, Unbound> {
        let unbound: Vec<Symbol> = graph.symbols().into_iter().filter(|symbol| !sizes.contains_key(symbol)).collect();
        if !unbound.is_empty() {
            return Err(Unbound(unbound));
        }
        let mut shapes: Vec<Folded> = Vec::with_capacity(graph.node_count());
        for id in graph.node_ids() {
            // Sizes that violate a constraint have no shape, and neither do those that no machine could hold.
            let ty = &graph.node(id).ty;
            let folded = ty.shape_at(sizes).zip(ty.folds_at(sizes)).map(|(shape, parts)| Folded { shape, parts });
            let folded = folded.filter(|own| fits(own.shape.iter().copied().chain([own.parts])));
            shapes.push(folded.ok_or(Unbound(vec![]))?);
        }
        let mut costs = Costs {
            scopes: vec![Cost::default(); graph.scope_ids().count()],
            nodes: Vec::with_capacity(graph.node_count()),
            peak: 0,
        };
        for id in graph.node_ids() {
            let cost = costs.node_cost(graph, id, &shapes);
            costs.nodes.push(cost);
            for scope in graph.enclosing(graph.node(id).scope) {
                if let Some(total) = costs.scopes.get_mut(scope.index()) {
                    total.add(cost);
                }
            }
        }
        costs.peak = peak(graph, &shapes);
        Ok(costs)
    }

    fn node_cost(&self, graph: &Graph, id: NodeId, shapes: &[Folded]) -> Cost {
        let node = graph.node(id);
        let empty = Folded::default();
        let folded = |id: NodeId| shapes.get(id.index()).unwrap_or(&empty);
        let operands: SmallVec<[&[u64]; 3]> =
            graph.operands(id).into_iter().map(|operand| folded(operand).shape.as_slice()).collect();
        let own = folded(id);
        let flops = node.op().map_or(0, |op| op.as_operator().flops(&operands, &own.shape));
        Cost {
            parameters: node.parameters.iter().map(|parameter| graph.parameter(*parameter).counted()).sum(),
            flops: flops.saturating_mul(own.parts),
            activations: own.bytes(),
        }
    }

    pub fn scope(&self, scope: ScopeId) -> Cost {
        self.scopes.get(scope.index()).copied().unwrap_or_default()
    }

    pub fn node(&self, node: NodeId) -> Cost {
        self.nodes.get(node.index()).copied().unwrap_or_default()
    }

    /// The whole model.
    pub fn total(&self) -> Cost {
        self.scope(ROOT)
    }

    /// The parts of the model one level down: scopes and nodes of the root, by the first part of their path.
    pub fn top_level(&self, graph: &Graph) -> Vec<(String, Cost)> {
        let mut parts: indexmap::IndexMap<String, Cost> = indexmap::IndexMap::new();
        for id in graph.node_ids() {
            let node = graph.node(id);
            let scope = graph.scope(node.scope);
            let path = node.path.as_deref().unwrap_or(&scope.path);
            let first = path.split('.').next().unwrap_or("");
            let name = if first.is_empty() { "(model)".to_owned() } else { first.to_owned() };
            parts.entry(name).or_default().add(self.node(id));
        }
        parts.into_iter().collect()
    }
}

/// The shape of a value, of which a sample has so many.
#[derive(Default)]
struct Folded {
    shape: Vec<u64>,
    parts: u64,
}

impl Folded {
    fn bytes(&self) -> u64 {
        self.shape.iter().fold(ELEMENT.saturating_mul(self.parts), |bytes, size| bytes.saturating_mul(*size))
    }
}

/// Walks the nodes in order, freeing each value after its last user.
fn peak(graph: &Graph, shapes: &[Folded]) -> u64 {
    let mut last_use: Vec<u32> = (0..graph.node_count() as u32).collect();
    for id in graph.node_ids() {
        for operand in graph.operands(id) {
            if let Some(last) = last_use.get_mut(operand.index()) {
                *last = id.0;
            }
        }
    }
    for output in &graph.outputs {
        if let Some(last) = last_use.get_mut(output.node.index()) {
            *last = u32::MAX;
        }
    }
    let size = |id: NodeId| shapes.get(id.index()).map_or(0, Folded::bytes);
    let (mut alive, mut most) = (0_u64, 0_u64);
    for id in graph.node_ids() {
        alive = alive.saturating_add(size(id));
        most = most.max(alive);
        for operand in graph.operands(id) {
            if last_use.get(operand.index()) == Some(&id.0) {
                alive = alive.saturating_sub(size(operand));
                // A value that is used twice by its last user is freed once.
                if let Some(last) = last_use.get_mut(operand.index()) {
                    *last = u32::MAX;
                }
            }
        }
        if last_use.get(id.index()) == Some(&id.0) {
            alive = alive.saturating_sub(size(id));
        }
    }
    most
}
