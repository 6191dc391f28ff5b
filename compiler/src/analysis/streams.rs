//! Which sums are residual, which merges are long skips: found on the graph, whatever the syntax.
//!
//! A merge (`add` or `concat`) of two values closes a loop when one of them, the *carry*, comes from a value that the
//! other one descends from. The carry may be normalised, scaled, gated, projected or resampled on its way, but not
//! transformed. If what it bypasses returns to the stream of features (through other levels of resolution, or as a sum
//! of a stream itself) the merge is a *long skip*; if it is a branch that ends in a fresh map, the merge is *residual*.
//! Any other merge joins values that do not descend from each other: a position table, a condition, a second stream;
//! or plain maps of one value, none of which bypasses another; or it adds a value to itself.
//!
//! # How descent is decided
//!
//! Every value has a main operand: the one whose positions it inherits. Main operands form a forest, and descent in it
//! is an interval test. A stream that was cut out of a joint sequence leaves its own tree; for those a search through
//! all operands, bounded in size, decides. Time and memory are linear in the graph.

use crate::ir::{Graph, NodeId, NodeKind};
use crate::ops::activation::Function;
use crate::ops::{Op, Passage};
use crate::types::Type;
use std::cmp::Reverse;

/// What a merge does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeKind {
    /// A branch is added back to the value it started from.
    Residual,
    /// A feature returns to the stream after a detour of that stream.
    LongSkip,
}

/// A merge that closes a loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    pub node: NodeId,
    pub kind: MergeKind,
    /// Where the two ways part.
    pub fork: NodeId,
    /// The operand that bypasses.
    pub carry: NodeId,
    /// The operand that went the long way.
    pub branch: NodeId,
    /// Operations on the bypass, from the merge back to the fork.
    pub bypass: Vec<NodeId>,
    /// How many residual sums the stream has passed, this one included if it is one.
    pub depth: u32,
}

/// All merges that close loops, and the forest of main operands.
#[derive(Debug)]
pub struct Streams {
    /// In the order of their nodes.
    pub merges: Vec<Merge>,
    parent: Vec<Option<NodeId>>,
    roots: Vec<NodeId>,
    /// Interval of each value's descendants in the forest.
    enter: Vec<u32>,
    leave: Vec<u32>,
    /// Residual sums on the way from the root of each tree.
    depth: Vec<u32>,
    /// Residual sums on the longest way from the root through a value.
    stack: Vec<u32>,
}

/// Operations on a bypass, at most.
const MAX_BYPASS: usize = 12;
/// Nodes that the search beside the forest looks at, at most.
const MAX_SEARCH: usize = 1024;

impl Streams {
    pub fn of(graph: &Graph) -> Self {
        Finder::new(graph).run()
    }

    /// The merge at a node, if it closes a loop.
    pub fn at(&self, node: NodeId) -> Option<&Merge> {
        self.merges.binary_search_by_key(&node, |merge| merge.node).ok().and_then(|at| self.merges.get(at))
    }

    /// The operand whose positions a value inherits.
    pub fn main_operand(&self, node: NodeId) -> Option<NodeId> {
        self.parent.get(node.index()).copied().flatten()
    }

    /// The value that a value descends from by main operands: an input, or a table.
    pub fn root(&self, node: NodeId) -> NodeId {
        self.roots.get(node.index()).copied().unwrap_or(node)
    }

    /// Whether `below` is `above` or descends from it by main operands.
    pub fn descends(&self, below: NodeId, above: NodeId) -> bool {
        is_within(&self.enter, &self.leave, below, above)
    }

    /// Whether a value is the sum of another one with itself, up to factors and order.
    pub fn is_doubled(&self, graph: &Graph, node: NodeId) -> bool {
        let adds = graph.node(node).op().is_some_and(|op| op.as_operator().passage() == Passage::Add);
        let same = |at: NodeId| bare(graph, |at| self.main_operand(at), at);
        match graph.operands(node).as_slice() {
            [a, b] => adds && same(*a) == same(*b),
            _ => false,
        }
    }

    /// Residual sums on the way to a value.
    pub fn depth(&self, node: NodeId) -> u32 {
        self.depth.get(node.index()).copied().unwrap_or(0)
    }

    /// Residual sums of the deepest stack that a value is part of.
    pub fn stack_depth(&self, node: NodeId) -> u32 {
        self.stack.get(node.index()).copied().unwrap_or(0)
    }

    /// The deepest residual stack of the model.
    pub fn max_depth(&self) -> u32 {
        self.depth.iter().copied().max().unwrap_or(0)
    }
}

