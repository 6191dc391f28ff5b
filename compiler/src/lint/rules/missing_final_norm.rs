//! `norm/missing-final`

use crate::analysis::stacks::{Stack, passage, readers};
use crate::ir::NodeId;
use crate::lint::{Context, Report};
use crate::ops::Passage;
use crate::words::figure;
use archc_grammar::Span;

/// Blocks whose sum grows enough for the head to notice: 12 unit branches make a mean square of 13.
const BLOCKS: usize = 12;
/// Nodes behind a stack that are looked at, at most.
const MAX_BEHIND: usize = 64;

rule! {
    /// ## What it does
    ///
    /// Finds deep pre-norm stacks whose stream reaches an output without a norm.
    ///
    /// ## Why is this bad
    ///
    /// A pre-norm stack normalises what goes into its branches and nothing else: the stream itself grows with every
    /// block, and goes on growing in training. Without a norm at its end the head sees that growth: its outputs and
    /// its gradient scale with the depth, and with how far training has come. Every published pre-norm transformer ends
    /// in a norm.
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
    /// ## References
    ///
    /// * Xiong et al., *On Layer Normalization in the Transformer Architecture*, ICML 2020, table 1: the final norm of pre-LN.
    /// * black-forest-labs/flux#472: how large streams become.
    /// * To confirm: `archc predict SPEC` prints the mean square that the head is fed, `archc probe SPEC` measures it.
    "norm/missing-final", Warning
    pub struct MissingFinalNorm {
        last: Span,
        head: Span,
        blocks: usize,
        square: Option<f64>,
    }

    check(context) {
        let found = context.stacks().0.iter().filter_map(|stack| {
            let last = stack.blocks.last()?.sum;
            let head = is_pre_norm(stack).then(|| bare_head(context, last))??;
            let finding = MissingFinalNorm {
                last: context.place(last),
                head: context.place(head),
                blocks: stack.blocks.len(),
                square: context.signal().square(last),
            };
            Some((head, finding))
        });
        found.collect()
    }

    report(finding, _context) {
        let square = finding.square.map(|square| format!(", mean square {}", figure(square)));
        Report {
            message: "a pre-norm stack is read out without a norm".to_owned(),
            labels: vec![
                (finding.head, "reads the stream as it is".to_owned()),
                (finding.last, format!("the sum of {} branches{}", finding.blocks, square.unwrap_or_default())),
            ],
            notes: vec![],
            help: Some("normalise the stream once at its end: `h -> layer_norm() -> ..`".to_owned()),
        }
    }
}

fn is_pre_norm(stack: &Stack) -> bool {
    stack.blocks.len() >= BLOCKS && stack.blocks.iter().all(|block| block.normalized && !block.post_norm)
}

/// The first map of a stream that reaches an output, where no way behind the stack has a norm.
fn bare_head(context: &Context<'_>, last: NodeId) -> Option<NodeId> {
    let graph = context.graph;
    let head = readers(graph, last).into_iter().find(|reader| {
        matches!(passage(graph, *reader), Some(Passage::Project | Passage::Transform | Passage::Cut | Passage::Join))
    })?;
    let (mut open, mut seen) = (vec![last], 0);
    while let Some(at) = open.pop() {
        seen += 1;
        for (user, _) in graph.users(at) {
            if seen > MAX_BEHIND || passage(graph, user) == Some(Passage::Normalize) {
                return None;
            }
            open.push(user);
        }
    }
    Some(head)
}
