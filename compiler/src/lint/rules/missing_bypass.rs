//! `residual/missing-bypass`

use crate::analysis::stacks::{is_modulated, passage};
use crate::analysis::streams::{Merge, MergeKind};
use crate::ir::NodeId;
use crate::types::Kind;
use crate::lint::{Context, Report, Stage, plain_norm};
use crate::ops::{Op, Passage};
use crate::words::figure;
use archc_grammar::{Fix, Safety, Span};

/// Operations between two sums that are looked at, at most.
const MAX_STEPS: usize = 24;
/// MLPs without a bypass, at least.
const REPEATED: usize = 3;

rule! {
    /// ## What it does
    ///
    /// Finds attention that stands on the stream itself, between two residual sums of the same shape, with nothing that
    /// passes it by; and MLPs that do in block after block.
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
    /// Puts `residual { .. }` with a norm without parameters around the attention, where it is a block in a pipe (unsafe: the
    /// network computes something else; weights still load).
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
        sum: Span,
        kind: Kind,
        /// Mean squares in front of and behind it.
        squares: Option<(f64, f64)>,
    }

    check(context) {
        let residual = context.streams().merges.iter().filter(|merge| merge.kind == MergeKind::Residual);
        let between: Vec<(Part, NodeId, NodeId)> = residual.filter_map(|merge| unbypassed(context, merge)).collect();
        // One such MLP may be a transition; in block after block it is the other half of a transformer.
        let mlps = between.iter().filter(|(part, ..)| *part == Part::Mlp).count();
        let found = between.into_iter().filter(|(part, ..)| *part == Part::Attention || mlps >= REPEATED);
        let found = found.map(|(part, node, before)| {
            let square = |node: NodeId| context.signal().square(node);
            let finding = MissingBypass {
                part,
                node: context.place(node),
                sum: context.place(before),
                kind: context.graph.node(before).ty.kind,
                squares: square(before).zip(square(node)),
            };
            (node, finding)
        });
        found.collect()
    }

    report(finding, _context) {
        let notes = finding.squares.map(|(before, behind)| {
            format!(
                "at initialisation the mean square is {} in front of it and {} behind it",
                figure(before),
                figure(behind)
            )
        });
        Report {
            message: format!("nothing bypasses this {} in a stack of residual blocks", finding.part.name()),
            labels: vec![
                (finding.node, "the stream passes through it and not around it".to_owned()),
                (finding.sum, "the last sum before it".to_owned()),
            ],
            notes: notes.into_iter().collect(),
            help: Some("add it to its input: `residual { layer_norm() -> .. }`".to_owned()),
        }
    }

    fixes(finding, context) {
        let is_block = context.call(finding.node).is_some_and(|call| !call.is_operator());
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

/// What stands between the last sum before a block and the block, on the stream itself, with that sum.
fn unbypassed(context: &Context<'_>, merge: &Merge) -> Option<(Part, NodeId, NodeId)> {
    let graph = context.graph;
    let shape = |node: NodeId| &graph.node(node).ty;
    let mut at = merge.fork;
    let (mut attention, mut maps, mut bends) = (None, vec![], false);
    for _ in 0..MAX_STEPS {
        if context.streams().at(at).is_some_and(|before| before.kind == MergeKind::Residual) {
            let same = shape(at).channels() == shape(merge.fork).channels()
                && shape(at).position_count() == shape(merge.fork).position_count();
            let mlp = || maps.first().filter(|_| maps.len() == 2 && bends).map(|last| (Part::Mlp, *last));
            let (part, node) = attention.map(|node| (Part::Attention, node)).or_else(mlp).filter(|_| same)?;
            return Some((part, node, at));
        }
        match passage(graph, at)? {
            Passage::Add if is_modulated(graph, at) => {}
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