/// What a factor of a product is, the likelier feature last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Feature {
    /// Bounded: made to multiply.
    Gate,
    /// What a map or an activation gives. Of two of them the one that was there first is the feature: a gate of a saved
    /// feature is made where it returns.
    Made(Reverse<NodeId>),
    #[default]
    Stream,
}

struct Finder<'g> {
    graph: &'g Graph,
    parent: Vec<Option<NodeId>>,
    /// Interval of each node's subtree in the forest.
    enter: Vec<u32>,
    leave: Vec<u32>,
    /// The nearest value on the way to the root whose resolution differs from that of its own main operand.
    change: Vec<Option<NodeId>>,
    depth: Vec<u32>,
    merges: Vec<Merge>,
    is_merge: Vec<bool>,
}

/// Whether the interval of `below` lies in that of `above`.
fn is_within(enter: &[u32], leave: &[u32], below: NodeId, above: NodeId) -> bool {
    let at = get(enter, below);
    get(enter, above) <= at && at < get(leave, above)
}

fn get<T: Copy + Default>(list: &[T], node: NodeId) -> T {
    list.get(node.index()).copied().unwrap_or_default()
}

fn set<T>(list: &mut [T], node: NodeId, value: T) {
    if let Some(slot) = list.get_mut(node.index()) {
        *slot = value;
    }
}

impl<'g> Finder<'g> {
    fn new(graph: &'g Graph) -> Self {
        let count = graph.node_count();
        let mut finder = Self {
            graph,
            parent: vec![None; count],
            enter: vec![0; count],
            leave: vec![0; count],
            change: vec![None; count],
            depth: vec![0; count],
            merges: vec![],
            is_merge: vec![false; count],
        };
        for id in graph.node_ids() {
            let parent = finder.choose_main(id);
            set(&mut finder.parent, id, parent);
            let change = match parent {
                // A stream that is joined with another one and cut out again stays at its resolution.
                Some(parent) if finder.is_join_or_cut(id) => get(&finder.change, parent),
                Some(parent) if same_resolution(&graph.node(id).ty, &graph.node(parent).ty) => {
                    get(&finder.change, parent)
                }
                Some(_) => Some(id),
                None => None,
            };
            set(&mut finder.change, id, change);
        }
        finder.intervals();
        finder
    }

    fn is_join_or_cut(&self, id: NodeId) -> bool {
        let op = self.graph.node(id).op();
        op.is_some_and(|op| matches!(op.as_operator().passage(), Passage::Join | Passage::Cut))
    }

    /// The main operand: one that varies with the input before a table, one with positions before one without, of the
    /// factors of a product the feature before its gate, then the first.
    fn choose_main(&self, id: NodeId) -> Option<NodeId> {
        let is_product = matches!(self.graph.node(id).op(), Some(Op::Multiply(_)));
        let rank = |operand: &NodeId| {
            let ty = &self.graph.node(*operand).ty;
            let feature = if is_product { self.feature(*operand) } else { Feature::default() };
            (ty.batch.samples, ty.batch.folds.len(), ty.kind.has_positions(), ty.dims.len(), feature)
        };
        let operands = self.graph.operands(id);
        let mut best: Option<NodeId> = None;
        for operand in operands {
            if best.is_none_or(|best| rank(&operand) > rank(&best)) {
                best = Some(operand);
            }
        }
        best
    }

    /// How much a factor looks like the feature of a product, up to factors and shifts.
    fn feature(&self, operand: NodeId) -> Feature {
        let mut at = operand;
        for _ in 0..MAX_BYPASS {
            match self.graph.node(at).op() {
                Some(Op::Affine(_)) => {}
                Some(Op::Softmax(_)) => return Feature::Gate,
                Some(Op::Activation(own)) if matches!(own.function, Function::Sigmoid | Function::Tanh) => {
                    return Feature::Gate;
                }
                Some(op) => match op.as_operator().passage() {
                    Passage::Keep | Passage::Scale | Passage::Resample => {}
                    Passage::Project | Passage::Transform => return Feature::Made(Reverse(operand)),
                    Passage::Source
                    | Passage::Gate
                    | Passage::Normalize
                    | Passage::Add
                    | Passage::Join
                    | Passage::Cut => return Feature::Stream,
                },
                None => return Feature::Stream,
            }
            match get(&self.parent, at) {
                Some(parent) => at = parent,
                None => return Feature::Stream,
            }
        }
        Feature::Stream
    }

