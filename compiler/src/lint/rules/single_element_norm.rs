//! `norm/single-element`

use crate::dim::Dim;
use crate::ir::{Graph, NodeId};
use crate::lint::{Call, Report};
use crate::ops::Op;
use archc_grammar::{Fix, Safety, Span};

rule! {
    /// ## What it does
    ///
    /// Finds norms over a single element: a group of one channel at one position, or one channel of a token. Sizes that are
    /// known only when the model runs have the values that the spec names.
    ///
    /// ## Why is this bad
    ///
    /// One number minus its mean is zero: what comes out of a group or layer norm is the bias, whatever goes in, and no
    /// gradient passes. Without centring, the number divided by its own magnitude is its sign. It happens at the coarsest
    /// level of a U-Net, at 1 x 1, with as many groups as channels, and to the hidden vector of a squeeze-and-excite gate.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Collapses(x: image[8, 1, 1]) -> image[8, 1, 1] { x -> group_norm(8) @norm -> silu() -> conv2d(8, kernel: 1) @out }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Normalizes(x: image[8, 1, 1]) -> image[8, 1, 1] { x -> group_norm(2) @norm -> silu() -> conv2d(8, kernel: 1) @out }
    /// ```
    ///
    /// ## Fix
    ///
    /// Takes fewer groups, with the fewest channels that divide evenly (unsafe: the network computes something else).
    ///
    /// ## References
    ///
    /// * Wu & He, *Group Normalization*, ECCV 2018, equation 7: the set over which statistics are taken.
    /// * PyTorch refuses it in training: "Expected more than 1 value per channel when training".
    ///
    /// ## Threads
    ///
    /// * junyanz/pytorch-CycleGAN-and-pix2pix#60: why the innermost layer has no norm; the author: at 1 x 1 the value
    ///   would become 0.
    /// * arcchang1236/CA-NoiseGAN#3: PyTorch refuses an instance norm behind a pooling to 1 x 1.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC --format lines` prints a mean square of zero behind the norm,
    /// `archc probe SPEC --format json` measures it.
    "norm/single-element", Error
    pub struct SingleElementNorm {
        norm: Span,
        /// Whether the mean is subtracted.
        centred: bool,
        /// Of a group norm, as many as channels.
        groups: Option<u64>,
        /// Whether it is so at the typical sizes alone.
        typical: bool,
    }

    check(context) {
        let graph = context.graph;
        let found = graph.node_ids().filter_map(|id| {
            let Alone { centred, typical } = normalized_alone(graph, id)?;
            let groups = match graph.node(id).op() {
                Some(Op::GroupNorm(norm)) => Some(norm.groups),
                _ => None,
            };
            Some((id, SingleElementNorm { norm: context.place(id), centred, groups, typical }))
        });
        found.collect()
    }

    report(finding, _context) {
        let label = if finding.centred {
            "each number minus itself is zero: the input does not matter"
        } else {
            "each number divided by its own magnitude is its sign"
        };
        Report {
            message: "this norm is taken over a single element".to_owned(),
            labels: vec![(finding.norm, label.to_owned())],
            notes: if finding.typical { vec!["at the sizes that the spec names".to_owned()] } else { vec![] },
            help: Some("normalise over more: fewer groups, more channels, or no norm at this size".to_owned()),
        }
    }

    fixes(finding, context) {
        let Some(groups) = finding.groups else { return vec![] };
        // Where as many groups are channels, any number of groups that divides one divides the other.
        let fewer = (2..=groups).find(|size| groups.is_multiple_of(*size)).map(|size| (size, groups / size));
        let norm = context.call(finding.norm).filter(Call::is_operator);
        let fix = norm.zip(fewer).and_then(|(call, (size, fewer))| {
            let edit = call.change_number("groups", groups, fewer)?;
            Some(Fix::new(format!("normalise over groups of {size} channels"), Safety::Unsafe, vec![edit]))
        });
        fix.into_iter().collect()
    }
}

/// How a norm looks at one element at a time.
struct Alone {
    /// Whether it subtracts the mean.
    centred: bool,
    /// Whether the number of positions depends on sizes, and is one at the typical ones.
    typical: bool,
}

/// Whether a norm looks at one element at a time.
fn normalized_alone(graph: &Graph, id: NodeId) -> Option<Alone> {
    let (groups, over_positions, centred) = match graph.node(id).op() {
        Some(Op::GroupNorm(norm)) => (norm.groups, true, true),
        Some(Op::LayerNorm(_)) => (1, false, true),
        Some(Op::RmsNorm(norm)) => (norm.heads, false, false),
        Some(Op::PixelNorm(norm)) => (norm.groups, false, false),
        _ => return None,
    };
    let ty = &graph.node(graph.operand(id, 0)?).ty;
    let count = ty.position_count().filter(|_| over_positions);
    let single = !over_positions
        || ty.batch.folds.is_empty() && count.as_ref().is_none_or(|count| count.at(&graph.typical) == Some(1));
    let typical = count.is_some_and(|count| count != Dim::Known(1));
    (single && ty.channels()? == groups).then_some(Alone { centred, typical })
}
