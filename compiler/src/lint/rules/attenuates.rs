//! `attention/attenuates`

use crate::lint::Report;
use crate::ops::Op;
use crate::words::figure;
use archc_grammar::Span;

/// Share of the energy of the values below which attention passes on hardly anything.
const SHARE: f64 = 0.05;

rule! {
    /// ## What it does
    ///
    /// Finds attention whose result is predicted to have less than 5 % of the mean square of its values at initialisation.
    ///
    /// ## Why is this bad
    ///
    /// With scores near zero attention is a mean over L keys. What keys have in common passes, what differs is divided by L: at
    /// 1024 uncorrelated tokens a thousandth of the energy is left. The branch starts as good as silent, which
    /// does no harm beside a residual stream; it says that at this resolution the branch learns late, and that a fusion
    /// without a bypass would lose the signal. A remark.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Faint(x: tokens[1024, 64]) -> tokens[1024, 64] {
    ///     let [q, k, v] = x -> layer_norm() @norm -> linear(192) @qkv -> chunk(3)
    ///     x + (attention(q, k, v, heads: 2) -> linear(64) @proj)
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// Nothing beside a residual stream. With fewer keys, as within windows or behind a pooling, more is left:
    ///
    /// ```arch
    /// model Clear(x: tokens[16, 64]) -> tokens[16, 64] {
    ///     let [q, k, v] = x -> layer_norm() @norm -> linear(192) @qkv -> chunk(3)
    ///     x + (attention(q, k, v, heads: 2) -> linear(64) @proj)
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// None: a factor on the values, a residual and a start at zero all answer it, and mean different networks.
    ///
    /// ## References
    ///
    /// * Noci et al., *Signal Propagation in Transformers*, NeurIPS 2022.
    /// * Kedia et al., *Transformers Get Stable*, ICML 2024: moments of attention.
    ///
    /// ## Threads
    ///
    /// None found that shows it alone.
    ///
    /// * AkihikoWatanabe/paper_notes#1866: notes on *Scalable-Softmax*: the largest weight of a softmax tends to zero
    ///   as keys are added, so that attention flattens.
    ///
    /// ## To confirm
    ///
    /// `archc probe SPEC --format json` measures the mean square of what attention gives beside that of its values: of
    /// L keys that do not agree, about 1/L is left.
    "attention/attenuates", Info
    pub struct Attenuates {
        attention: Span,
        share: f64,
    }

    check(context) {
        let graph = context.graph;
        let found = graph.node_ids().filter_map(|id| {
            let (Op::Attention(_), values) = (graph.node(id).op()?, graph.operand(id, 2)?) else { return None };
            let before = context.signal().square(values).filter(|square| *square > 0.0)?;
            let share = context.signal().square(id)? / before;
            (share < SHARE).then(|| (id, Attenuates { attention: context.place(id), share }))
        });
        found.collect()
    }

    report(finding, _context) {
        Report {
            message: "this attention passes on hardly anything at the start".to_owned(),
            labels: vec![(
                finding.attention,
                format!("keeps {} % of the energy of its values", figure(100.0 * finding.share)),
            )],
            notes: vec![],
            help: Some("keep a bypass beside it; fewer keys, or a scale on its values, let more through".to_owned()),
        }
    }
}