    /// Numbers the forest so that a subtree is an interval.
    fn intervals(&mut self) {
        let count = self.parent.len();
        let mut sizes = vec![1_u32; count];
        // Operands precede users, so sizes add up from the end.
        for id in self.graph.node_ids().rev() {
            if let Some(parent) = get(&self.parent, id) {
                let sum = get(&sizes, parent) + get(&sizes, id);
                set(&mut sizes, parent, sum);
            }
        }
        let mut next_child = vec![0_u32; count];
        let mut next_root = 0;
        for id in self.graph.node_ids() {
            let size = get(&sizes, id);
            let start = match get(&self.parent, id) {
                Some(parent) => {
                    let start = get(&next_child, parent);
                    set(&mut next_child, parent, start + size);
                    start
                }
                None => {
                    let start = next_root;
                    next_root += size;
                    start
                }
            };
            set(&mut self.enter, id, start);
            set(&mut self.leave, id, start + size);
            set(&mut next_child, id, start + 1);
        }
    }

    fn descends(&self, below: NodeId, above: NodeId) -> bool {
        is_within(&self.enter, &self.leave, below, above)
    }

    fn run(mut self) -> Streams {
        for id in self.graph.node_ids() {
            let merge = match &self.graph.node(id).kind {
                NodeKind::Op(op) if matches!(op.as_operator().passage(), Passage::Add | Passage::Join) => {
                    self.merge(id)
                }
                NodeKind::Op(_) | NodeKind::Input(_) => None,
            };
            let above = get(&self.parent, id).map_or(0, |parent| get(&self.depth, parent));
            let is_residual = merge.as_ref().is_some_and(|merge| merge.kind == MergeKind::Residual);
            let depth = above + u32::from(is_residual);
            set(&mut self.depth, id, depth);
            if let Some(merge) = merge {
                set(&mut self.is_merge, id, true);
                self.merges.push(Merge { depth, ..merge });
            }
        }
        let mut stack = self.depth.clone();
        for id in self.graph.node_ids().rev() {
            if let Some(parent) = get(&self.parent, id) {
                let deepest = get(&stack, parent).max(get(&stack, id));
                set(&mut stack, parent, deepest);
            }
        }
        // Operands precede users.
        let mut roots: Vec<NodeId> = Vec::with_capacity(self.parent.len());
        for id in self.graph.node_ids() {
            let root = get(&self.parent, id).and_then(|parent| roots.get(parent.index()).copied());
            roots.push(root.unwrap_or(id));
        }
        let Self { merges, parent, enter, leave, depth, .. } = self;
        Streams { merges, parent, roots, enter, leave, depth, stack }
    }

    fn merge(&self, id: NodeId) -> Option<Merge> {
        let operands = self.graph.operands(id);
        let [a, b] = operands.as_slice() else { return None };
        // Nothing goes around a value that is added to itself.
        if bare(self.graph, |at| get(&self.parent, at), *a) == bare(self.graph, |at| get(&self.parent, at), *b) {
            return None;
        }
        let (first, second) = (self.loop_from(*a, *b), self.loop_from(*b, *a));
        let (carry, branch, fork, bypass) = match (first, second) {
            // Both ways close a loop: the more direct one carries.
            (Some((_, bypass)), Some((fork, way))) if way.len() < bypass.len() => (*b, *a, fork, way),
            (Some((fork, bypass)), _) => (*a, *b, fork, bypass),
            (None, Some((fork, bypass))) => (*b, *a, fork, bypass),
            (None, None) => {
                let fork = self.search(*a, *b).map(|fork| (*a, *b, fork, vec![]));
                fork.or_else(|| self.search(*b, *a).map(|fork| (*b, *a, fork, vec![])))?
            }
        };
        // What is the same at every position, a mean that is taken away or a context, is no way of the stream.
        let has_positions = |at: NodeId| self.graph.node(at).ty.kind.has_positions();
        if has_positions(id) && !(has_positions(carry) && has_positions(branch)) {
            return None;
        }
        let projects = |at: &NodeId| self.passage(*at) == Some(Passage::Project);
        if bypass.iter().any(projects) && self.is_shallow(branch, fork, MAX_BYPASS) {
            return None;
        }
        let kind = self.kind(id, fork, branch);
        Some(Merge { node: id, kind, fork, carry, branch, bypass, depth: 0 })
    }

