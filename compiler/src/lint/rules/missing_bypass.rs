//! `residual/missing-bypass`

use crate::analysis::stacks::passage;
use crate::analysis::streams::{Merge, MergeKind};
use crate::ir::NodeId;
use crate::types::Kind;
use crate::lint::{Context, Report, Stage, plain_norm};
use crate::ops::{Op, Passage};
use crate::words::figure;
use archc_grammar::{Fix, Safety, Span};

/// Operations between two sums that are looked at, at most.
const MAX_STEPS: usize = 24;

rule! {
    /// ## What it does
    ///
    /// Finds attention that stands on the stream itself, between two residual sums of the same shape, with nothing that
    /// passes it by.
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
    /// * lucidrains/imagen-pytorch#55: a linear attention block without residual.
    /// * Dong et al., *Attention is Not All You Need: Pure Attention Loses Rank Doubly Exponentially with Depth*, ICML 2021.
    /// * To confirm: `archc predict SPEC` prints the mean square in front of and behind it, `archc probe SPEC` measures it.
    "residual/missing-bypass", Warning
    pub struct MissingBypass {
        attention: Span,
        sum: Span,
        kind: Kind,
        /// Mean squares in front of and behind it.
        squares: Option<(f64, f64)>,
    }

    check(context) {
        let residual = context.streams().merges.iter().filter(|merge| merge.kind == MergeKind::Residual);
        let found = residual.filter_map(|merge| {
            let (attention, before) = unbypassed(context, merge)?;
            let square = |node| context.signal().square(node);
            let finding = MissingBypass {
                attention: context.place(attention),
                sum: context.place(before),
                kind: context.graph.node(before).ty.kind,
                squares: square(before).zip(square(attention)),
            };
            Some((attention, finding))
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
            message: "nothing bypasses this attention in a stack of residual blocks".to_owned(),
            labels: vec![
                (finding.attention, "the stream passes through it and not around it".to_owned()),
                (finding.sum, "the last sum before it".to_owned()),
            ],
            notes: notes.into_iter().collect(),
            help: Some("add it to its input: `residual { layer_norm() -> .. }`".to_owned()),
        }
    }

    fixes(finding, context) {
        let is_block = context.call(finding.attention).is_some_and(|call| !call.is_operator());
        let (open, close) = (format!("residual {{ {} -> ", plain_norm(finding.kind)), " }");
        let fix = |stage: Stage| Fix::new("add it to its input", Safety::Unsafe, stage.around(&open, close));
        context.stage(finding.attention).filter(|_| is_block).map(fix).into_iter().collect()
    }
}

/// An attention between the last sum before a block and the block, on the stream itself, with that sum.
fn unbypassed(context: &Context<'_>, merge: &Merge) -> Option<(NodeId, NodeId)> {
    let graph = context.graph;
    let shape = |node: NodeId| &graph.node(node).ty;
    let mut at = merge.fork;
    let mut attention = None;
    for _ in 0..MAX_STEPS {
        if context.streams().at(at).is_some_and(|before| before.kind == MergeKind::Residual) {
            let same = shape(at).channels() == shape(merge.fork).channels()
                && shape(at).position_count() == shape(merge.fork).position_count();
            return attention.filter(|_| same).map(|attention| (attention, at));
        }
        match passage(graph, at)? {
            Passage::Source | Passage::Add | Passage::Join | Passage::Resample => return None,
            Passage::Transform if matches!(graph.node(at).op(), Some(Op::Attention(_))) => attention = Some(at),
            Passage::Keep
            | Passage::Scale
            | Passage::Gate
            | Passage::Normalize
            | Passage::Project
            | Passage::Cut
            | Passage::Transform => {}
        }
        at = context.streams().main_operand(at)?;
    }
    None
}
