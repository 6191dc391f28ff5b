//! `residual/missing-bypass`

use crate::analysis::stacks::{is_modulated, passage};
use crate::analysis::streams::{Merge, MergeKind};
use crate::ir::NodeId;
use crate::types::Kind;
use crate::lint::{Context, Report, Stage, plain_norm};
use crate::ops::{Op, Passage};
use crate::words::figure;
use archc_grammar::{Fix, Safety, Span};
use rustc_hash::{FxHashMap, FxHashSet};

/// Operations between two sums that are looked at, at most.
const MAX_STEPS: usize = 24;
/// MLPs without a bypass, at least.
const REPEATED: usize = 3;
/// Attentions one behind the other without a bypass, at least: that many are a stack, and no experiment with a few.
const ROW: usize = 4;
/// Nodes between one attention and the last one before it that are looked at, at most.
const MAX_BETWEEN: usize = 64;

rule! {
    /// ## What it does
    ///
    /// Finds attention that stands on the stream itself, between two residual sums of the same shape, with nothing that
    /// passes it by; MLPs that do in block after block; and four attentions or more one behind the other with no residual
    /// sum or long skip between them, in blocks that replace the stream instead of adding to it. A sum of a value with itself
    /// is no bypass, and the branch of an outer residual is no stream: its carry passes attention inside of it by.
    ///
    /// ## Why is this bad
    ///
    /// Attention gives means of its values. Over L keys that do not agree they have 1/L of the energy, and all positions
    /// become alike; what the blocks before have computed for a position is lost, and so is the direct way of its
    /// gradient. One such layer breaks the stream that all other blocks rely on. Linear attention without a residual made an
    /// Imagen unstable; adding it fixed that.
    ///
    /// ## Example
    ///
    /// ```arch
    /// use std.transformer.{Attention, Mlp}
    ///
    /// model Broken(x: tokens[64, 32]) -> tokens[64, 32] {
    ///     x -> residual { layer_norm() @norm1 -> Mlp(64) @mlp1 }
    ///         -> Attention(2) @attn
    ///         -> residual { layer_norm() @norm2 -> Mlp(64) @mlp2 }
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// use std.transformer.{Attention, Mlp}
    ///
    /// model Whole(x: tokens[64, 32]) -> tokens[64, 32] {
    ///     x -> residual { layer_norm() @norm1 -> Mlp(64) @mlp1 }
    ///         -> residual { layer_norm() @norm -> Attention(2) @attn }
    ///         -> residual { layer_norm() @norm2 -> Mlp(64) @mlp2 }
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Puts `residual { .. }` with a norm without parameters around the attention, where it is a block in a pipe between
    /// residual sums (unsafe: the network computes something else; weights still load).
    ///
    /// ## References
    ///
    /// * Dong et al., *Attention is Not All You Need: Pure Attention Loses Rank Doubly Exponentially with Depth*, ICML 2021.
    ///
    /// ## Threads
    ///
    /// * lucidrains/imagen-pytorch#55: with a linear attention block the loss is unstable and samples are noise; the
    ///   author had forgotten the residual, and with it the problem is gone.
    /// * lucidrains/audiolm-pytorch#150: cross-attention without its sum makes results much worse; the author adds it.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC --format lines` prints the mean square in front of and behind it,
    /// `archc probe SPEC --format json` measures it: of what differs between positions, 1/L is left.
    "residual/missing-bypass", Warning
    pub struct MissingBypass {
        part: Part,
        node: Span,
        last: Last,
        /// Where a value is added to itself behind it.
        doubled: Option<Span>,
        kind: Kind,
        /// Mean squares in front of and behind it.
        squares: Option<(f64, f64)>,
    }

    check(context) {
        let residual = context.streams().merges.iter().filter(|merge| merge.kind == MergeKind::Residual);
        let between: Vec<Between> = residual.filter_map(|merge| unbypassed(context, merge)).collect();
        // One such MLP may be a transition; in block after block it is the other half of a transformer.
        let mlps = between.iter().filter(|own| own.part == Part::Mlp).count();
        let found = between.into_iter().filter(|own| own.part == Part::Attention || mlps >= REPEATED);
        let found = found.map(|Between { part, node, sum, doubled }| {
            let finding = MissingBypass {
                part,
                node: context.place(node),
                last: Last::Sum(context.place(sum)),
                doubled: doubled.map(|at| context.place(at)),
                kind: context.graph.node(sum).ty.kind,
                squares: squares(context, sum, node),
            };
            (node, finding)
        });
        let rows = rows(context).into_iter().map(|row| {
            let finding = MissingBypass {
                part: Part::Attention,
                node: context.place(row.first),
                last: Last::Row(row.count),
                doubled: None,
                kind: context.graph.node(row.first).ty.kind,
                squares: squares(context, row.first, row.last),
            };
            (row.first, finding)
        });
        found.chain(rows).collect()
    }

    report(finding, _context) {
        let (message, mut labels) = match finding.last {
            Last::Sum(sum) => (
                format!("nothing bypasses this {} in a stack of residual blocks", finding.part.name()),
                vec![(sum, "the last sum before it".to_owned())],
            ),
            Last::Row(count) => (
                format!("nothing bypasses this {}, nor those behind it: {count} in a row", finding.part.name()),
                vec![],
            ),
        };
        labels.insert(0, (finding.node, "the stream passes through it and not around it".to_owned()));
        labels.extend(finding.doubled.map(|at| (at, "adds a value to itself, which is no bypass".to_owned())));
        let (before, behind) = match finding.last {
            Last::Sum(_) => ("in front of it", "behind it"),
            Last::Row(_) => ("behind it", "behind the last one"),
        };
        let notes = finding.squares.map(|(from, to)| {
            format!("at initialisation the mean square is {} {before} and {} {behind}", figure(from), figure(to))
        });
        Report {
            message,
            labels,
            notes: notes.into_iter().collect(),
            help: Some("add it to its input: `residual { layer_norm() -> .. }`".to_owned()),
        }
    }

    fixes(finding, context) {
        // In a block that replaces its stream the sum belongs around several stages, which only the author knows.
        let is_between = matches!(finding.last, Last::Sum(_));
        let is_block = is_between && context.call(finding.node).is_some_and(|call| !call.is_operator());
        let (open, close) = (format!("residual {{ {} -> ", plain_norm(finding.kind)), " }");
        let fix = |stage: Stage| Fix::new("add it to its input", Safety::Unsafe, stage.around(&open, close));
        context.stage(finding.node).filter(|_| is_block).map(fix).into_iter().collect()
    }
}