    /// The fork from which `carry` comes by light operations alone and from which `branch` descends.
    fn loop_from(&self, carry: NodeId, branch: NodeId) -> Option<(NodeId, Vec<NodeId>)> {
        let mut at = carry;
        let mut bypass = vec![];
        loop {
            if at != branch && self.descends(branch, at) && self.graph.node(at).ty.batch.samples {
                return Some((at, bypass));
            }
            if bypass.len() == MAX_BYPASS || !self.is_light(at) {
                return None;
            }
            bypass.push(at);
            at = get(&self.parent, at)?;
        }
    }

    fn passage(&self, id: NodeId) -> Option<Passage> {
        self.graph.node(id).op().map(|op| op.as_operator().passage())
    }

    /// Whether a value is a sum of plain maps of another one. Beside a further map of it there is no long way and no
    /// bypass: maps of one value are added up, as of the parts of a condition.
    fn is_shallow(&self, at: NodeId, fork: NodeId, steps: usize) -> bool {
        if at == fork {
            return true;
        }
        if steps == 0 || at < fork {
            return false;
        }
        if self.passage(at) == Some(Passage::Add) {
            return self.graph.operands(at).into_iter().all(|operand| self.is_shallow(operand, fork, steps - 1));
        }
        self.is_light(at) && get(&self.parent, at).is_some_and(|parent| self.is_shallow(parent, fork, steps - 1))
    }

    /// Whether a value is its main operand up to norm, factor, channel map and resolution.
    fn is_light(&self, id: NodeId) -> bool {
        let Some(op) = self.graph.node(id).op() else { return false };
        match op.as_operator().passage() {
            Passage::Keep
            | Passage::Scale
            | Passage::Gate
            | Passage::Normalize
            | Passage::Resample
            | Passage::Project => true,
            Passage::Source | Passage::Transform | Passage::Add | Passage::Join | Passage::Cut => false,
        }
    }

    /// Descent through any operand, for streams that were cut out of a joint sequence. Only equal types are looked
    /// at, and only as many nodes as a block has.
    fn search(&self, carry: NodeId, branch: NodeId) -> Option<NodeId> {
        let (a, b) = (&self.graph.node(carry).ty, &self.graph.node(branch).ty);
        if a != b || !a.batch.samples || !a.kind.has_positions() || branch < carry {
            return None;
        }
        let mut open = vec![branch];
        let mut seen = rustc_hash::FxHashSet::default();
        while let Some(at) = open.pop() {
            if at == carry {
                return Some(carry);
            }
            if at < carry || !seen.insert(at) || seen.len() > MAX_SEARCH {
                continue;
            }
            open.extend(self.graph.operands(at));
        }
        None
    }

    fn kind(&self, merge: NodeId, fork: NodeId, branch: NodeId) -> MergeKind {
        let joins = self.graph.node(merge).op().is_some_and(|op| op.as_operator().passage() == Passage::Join);
        // The stream went through another resolution and came back.
        let detours = same_resolution(&self.graph.node(fork).ty, &self.graph.node(merge).ty)
            && get(&self.change, branch).is_some_and(|change| change != fork && self.descends(change, fork));
        if joins || detours || self.is_stream(branch) { MergeKind::LongSkip } else { MergeKind::Residual }
    }

    /// Whether a value is the sum of a stream, up to factors, norms and order.
    fn is_stream(&self, mut at: NodeId) -> bool {
        for _ in 0..MAX_BYPASS {
            if get(&self.is_merge, at) {
                return true;
            }
            let Some(op) = self.graph.node(at).op() else { return false };
            match op.as_operator().passage() {
                Passage::Keep | Passage::Scale | Passage::Normalize => match get(&self.parent, at) {
                    Some(parent) => at = parent,
                    None => return false,
                },
                Passage::Source
                | Passage::Gate
                | Passage::Resample
                | Passage::Project
                | Passage::Transform
                | Passage::Add
                | Passage::Join
                | Passage::Cut => return false,
            }
        }
        false
    }
}

/// What a value is up to factors and order.
fn bare(graph: &Graph, parent: impl Fn(NodeId) -> Option<NodeId>, mut at: NodeId) -> NodeId {
    for _ in 0..MAX_BYPASS {
        let passage = graph.node(at).op().map(|op| op.as_operator().passage());
        match (passage, parent(at)) {
            (Some(Passage::Keep | Passage::Scale), Some(parent)) => at = parent,
            _ => break,
        }
    }
    at
}

/// Whether two values have the same positions.
fn same_resolution(a: &Type, b: &Type) -> bool {
    if a.kind == b.kind && a.batch.folds == b.batch.folds {
        return a.positions().eq(b.positions());
    }
    // Between an image and its tokens, or a video and its frames, the number of positions decides.
    a.position_count() == b.position_count()
}
