//! `skip/unnormalized-projection`

use crate::analysis::stacks::{passage, readers};
use crate::analysis::streams::{Merge, MergeKind};
use crate::lint::{Context, PLAIN_NORM, Report, Stage};
use crate::ops::Passage;
use crate::types::Kind;
use crate::words::figure;
use archc_grammar::{Fix, Safety, Span};

rule! {
    /// ## What it does
    ///
    /// Finds long skips between transformer blocks that are concatenated with the stream and projected, with no norm on
    /// either side or in front of the projection.
    ///
    /// ## Why is this bad
    ///
    /// The projection stands on the stream itself: what it gives is all that later blocks have. Its input is two sums
    /// of residuals that nothing has normalised and that grow as training goes on, so its output and its gradient grow
    /// with them, once for every skip. Behind 12 branches of unit size it is fed a mean square of 13, where a norm
    /// would feed it 1. Hunyuan-DiT found the loss to explode and put a layer norm in front, as U-ViT's authors were
    /// asked to.
    ///
    /// ## Example
    ///
    /// ```arch
    /// use std.transformer.{Mlp}
    ///
    /// model Raw(x: tokens[16, 32]) -> tokens[16, 32] {
    ///     skip long(fuse: concat)
    ///     let h = x -> residual { layer_norm() @norm1 -> Mlp(64) @mlp1 }
    ///     long <- h
    ///     h = h -> residual { layer_norm() @norm2 -> Mlp(64) @mlp2 }
    ///     h -> join(long) -> linear(32) @skip_linear -> residual { layer_norm() @norm3 -> Mlp(64) @mlp3 }
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// use std.transformer.{Mlp}
    ///
    /// model Normalized(x: tokens[16, 32]) -> tokens[16, 32] {
    ///     skip long(fuse: concat)
    ///     let h = x -> residual { layer_norm() @norm1 -> Mlp(64) @mlp1 }
    ///     long <- h
    ///     h = h -> residual { layer_norm() @norm2 -> Mlp(64) @mlp2 }
    ///     h -> join(long) -> layer_norm() @skip_norm -> linear(32) @skip_linear
    ///         -> residual { layer_norm() @norm3 -> Mlp(64) @mlp3 }
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Puts a layer norm without parameters in front of the projection (unsafe: the network computes something else; weights
    /// still load).
    ///
    /// ## Evidence
    ///
    /// A remark, because small experiments do not confirm it with every seed: with ten skips on images of digits and a learning
    /// rate of 1e-2 training fails for one of three seeds without the norm and for none with it; with six and 5e-3 nothing
    /// differs (`tests/evidence/report.md`). The reports below are of larger networks.
    ///
    /// ## References
    ///
    /// * Li et al., *Hunyuan-DiT*, 2024: "layer normalization after the skip module ... to avoid loss explosion"; its code has
    ///   `skip_norm` in front of `skip_linear`.
    ///
    /// ## Threads
    ///
    /// * baofff/U-ViT#31: long skips made the training of very deep networks unstable; the pull request normalises what
    ///   goes into them.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC --format lines` prints the mean square of each projection and, with `<-`, that of its
    /// gradient; `archc probe SPEC --format json` measures how gradients grow through blocks.
    "skip/unnormalized-projection", Info
    pub struct UnnormalizedProjection {
        projection: Span,
        saved: Span,
        squares: Option<(f64, f64)>,
        /// Whether it is all that reads what is joined.
        alone: bool,
    }

    check(context) {
        let found = context.streams().merges.iter().filter_map(|merge| {
            let projection = *readers(context.graph, merge.node).first().filter(|_| is_raw(context, merge))?;
            let square = |node| context.signal().square(node);
            let finding = UnnormalizedProjection {
                projection: context.place(projection),
                saved: context.place(merge.fork),
                squares: square(merge.branch).zip(square(merge.carry)),
                alone: readers(context.graph, merge.node).len() == 1,
            };
            Some((projection, finding))
        });
        found.collect()
    }

    report(finding, _context) {
        let notes = finding.squares.map(|(decoder, skip)| {
            format!(
                "at initialisation the stream has mean square {}, the skip {}",
                figure(decoder),
                figure(skip)
            )
        });
        Report {
            message: "a long skip is projected into the stream of a transformer without a norm".to_owned(),
            labels: vec![
                (finding.projection, "all that later blocks have comes out of this projection".to_owned()),
                (finding.saved, "saved here".to_owned()),
            ],
            notes: notes.into_iter().collect(),
            help: Some("normalise in front of it: `join(long) -> layer_norm() -> linear(..)`".to_owned()),
        }
    }

    fixes(finding, context) {
        let projection = context.stage(finding.projection).filter(|_| finding.alone);
        let fix = |stage: Stage| Fix::new("normalise what is projected", Safety::Unsafe, vec![stage.before(PLAIN_NORM)]);
        projection.map(fix).into_iter().collect()
    }
}

fn is_raw(context: &Context<'_>, merge: &Merge) -> bool {
    let graph = context.graph;
    let ty = &graph.node(merge.node).ty;
    let joins = merge.kind == MergeKind::LongSkip && passage(graph, merge.node) == Some(Passage::Join);
    if !joins || ty.kind != Kind::Tokens || ty.channels() <= graph.node(merge.branch).ty.channels() {
        return false;
    }
    // A stack of residual sums has to be on the way, and what is joined has to be projected and nothing else.
    let blocks = context.streams().depth(merge.branch) > context.streams().depth(merge.fork);
    let normalized = |node| passage(graph, node) == Some(Passage::Normalize);
    let projects = |node| passage(graph, node) == Some(Passage::Project) && !graph.node(node).parameters.is_empty();
    let sides = merge.bypass.iter().any(|node| normalized(*node)) || normalized(merge.branch);
    blocks && !sides && readers(graph, merge.node).iter().all(|reader| projects(*reader))
}
