//! `gate/softmax-singleton`

use crate::dim::Dim;
use crate::lint::Report;
use crate::ops::Op;
use crate::ops::softmax::SoftmaxAxis;
use archc_grammar::Span;

rule! {
    /// ## What it does
    ///
    /// Finds a softmax over an axis of size one.
    ///
    /// ## Why is this bad
    ///
    /// A softmax sums to one over its axis. Over a single element it is the constant 1: the gate is always fully
    /// open, and nothing in front of it receives a gradient. A mask for each pixel in one channel is a sigmoid. So
    /// is a gate for each channel: a softmax over C channels sums to one and shrinks what it gates by a factor of C.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Gated(x: image[8, 16, 16]) -> image[8, 16, 16] {
    ///     let mask = x -> conv2d(1, kernel: 3) @mask -> softmax()
    ///     x * mask -> conv2d(8, kernel: 1) @out
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Gated(x: image[8, 16, 16]) -> image[8, 16, 16] {
    ///     let mask = x -> conv2d(1, kernel: 3) @mask -> sigmoid()
    ///     x * mask -> conv2d(8, kernel: 1) @out
    /// }
    /// ```
    ///
    /// ## References
    ///
    /// * Woo et al., *CBAM: Convolutional Block Attention Module*, ECCV 2018: the spatial gate is a sigmoid.
    "gate/softmax-singleton", Error
    pub struct SoftmaxSingleton {
        softmax: Span,
        over: &'static str,
        ty: String,
    }

    check(context) {
        let graph = context.graph;
        let found = graph.node_ids().filter_map(|id| {
            let Some(Op::Softmax(softmax)) = graph.node(id).op() else { return None };
            let operand = graph.operand(id, 0)?;
            let ty = &graph.node(operand).ty;
            let single = softmax.size(ty).into_iter().all(|size| *size == Dim::Known(1));
            let over = match softmax.over {
                SoftmaxAxis::Channels => "channel",
                SoftmaxAxis::Positions => "position",
            };
            single.then(|| (id, SoftmaxSingleton { softmax: context.place(id), over, ty: ty.to_string() }))
        });
        found.collect()
    }

    report(finding, _context) {
        Report {
            message: format!("this softmax over a single {} is the constant 1", finding.over),
            labels: vec![(finding.softmax, format!("{} has one {}", finding.ty, finding.over))],
            notes: vec!["nothing in front of it can learn: its gradient is zero".to_owned()],
            help: Some("a gate in (0, 1) is `sigmoid()`".to_owned()),
        }
    }
}
