//! The graph of a model: plain data, ordered, comparable.
//!
//! # Contract
//!
//! After elaboration without errors:
//!
//! * Nodes are in an order in which every operand precedes its users; the graph is acyclic.
//! * Every node has one value, and every value a [`Type`]. Channel counts are known numbers. Other sizes are known or
//!   polynomials over the model's symbols; for sizes that satisfy all [`Constraint`]s they are whole numbers.
//! * Every parameter has a name that no other parameter has, a known shape and an initialiser. `parameters` is in
//!   checkpoint order: that of a PyTorch `state_dict`, a module's own parameters before those of its children.
//! * Scopes form a tree with the model at its root. A node belongs to the innermost scope it was made in. Scopes say
//!   which call made them, so that a finding can be explained from the model down.
//! * Lowering such a graph does not fail for sizes that satisfy the constraints.
//!
//! What analyses find lives beside the graph, indexed by the same ids. petgraph stores the edges; [`NodeId`] and the
//! iterators here are the interface.

pub mod document;
pub mod dot;
pub mod groups;
pub mod text;

use crate::dim::{Dim, Sizes};
use crate::init::{Fans, Init};
use crate::ops::{Op, ParameterCells, Storage, attribute::Shown};
use crate::types::{Kind, Type};
use archc_grammar::{Frame, Span};
use archc_process::Process;
use petgraph::Direction as Edges;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use serde::Serialize;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::sync::Arc;

