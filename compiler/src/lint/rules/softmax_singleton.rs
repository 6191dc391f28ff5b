//! `gate/softmax-singleton`

use crate::dim::Dim;
use crate::ir::{Graph, NodeId};
use crate::lint::Report;
use crate::ops::Op;
use crate::ops::softmax::SoftmaxAxis;
use crate::types::{Axis, Type};
use archc_grammar::{Fix, Safety, Span};

rule! {
    /// ## What it does
    ///
    /// Finds a softmax over an axis of size one, and attention to a single key.
    ///
    /// ## Why is this bad
    ///
    /// A softmax sums to one over its axis. Over a single element it is the constant 1: the gate is always fully
    /// open, and nothing in front of it receives a gradient. A mask for each pixel in one channel is a sigmoid. So
    /// is a gate for each channel: a softmax over C channels sums to one and shrinks what it gates by a factor of C.
    /// Attention to a single key gives its value to every query, whatever they ask: its queries and keys never move.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Gated(x: image[8, 16, 16]) -> image[8, 16, 16] {
    ///     let mask = x -> conv2d(1, kernel: 3) @mask -> softmax()
    ///     (x * mask) -> conv2d(8, kernel: 1) @out
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Gated(x: image[8, 16, 16]) -> image[8, 16, 16] {
    ///     let mask = x -> conv2d(1, kernel: 3) @mask -> sigmoid()
    ///     (x * mask) -> conv2d(8, kernel: 1) @out
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Makes the softmax a sigmoid (unsafe: the gate computes something else; weights still load).
    ///
    /// ## References
    ///
    /// * Woo et al., *CBAM: Convolutional Block Attention Module*, ECCV 2018: the spatial gate is a sigmoid.
    ///
    /// ## Threads
    ///
    /// * CompVis/latent-diffusion#152: a class is a context of one token, so that all weights of cross-attention are
    ///   one.
    /// * cvlab-columbia/zero123#29: the same for CLIP's embedding with the pose: queries and keys look redundant.
    /// * pixelite1201/CameraHMR#26: self-attention of a single token: 6.3 million parameters get no gradient.
    /// * localminimum/R-net#8: a softmax behind `expand_dims` is over one element, and all scores are 1; the author
    ///   thanks for the catch.
    ///
    /// ## To confirm
    ///
    /// `archc probe SPEC --wake-up` trains for seven steps: what is in front of the softmax has no gradient in any.
    /// `archc params SPEC --format table` says *never* of it.
    "gate/softmax-singleton", Error
    pub struct SoftmaxSingleton {
        softmax: Span,
        over: Single,
        ty: String,
    }

    check(context) {
        let graph = context.graph;
        let found = graph.node_ids().filter_map(|id| {
            let (over, ty) = single(graph, id)?;
            Some((id, SoftmaxSingleton { softmax: context.place(id), over, ty: ty.to_string() }))
        });
        found.collect()
    }

    report(finding, _context) {
        let SoftmaxSingleton { softmax, over, ty } = finding;
        match over {
            Single::Channel | Single::Position => Report {
                message: format!("this softmax over a single {} is the constant 1", over.name()),
                labels: vec![(*softmax, format!("{ty} has one {}", over.name()))],
                notes: vec!["nothing in front of it can learn: its gradient is zero".to_owned()],
                help: Some("a gate in (0, 1) is `sigmoid()`".to_owned()),
            },
            Single::Key => Report {
                message: "attention to a single key gives the same to every query".to_owned(),
                labels: vec![(*softmax, format!("the keys are {ty}"))],
                notes: vec!["its softmax is the constant 1: queries and keys never move".to_owned()],
                help: Some("add the projected value instead, or attend to several tokens".to_owned()),
            },
        }
    }

    fixes(finding, context) {
        let call = context.call(finding.softmax).filter(|call| *call.name == *"softmax");
        let fix = call.map(|call| Fix::new("take a sigmoid", Safety::Unsafe, call.renamed("sigmoid")));
        fix.into_iter().collect()
    }
}

/// What a softmax has one of, and where.
fn single(graph: &Graph, id: NodeId) -> Option<(Single, &Type)> {
    let operand = |slot| graph.operand(id, slot).map(|operand| &graph.node(operand).ty);
    let op = graph.node(id).op()?;
    if let Op::Attention(_) = op {
        let keys = operand(1)?;
        return (keys.dim(Axis::Token) == Some(&Dim::Known(1))).then_some((Single::Key, keys));
    }
    let Op::Softmax(softmax) = op else { return None };
    let logits = operand(0)?;
    let over = match softmax.over {
        SoftmaxAxis::Channels => Single::Channel,
        SoftmaxAxis::Positions => Single::Position,
    };
    softmax.size(logits).into_iter().all(|size| *size == Dim::Known(1)).then_some((over, logits))
}

/// What there is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Single {
    Channel,
    Position,
    Key,
}

impl Single {
    fn name(self) -> &'static str {
        match self {
            Single::Channel => "channel",
            Single::Position => "position",
            Single::Key => "key",
        }
    }
}
