//! `norm/missing-final`

use crate::analysis::preconditioning::Preconditioning;
use crate::analysis::stacks::{Block, passage, readers};
use crate::analysis::streams::{Merge, MergeKind};
use crate::ir::NodeId;
use crate::lint::{Context, Report, Stage, plain_norm};
use crate::ops::Passage;
use crate::types::Kind;
use crate::words::figure;
use archc_grammar::{Fix, Safety, Span};
use rustc_hash::FxHashMap;

/// Blocks whose sum grows enough for the head to notice: 12 unit branches make a mean square of 13.
const BLOCKS: usize = 12;
/// Mean square from which on a stream that is an output itself is reported, far above the unit scale that what reads it
/// elsewhere is made for. Hidden states that published encoders give without a norm (CLIP's, for SDXL) stay below.
const GROWN: f64 = 4.0;
/// Nodes between a stack and an output that are looked at, at most.
const MAX_BEHIND: usize = 64;

rule! {
    /// ## What it does
    ///
    /// Finds deep pre-norm networks whose stream reaches an output without a norm. Branches count from the last norm on the
    /// stream on, over changes of width and resolution. Where the stream is an output itself, as of an encoder whose last norm
    /// is lost, a predicted mean square of more than 4 is reported.
    ///
    /// ## Why is this bad
    ///
    /// A pre-norm stack normalises what goes into its branches and nothing else: the stream itself grows with every
    /// block, to a mean square of 13 behind 12 branches of unit size, and goes on growing in training. Without a norm
    /// at its end the head sees that growth: its outputs and its gradient scale with the depth, and with how far
    /// training has come. Every published pre-norm transformer ends in a norm.
    ///
    /// ## Example
    ///
    /// ```arch
    /// use std.transformer.{Mlp}
    ///
    /// model Bare(x: tokens[16, 32]) -> tokens[16, 8] {
    ///     let h = x
    ///     for i in 0..12 @blocks.{i} { h = h -> residual { layer_norm() @norm -> Mlp(64, out_init: zero) @mlp } }
    ///     h -> linear(8) @head
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// use std.transformer.{Mlp}
    ///
    /// model Ends(x: tokens[16, 32]) -> tokens[16, 8] {
    ///     let h = x
    ///     for i in 0..12 @blocks.{i} { h = h -> residual { layer_norm() @norm -> Mlp(64, out_init: zero) @mlp } }
    ///     h -> layer_norm() @norm -> linear(8) @head
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Puts a norm without parameters in front of what reads the stream (unsafe: the network computes something else; weights
    /// still load).
    ///
    /// ## References
    ///
    /// * Xiong et al., *On Layer Normalization in the Transformer Architecture*, ICML 2020, table 1: the final norm of pre-LN.
    ///
    /// ## Threads
    ///
    /// * NVIDIA-NeMo/Speech#2197: the last layer norm is added to pre-norm encoders and decoders.
    /// * marian-nmt/marian-dev#719: the same, "for correct prenorm behavior".
    /// * facebookresearch/xformers#665: a user misses the norms that PyTorch and fairseq have behind the last layer.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC` prints the mean square behind the last block, which is what the head is fed;
    /// `archc train SPEC --data DATA --out RUN` writes to `metrics.jsonl` how it grows (`activation`).
    "norm/missing-final", Warning
    pub struct MissingFinalNorm {
        last: Span,
        head: Span,
        blocks: usize,
        square: Option<f64>,
        kind: Kind,
        /// Whether the head is all that reads the stream.
        alone: bool,
        /// Whether there is no head, and the stream itself is an output.
        is_output: bool,
    }

    check(context) {
        let blocks: FxHashMap<NodeId, &Block> =
            context.stacks().0.iter().flat_map(|stack| &stack.blocks).map(|block| (block.sum, block)).collect();
        let preconditioned = Preconditioning::of(context.graph);
        let outputs = context.graph.outputs.iter().map(|output| match &preconditioned {
            Some(parts) if parts.sum == output.node => parts.network,
            _ => output.node,
        });
        let found = outputs.filter_map(|output| {
            let (head, last) = bare_head(context, output)?;
            let is_large = || context.signal().square(last).is_some_and(|square| square > GROWN);
            if head.is_none() && !is_large() {
                return None;
            }
            let is_output = head.is_none();
            let head = head.unwrap_or(output);
            let blocks = sums(context, &blocks, last);
            let finding = MissingFinalNorm {
                last: context.place(last),
                head: context.place(head),
                blocks,
                square: context.signal().square(last),
                kind: context.graph.node(last).ty.kind,
                alone: !is_output && readers(context.graph, last).len() == 1,
                is_output,
            };
            (blocks >= BLOCKS).then_some((head, finding))
        });
        found.collect()
    }

    report(finding, _context) {
        let square = finding.square.map(|square| format!(", mean square {}", figure(square)));
        Report {
            message: "a pre-norm stack is read out without a norm".to_owned(),
            labels: vec![
                (finding.head, if finding.is_output { "is an output as it is" } else { "reads the stream as it is" }.to_owned()),
                (finding.last, format!("the sum of {} branches{}", finding.blocks, square.unwrap_or_default())),
            ],
            notes: vec![],
            help: Some("normalise the stream once at its end: `h -> layer_norm() -> ..`".to_owned()),
        }
    }

    fixes(finding, context) {
        let head = context.stage(finding.head).filter(|_| finding.alone);
        let fix = |head: Stage| Fix::new("normalise the stream", Safety::Unsafe, vec![head.before(plain_norm(finding.kind))]);
        head.map(fix).into_iter().collect()
    }
}

/// The first map on the way from a residual sum to an output, if any, and that sum, where no norm stands between.
fn bare_head(context: &Context<'_>, output: NodeId) -> Option<(Option<NodeId>, NodeId)> {
    let (graph, streams) = (context.graph, context.streams());
    let (mut at, mut head) = (output, None);
    for _ in 0..MAX_BEHIND {
        if residual(context, at).is_some() {
            return Some((head, at));
        }
        let own = passage(graph, at)?;
        if matches!(own, Passage::Normalize | Passage::Source) {
            return None;
        }
        if matches!(own, Passage::Project | Passage::Transform) && !graph.node(at).parameters.is_empty() {
            head = Some(at);
        }
        at = streams.main_operand(at)?;
    }
    None
}

/// How many branches with a norm have been added to a stream since it was last normalised itself, whatever its width and
/// its resolution were then.
fn sums(context: &Context<'_>, blocks: &FxHashMap<NodeId, &Block>, last: NodeId) -> usize {
    let (mut at, mut count) = (Some(last), 0);
    while let Some(node) = at {
        let Some(merge) = residual(context, node) else {
            at = match passage(context.graph, node) {
                None | Some(Passage::Normalize | Passage::Source) => None,
                Some(_) => context.streams().main_operand(node),
            };
            continue;
        };
        let Some(block) = blocks.get(&node).filter(|block| !block.post_norm && block.trunk == 1.0) else { break };
        // What a branch without a norm adds is no constant step, and blends of two ways add none.
        count += usize::from(block.normalized);
        at = Some(merge.fork);
    }
    count
}

fn residual<'c>(context: &'c Context<'_>, node: NodeId) -> Option<&'c Merge> {
    context.streams().at(node).filter(|merge| merge.kind == MergeKind::Residual)
}
