//! `gate/unnormalized-glu`

use crate::analysis::growth::Growth;
use crate::analysis::stacks::{passage, readers};
use crate::ir::NodeId;
use crate::lint::{Context, Report, Stage, plain_norm};
use crate::types::Kind;
use crate::ops::{Op, Passage};
use archc_grammar::{Fix, Safety, Span};

rule! {
    /// ## What it does
    ///
    /// Finds residual branches that multiply two functions of a stream that nothing has normalised: gated linear units and
    /// the like, `value(x) * act(gate(x))`.
    ///
    /// ## Why is this bad
    ///
    /// Both factors grow with the stream, and their product with its square: a stream twice as large gets a branch four times
    /// as large, 16 times the energy. From some size on every block then squares what it is given, and values overflow
    /// within a few blocks; below it the branch fades just as fast. A norm in front makes the size of the branch
    /// independent of that of the stream. A gate that is bounded, a sigmoid, does as well.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Squares(x: tokens[16, 32]) -> tokens[16, 32] {
    ///     x -> residual { h =>
    ///         let [value, gate] = h -> linear(128) @fc1 -> chunk(2)
    ///         (value * (gate -> silu())) -> linear(32) @fc2
    ///     }
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Bounded(x: tokens[16, 32]) -> tokens[16, 32] {
    ///     x -> residual { h =>
    ///         let [value, gate] = h -> layer_norm() @norm -> linear(128) @fc1 -> chunk(2)
    ///         (value * (gate -> silu())) -> linear(32) @fc2
    ///     }
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Puts a norm without parameters in front of the branch (unsafe: the network computes something else; weights still
    /// load).
    ///
    /// ## References
    ///
    /// * Shazeer, *GLU Variants Improve Transformer*, 2020: behind a norm, as everywhere since.
    /// * Dauphin et al., *Language Modeling with Gated Convolutional Networks*, ICML 2017: the gate is a sigmoid.
    ///
    /// ## Threads
    ///
    /// * wandb/senpai#2954: with SwiGLU instead of GELU one output is infinite from the first epoch on; the product of
    ///   two large values is named as the cause.
    /// * fla-org/flash-linear-attention#951: an activation of bounded growth is added, against the "quadratic
    ///   amplification" of SwiGLU.
    ///
    /// ## To confirm
    ///
    /// `archc run SPEC --inputs FILE --mid PATH --output out.safetensors`, once more with the input doubled and PATH
    /// the branch: `mid.PATH` is up to four times as large.
    "gate/unnormalized-glu", Warning
    pub struct UnnormalizedGlu {
        product: Span,
        fork: Span,
        degree: u32,
        /// What reads the stream in the branch, where it is one operation, and what kind of value it reads.
        first: Option<(Span, Kind)>,
    }

    check(context) {
        let blocks = context.stacks().0.iter().flat_map(|stack| &stack.blocks);
        let found = blocks.filter_map(|block| {
            let is_stream = context.graph.node(block.sum).ty.kind.has_positions();
            if !is_stream || block.normalized || passage(context.graph, block.fork) == Some(Passage::Normalize) {
                return None;
            }
            let growth = Growth::along(context.graph, block.fork, block.branch);
            let degree = growth.of(block.branch);
            let product = product(context, &growth, block.fork, block.branch)?;
            let kind = context.graph.node(block.fork).ty.kind;
            let mut inside = readers(context.graph, block.fork).into_iter().filter(|reader| *reader != block.sum);
            let first = inside.next().filter(|_| inside.next().is_none());
            let finding = UnnormalizedGlu {
                product: context.place(product),
                fork: context.place(block.fork),
                degree,
                first: first.map(|first| (context.place(first), kind)),
            };
            (degree >= 2).then_some((product, finding))
        });
        found.collect()
    }

    report(finding, _context) {
        let power = 1_u32.checked_shl(2 * finding.degree).unwrap_or(u32::MAX);
        Report {
            message: "this product grows faster than the stream that it is added to".to_owned(),
            labels: vec![
                (finding.product, "both factors grow with the stream".to_owned()),
                (finding.fork, "which nothing has normalised".to_owned()),
            ],
            notes: vec![format!("a stream twice as large gets {power} times the energy from this branch")],
            help: Some("normalise in front of the branch, or gate by something bounded (`sigmoid`)".to_owned()),
        }
    }

    fixes(finding, context) {
        let first = finding.first.and_then(|(place, kind)| Some((context.stage(place)?, kind)));
        let fix = |(stage, kind): (Stage, Kind)| {
            Fix::new("normalise in front of the branch", Safety::Unsafe, vec![stage.before(plain_norm(kind))])
        };
        first.map(fix).into_iter().collect()
    }
}

/// The first product of a branch whose factors both grow.
fn product(context: &Context<'_>, growth: &Growth, fork: NodeId, branch: NodeId) -> Option<NodeId> {
    let graph = context.graph;
    let inside = (fork.0 + 1..=branch.0).map(NodeId);
    inside.filter(|id| matches!(graph.node(*id).op(), Some(Op::Multiply(_)))).find(|id| {
        let mut factors = graph.operands(*id).into_iter();
        factors.all(|factor| growth.of(factor) > 0)
    })
}