/// What stands on the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Attention,
    /// Two maps with an activation between them.
    Mlp,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Part::Attention => "attention",
            Part::Mlp => "MLP",
        }
    }
}

/// What comes before.
#[derive(Clone, Copy, Debug)]
enum Last {
    /// A residual sum.
    Sum(Span),
    /// Nothing that bypasses anything; how many there are in a row.
    Row(usize),
}

/// What stands on the stream between two residual sums.
struct Between {
    part: Part,
    node: NodeId,
    /// The last sum before it.
    sum: NodeId,
    /// A sum of a value with itself on the way.
    doubled: Option<NodeId>,
}

/// Mean squares of two values.
fn squares(context: &Context<'_>, from: NodeId, to: NodeId) -> Option<(f64, f64)> {
    let square = |node: NodeId| context.signal().square(node);
    square(from).zip(square(to))
}

/// What stands between the last sum before a block and the block, on the stream itself.
fn unbypassed(context: &Context<'_>, merge: &Merge) -> Option<Between> {
    let graph = context.graph;
    let mut at = merge.fork;
    let (mut attention, mut maps, mut bends, mut doubled) = (None, vec![], false, None);
    for _ in 0..MAX_STEPS {
        if context.streams().at(at).is_some_and(|before| before.kind == MergeKind::Residual) {
            let mlp = || maps.first().filter(|_| maps.len() == 2 && bends).map(|last| (Part::Mlp, *last));
            let (part, node) = attention.map(|node| (Part::Attention, node)).or_else(mlp)?;
            let open = is_same_size(context, at, merge.fork) && !is_in_branch(context, at, node);
            return open.then_some(Between { part, node, sum: at, doubled });
        }
        match passage(graph, at)? {
            Passage::Add if is_modulated(graph, at) => {}
            Passage::Add if context.streams().is_doubled(graph, at) => doubled = Some(at),
            Passage::Source | Passage::Add | Passage::Join | Passage::Resample => return None,
            Passage::Transform if matches!(graph.node(at).op(), Some(Op::Attention(_))) => attention = Some(at),
            Passage::Transform if matches!(graph.node(at).op(), Some(Op::Activation(_))) => bends |= maps.len() == 1,
            Passage::Project => maps.push(at),
            Passage::Keep
            | Passage::Scale
            | Passage::Gate
            | Passage::Normalize
            | Passage::Cut
            | Passage::Transform => {}
        }
        at = context.streams().main_operand(at)?;
    }
    None
}