macro_rules! id {
    ($(#[doc = $doc:literal])* $Name:ident) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $Name(pub u32);

        impl $Name {
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}
id! {
    /// A node, and the one value it has.
    NodeId
}
id! {
    /// A scope: a block instance, a branch, a section.
    ScopeId
}
id! {
    /// A parameter; the order of ids is checkpoint order.
    ParameterId
}

/// The scope of the model itself.
pub const ROOT: ScopeId = ScopeId(0);

#[derive(Clone, Debug, PartialEq)]
pub enum NodeKind {
    /// The input of that index.
    Input(u32),
    Op(Op),
}

/// What a value is to the stream of features it belongs to, where the source says so. Analyses do not rely on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The sum of a `residual`.
    Residual,
    /// The fusion of a `join`.
    Skip,
    /// A gated value.
    Gate,
    /// A condition.
    Cond,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub kind: NodeKind,
    pub ty: Type,
    pub scope: ScopeId,
    /// The expression that made it.
    pub span: Span,
    /// Parameter path of a labelled or parametrised call, from the root.
    pub path: Option<Arc<str>>,
    /// The name that `let` gave it.
    pub name: Option<Arc<str>>,
    pub role: Option<Role>,
    pub parameters: SmallVec<[ParameterId; 2]>,
    /// Innermost `#[allow]` in force, as an index into [`Graph::allows`].
    pub allow: Option<u32>,
}

impl Node {
    pub fn op(&self) -> Option<&Op> {
        match &self.kind {
            NodeKind::Op(op) => Some(op),
            NodeKind::Input(_) => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScopeKind {
    Model,
    Block,
    /// The branch of a `residual`.
    Residual,
    /// An `encoder`, `bottleneck` or `decoder`, or a labelled loop iteration.
    Section,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Scope {
    pub kind: ScopeKind,
    /// Name of the model or block, or the word of the section.
    pub name: Arc<str>,
    pub parent: Option<ScopeId>,
    /// Parameter path from the root; empty for the root.
    pub path: Arc<str>,
    /// Where it was called; for the root, its header.
    pub call: Span,
    /// Header of the definition.
    pub definition: Span,
    /// Compile-time values by name: hyperparameters and sizes of a block, the item and the index of a loop. Those of the
    /// model are in [`Graph::hyperparameters`].
    pub hyperparameters: Vec<(Arc<str>, Shown)>,
    /// Tensor arguments by parameter name.
    pub inputs: Vec<(Arc<str>, NodeId)>,
    pub outputs: Vec<NodeId>,
}

/// Which line decided how a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InitOrigin {
    /// An argument of the call.
    Call(Span),
    /// An `init` statement.
    Scope(Span),
    /// The framework's default.
    Default,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Published name.
    pub path: Arc<str>,
    /// What the operator calls it.
    pub name: &'static str,
    pub node: NodeId,
    pub shape: Vec<u64>,
    pub fans: Fans,
    pub init: Init,
    pub origin: InitOrigin,
    pub storage: Storage,
    pub cells: ParameterCells,
}

impl Parameter {
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }

    /// How it starts, in words for a reader: *the framework's default*, *zero*.
    pub fn start(&self) -> String {
        if self.init == Init::framework_default() {
            return "the framework's default, uniform within 1/sqrt(fan_in)".to_owned();
        }
        self.init.to_string()
    }

    /// Elements that count as parameters: none of a buffer.
    pub fn counted(&self) -> u64 {
        if self.storage == Storage::Buffer { 0 } else { self.elements() }
    }

    pub fn is_trained(&self) -> bool {
        self.storage == Storage::Trained
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    pub name: Arc<str>,
    pub node: NodeId,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// `out` for the main output.
    pub name: Arc<str>,
    pub node: NodeId,
}

/// A quotient of symbolic sizes that has to be a whole number.
#[derive(Clone, Debug, PartialEq)]
pub struct Constraint {
    pub whole: Dim,
    /// The expression that needs it; for a declared one, the assertion.
    pub span: Span,
    /// The node that needs it.
    pub scope: ScopeId,
    /// Whether the spec states it with `assert(H % 8 == 0, ..)`.
    pub declared: bool,
}

/// An `#[allow]` in force, linked to the one around it.
#[derive(Clone, Debug, PartialEq)]
pub struct AllowEntry {
    pub rule: Arc<str>,
    pub reason: Arc<str>,
    pub span: Span,
    pub outer: Option<u32>,
}

/// How a value goes with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Rises,
    Falls,
}

/// What a spec claims of the elements of a value, whatever its parameters become.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    pub node: NodeId,
    pub span: Span,
    /// They lie between these.
    pub within: Option<(f64, f64)>,
    /// They never go the other way when that number grows.
    pub along: Option<(Direction, NodeId)>,
}

/// The training process that a model declares.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    pub process: Process,
    /// The statement.
    pub span: Span,
    /// Where what it says is written, by entry.
    pub entries: Vec<(Arc<str>, Span)>,
    /// Innermost `#[allow]` in force, as an index into [`Graph::allows`].
    pub allow: Option<u32>,
}

impl Declared {
    /// The entry of that name, or the statement where it is left out.
    pub fn place(&self, entry: &str) -> Span {
        self.entry(entry).unwrap_or(self.span)
    }

    /// The value of the entry of that name, where it is given.
    pub fn entry(&self, entry: &str) -> Option<Span> {
        self.entries.iter().find(|(own, _)| **own == *entry).map(|(_, span)| *span)
    }
}

/// A model with everything in it.
#[derive(Clone, Debug)]
pub struct Graph {
    /// Name of the model.
    pub model: Arc<str>,
    /// Name of the preset, if one was asked for.
    pub preset: Option<Arc<str>>,
    pub docs: String,
    /// Hyperparameters in force.
    pub hyperparameters: Vec<(Arc<str>, Shown)>,
    pub inputs: Vec<Input>,
    pub outputs: Vec<Output>,
    pub parameters: Vec<Parameter>,
    pub constraints: Vec<Constraint>,
    /// Sizes of symbols where the spec names a typical one.
    pub typical: Sizes,
    pub allows: Vec<AllowEntry>,
    /// How it is trained, if the spec says so.
    pub process: Option<Declared>,
    /// What it claims of its values.
    pub claims: Vec<Claim>,
    scopes: Vec<Scope>,
    nodes: DiGraph<Node, u16>,
}

impl Graph {
    /// A graph without nodes.
    pub fn new(model: Arc<str>, root: Scope) -> Self {
        Self {
            model,
            preset: None,
            docs: String::new(),
            hyperparameters: vec![],
            inputs: vec![],
            outputs: vec![],
            parameters: vec![],
            constraints: vec![],
            typical: Sizes::new(),
            allows: vec![],
            process: None,
            claims: vec![],
            scopes: vec![root],
            nodes: DiGraph::new(),
        }
    }

    /// The name under which it was asked for.
    pub fn name(&self) -> &str {
        self.preset.as_deref().unwrap_or(&self.model)
    }

    /// The same with the typical size of every symbol that has one, in types and in cuts of sequences: what is asked of it
    /// is where parts lie, and not what a user may pass.
    pub fn at_typical_sizes(&self) -> Cow<'_, Self> {
        if self.typical.is_empty() {
            return Cow::Borrowed(self);
        }
        let mut sized = self.clone();
        for id in self.node_ids() {
            let node = sized.node_mut(id);
            for dim in &mut node.ty.dims {
                *dim = dim.at(&self.typical).map_or_else(|| dim.clone(), Dim::Known);
            }
            if let NodeKind::Op(Op::Slice(slice)) = &mut node.kind {
                *slice = slice.at(&self.typical);
            }
        }
        Cow::Owned(sized)
    }

    pub fn add_node(&mut self, node: Node, operands: &[NodeId]) -> NodeId {
        let id = self.nodes.add_node(node);
        for (slot, operand) in operands.iter().enumerate() {
            self.nodes.add_edge(NodeIndex::new(operand.index()), id, slot as u16);
        }
        NodeId(id.index() as u32)
    }

    pub fn add_scope(&mut self, scope: Scope) -> ScopeId {
        self.scopes.push(scope);
        ScopeId(self.scopes.len() as u32 - 1)
    }

    pub fn node_count(&self) -> usize {
        self.nodes.node_count()
    }

    /// All nodes, operands before users.
    pub fn node_ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + ExactSizeIterator + use<> {
        (0..self.nodes.node_count() as u32).map(NodeId)
    }

    /// Ids are made by `add_node` alone and nodes are never removed, so there is one.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[NodeIndex::new(id.index())]
    }

    /// Ids are made by `add_node` alone and nodes are never removed, so there is one.
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[NodeIndex::new(id.index())]
    }

    #[expect(clippy::indexing_slicing, reason = "ids are made by `add_scope` alone and scopes are never removed")]
    pub fn scope(&self, id: ScopeId) -> &Scope {
        &self.scopes[id.index()]
    }

    #[expect(clippy::indexing_slicing, reason = "ids are made by `add_scope` alone and scopes are never removed")]
    pub fn scope_mut(&mut self, id: ScopeId) -> &mut Scope {
        &mut self.scopes[id.index()]
    }

    pub fn scope_ids(&self) -> impl DoubleEndedIterator<Item = ScopeId> + use<> {
        (0..self.scopes.len() as u32).map(ScopeId)
    }

    #[expect(clippy::indexing_slicing, reason = "ids of parameters index `parameters` by construction")]
    pub fn parameter(&self, id: ParameterId) -> &Parameter {
        &self.parameters[id.index()]
    }

    pub fn parameter_ids(&self) -> impl DoubleEndedIterator<Item = ParameterId> + use<> {
        (0..self.parameters.len() as u32).map(ParameterId)
    }

    /// Operands in the order of their slots.
    pub fn operands(&self, id: NodeId) -> SmallVec<[NodeId; 3]> {
        let edges = self.nodes.edges_directed(NodeIndex::new(id.index()), Edges::Incoming);
        let mut operands: SmallVec<[(u16, NodeId); 3]> =
            edges.map(|edge| (*edge.weight(), NodeId(edge.source().index() as u32))).collect();
        operands.sort_unstable_by_key(|(slot, _)| *slot);
        operands.into_iter().map(|(_, operand)| operand).collect()
    }

    /// The operand in a slot.
    pub fn operand(&self, id: NodeId, slot: u16) -> Option<NodeId> {
        let mut edges = self.nodes.edges_directed(NodeIndex::new(id.index()), Edges::Incoming);
        edges.find(|edge| *edge.weight() == slot).map(|edge| NodeId(edge.source().index() as u32))
    }

    /// Users with the slot they use the value in, latest first.
    pub fn users(&self, id: NodeId) -> impl Iterator<Item = (NodeId, u16)> {
        let edges = self.nodes.edges_directed(NodeIndex::new(id.index()), Edges::Outgoing);
        edges.map(|edge| (NodeId(edge.target().index() as u32), *edge.weight()))
    }

    /// Types of the operands.
    pub fn operand_types(&self, id: NodeId) -> SmallVec<[&Type; 3]> {
        self.operands(id).into_iter().map(|operand| &self.node(operand).ty).collect()
    }

    /// The scopes around a node, innermost first.
    pub fn enclosing(&self, scope: ScopeId) -> impl Iterator<Item = ScopeId> + '_ {
        std::iter::successors(Some(scope), |scope| self.scope(*scope).parent)
    }

    /// The calls that lead to a scope, innermost first, for diagnostics.
    pub fn chain(&self, scope: ScopeId) -> Vec<Frame> {
        let blocks: Vec<&Scope> = self
            .enclosing(scope)
            .map(|id| self.scope(id))
            .filter(|scope| matches!(scope.kind, ScopeKind::Block | ScopeKind::Model))
            .collect();
        blocks
            .windows(2)
            .filter_map(|pair| match pair {
                [inner, outer] => {
                    Some(Frame { inside: outer.name.to_string(), callee: inner.name.to_string(), call: inner.call })
                }
                _ => None,
            })
            .collect()
    }

    /// Whether an `#[allow]` for that rule is in force at a node, and which.
    pub fn allowed(&self, node: NodeId, rule: &str) -> Option<u32> {
        self.allowed_from(self.node(node).allow, rule)
    }

    /// Whether an `#[allow]` for that rule is in force at the process, and which.
    pub fn allowed_in_process(&self, rule: &str) -> Option<u32> {
        self.allowed_from(self.process.as_ref()?.allow, rule)
    }

    fn allowed_from(&self, mut next: Option<u32>, rule: &str) -> Option<u32> {
        while let Some(at) = next {
            let entry = self.allows.get(at as usize)?;
            if *entry.rule == *rule {
                return Some(at);
            }
            next = entry.outer;
        }
        None
    }

    /// The value, or the values, behind a path: of the scope of that path, of a labelled call, or of the only module that
    /// the path leads to (`input_blocks.0`, which holds nothing but `input_blocks.0.0`). Of scopes within each other that
    /// share a path (`@.`) the outermost is meant.
    pub fn find(&self, path: &str) -> Vec<NodeId> {
        let has_path = |id: &ScopeId| {
            let scope = self.scope(*id);
            !scope.path.is_empty() && *scope.path == *path && scope.kind != ScopeKind::Residual
        };
        if let Some(last) = self.scope_ids().rev().find(has_path) {
            let outermost = self.enclosing(last).filter(has_path).last().unwrap_or(last);
            return self.scope(outermost).outputs.clone();
        }
        let nodes: Vec<NodeId> = self.node_ids().filter(|id| self.node(*id).path.as_deref() == Some(path)).collect();
        match self.only_child(path) {
            Some(child) if nodes.is_empty() => self.find(&format!("{path}.{child}")),
            _ => nodes,
        }
    }

    /// The one name that goes on behind a path.
    fn only_child(&self, path: &str) -> Option<&str> {
        let scopes = self.scope_ids().map(|id| &*self.scope(id).path);
        let nodes = self.node_ids().filter_map(|id| self.node(id).path.as_deref());
        let rest = scopes.chain(nodes).filter_map(|own| own.strip_prefix(path)?.strip_prefix('.'));
        let mut children = rest.filter_map(|rest| rest.split('.').next());
        let first = children.next()?;
        children.all(|child| child == first).then_some(first)
    }

    /// Elements of all parameters; buffers are none.
    pub fn parameter_elements(&self) -> u64 {
        self.parameters.iter().map(Parameter::counted).sum()
    }

    /// Where a value comes from: its own path, or its operator and the path of the block it is in.
    pub fn place(&self, id: NodeId) -> String {
        let node = self.node(id);
        let operator = node.op().map_or("input", Op::name);
        match &node.path {
            Some(path) => path.to_string(),
            None => format!("{} {operator} #{}", self.scope(node.scope).path, id.0).trim_start().to_owned(),
        }
    }

    /// The input that noise is added to: the first that is no number, label or mask.
    pub fn noisy_input(&self) -> Option<NodeId> {
        let holds_features = |kind: Kind| match kind {
            Kind::Image | Kind::Video | Kind::Tokens | Kind::Sequence | Kind::Vector => true,
            Kind::Scalar | Kind::Timestep | Kind::Sigma | Kind::Label | Kind::Ids | Kind::Mask => false,
        };
        self.inputs.iter().map(|input| input.node).find(|input| holds_features(self.node(*input).ty.kind))
    }

    /// Symbols of the inputs, in order of appearance.
    pub fn symbols(&self) -> Vec<crate::dim::Symbol> {
        let mut symbols = vec![];
        for input in &self.inputs {
            for dim in &self.node(input.node).ty.dims {
                for symbol in dim.symbols() {
                    if !symbols.contains(&symbol) {
                        symbols.push(symbol);
                    }
                }
            }
        }
        symbols
    }
}