fn is_same_size(context: &Context<'_>, a: NodeId, b: NodeId) -> bool {
    let ty = |node: NodeId| &context.graph.node(node).ty;
    ty(a).channels() == ty(b).channels() && ty(a).position_count() == ty(b).position_count()
}

/// Whether a residual sum further on takes what comes from behind `sum` around a value.
fn is_in_branch(context: &Context<'_>, sum: NodeId, node: NodeId) -> bool {
    let streams = context.streams();
    let merges = streams.merges.iter().filter(|merge| merge.kind == MergeKind::Residual && merge.node > node);
    let mut around = merges.filter(|merge| streams.descends(merge.fork, sum) && streams.descends(node, merge.fork));
    around.any(|merge| streams.descends(merge.branch, node) && !streams.descends(merge.carry, node))
}

/// Attentions one behind the other, with nothing that passes any of them by.
#[derive(Clone, Copy)]
struct Row {
    first: NodeId,
    last: NodeId,
    count: usize,
}

/// Rows of attentions that are long enough.
fn rows(context: &Context<'_>) -> Vec<Row> {
    let graph = context.graph;
    let (mut rows, mut continued) = (FxHashMap::<NodeId, Row>::default(), FxHashSet::default());
    let is_attention = |id: &NodeId| matches!(graph.node(*id).op(), Some(Op::Attention(_)));
    for id in graph.node_ids().filter(is_attention) {
        let before: Vec<Row> = attentions_before(context, id).iter().filter_map(|at| rows.get(at)).copied().collect();
        continued.extend(before.iter().map(|row| row.last));
        let row = before.into_iter().max_by_key(|row| row.count);
        let row = row.map_or(Row { first: id, last: id, count: 1 }, |row| Row { last: id, count: row.count + 1, ..row });
        rows.insert(id, row);
    }
    let ends = graph.node_ids().filter(|id| !continued.contains(id)).filter_map(|id| rows.get(&id).copied());
    ends.filter(|row| row.count >= ROW).collect()
}

/// The attentions of the same size whose results one is made of by other operations; none where a sum or a join on the way
/// closes a loop, and lets the stream pass.
fn attentions_before(context: &Context<'_>, attention: NodeId) -> Vec<NodeId> {
    let (graph, streams) = (context.graph, context.streams());
    let mut open: Vec<NodeId> = streams.main_operand(attention).into_iter().collect();
    let (mut seen, mut found) = (FxHashSet::default(), vec![]);
    while let Some(at) = open.pop() {
        if !seen.insert(at) || seen.len() > MAX_BETWEEN {
            continue;
        }
        if streams.at(at).is_some() {
            return vec![];
        }
        if matches!(graph.node(at).op(), Some(Op::Attention(_))) {
            found.extend(Some(at).filter(|at| is_same_size(context, *at, attention)));
            continue;
        }
        match passage(graph, at) {
            None | Some(Passage::Source | Passage::Join) => {}
            Some(Passage::Add) if !is_modulated(graph, at) => {
                let has_positions = |node: &NodeId| graph.node(*node).ty.kind.has_positions();
                open.extend(graph.operands(at).into_iter().filter(has_positions));
            }
            Some(
                Passage::Add
                | Passage::Keep
                | Passage::Scale
                | Passage::Gate
                | Passage::Normalize
                | Passage::Resample
                | Passage::Project
                | Passage::Transform
                | Passage::Cut,
            ) => open.extend(streams.main_operand(at)),
        }
    }
    found
}
