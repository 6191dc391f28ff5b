//! `condition/context-scale`

use crate::analysis::stacks::passage;
use crate::ir::NodeId;
use crate::lint::{Context, PLAIN_NORM, Report};
use crate::ops::{Op, Passage};
use crate::words::figure;
use archc_grammar::{Edit, Fix, Safety, Span};

/// Mean squares of a context that projections of the usual start turn into keys and values of a usual size.
const USUAL: std::ops::Range<f64> = 0.01..100.0;
/// Operations between a key or value and what it is projected from, at most.
const MAX_STEPS: usize = 8;

rule! {
    /// ## What it does
    ///
    /// Finds cross-attention that projects its keys, or its values, from a context whose predicted mean square is above 100
    /// or below 0.01, without a norm in between.
    ///
    /// ## Why is this bad
    ///
    /// Scores are products: a context ten times as large, of mean square 100, makes scores ten times as large. Where
    /// they had deviation 1, a key that is one deviation ahead then has e^10 = 22,000 times the weight: softmax picks
    /// one token and passes no gradient on to the others. A context of a tenth makes all scores equal and values that
    /// hardly count. Normalised keys save the scores and not the values: of a context of mean square 10,000 they are a
    /// hundred times as large as the stream that they are added to. Hidden states of text encoders differ that much: those of CLIP come out of a final norm, those
    /// that are taken from inner layers, or are scaled afterwards, do not.
    ///
    /// ## Example
    ///
    /// ```arch
    /// use std.transformer.{MultiHeadAttention}
    ///
    /// model Faint(x: tokens[16, 64], text: tokens[8, 48]) -> tokens[16, 64] {
    ///     x -> residual { layer_norm() @norm -> MultiHeadAttention(text * 0.02, heads: 2, init: zero) @attn }
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// use std.transformer.{MultiHeadAttention}
    ///
    /// model Clear(x: tokens[16, 64], text: tokens[8, 48]) -> tokens[16, 64] {
    ///     let words = (text * 0.02) -> layer_norm() @text_norm
    ///     x -> residual { layer_norm() @norm -> MultiHeadAttention(words, heads: 2, init: zero) @attn }
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Puts a layer norm without parameters behind the context, where it is computed in one place for nothing else (unsafe:
    /// the network computes something else; weights still load).
    ///
    /// ## References
    ///
    /// * Chen et al., *PixArt-α*, ICLR 2024, and Esser et al., *SD3*, 2024: text features go through a projection of their
    ///   own before any block reads them.
    /// * *Two failure modes of deep transformers*, arXiv 2505.24333: what large scores do.
    ///
    /// ## Threads
    ///
    /// * facebookresearch/metaquery#2: the features that Gemma 2 gives SANA have variance 5.5; what takes their place
    ///   is brought to that variance by an RMS norm.
    /// * lucidrains/recurrent-interface-network-pytorch#17: the norm on the context of cross-attention is not in the
    ///   paper; the author calls it standard practice.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC --format lines` prints the mean squares of the context and of the keys that are made of it;
    /// `archc probe SPEC --format json` measures them.
    "condition/context-scale", Warning
    pub struct ContextScale {
        attention: Span,
        context: Span,
        square: f64,
        /// Whether keys are projected from it as it is, or values alone.
        keys: bool,
        /// Whether it is projected and nothing else.
        alone: bool,
    }

    check(context) {
        let found = context.graph.node_ids().filter_map(|id| {
            let OddContext { source, square, keys } = odd_context(context, id)?;
            let mut users = context.graph.users(source);
            let alone = users.all(|(user, _)| passage(context.graph, user) == Some(Passage::Project));
            let (attention, source) = (context.place(id), context.place(source));
            Some((id, ContextScale { attention, context: source, square, keys, alone }))
        });
        found.collect()
    }

    report(finding, _context) {
        let what = if finding.square < 1.0 { "faint" } else { "loud" };
        let projected = if finding.keys { "keys and values are" } else { "values are" };
        Report {
            message: format!("the context of this attention is too {what}"),
            labels: vec![
                (finding.attention, format!("{projected} projected from it as it is")),
                (finding.context, format!("mean square {}", figure(finding.square))),
            ],
            notes: vec![],
            help: Some("normalise the context first: `text -> layer_norm()`".to_owned()),
        }
    }

    fixes(finding, context) {
        let source = finding.context;
        let computed = finding.alone && context.two(source).is_some();
        let before = Span { end: source.start, ..source };
        let edits = vec![Edit::new(before, "(("), Edit::new(source.after(), format!(") -> {PLAIN_NORM})"))];
        let fix = computed.then(|| Fix::new("normalise the context", Safety::Unsafe, edits));
        fix.into_iter().collect()
    }
}

/// The context of a cross-attention whose size is unusual.
pub(super) struct OddContext {
    source: NodeId,
    square: f64,
    /// Whether keys are made of it as it is, or values alone.
    pub(super) keys: bool,
}

/// The context of a cross-attention, where its mean square is unusual and nothing normalises it.
pub(super) fn odd_context(context: &Context<'_>, attention: NodeId) -> Option<OddContext> {
    let graph = context.graph;
    let Some(Op::Attention(_)) = graph.node(attention).op() else { return None };
    let query = graph.operand(attention, 0)?;
    let odd = |operand: u16, keys: bool| {
        let source = projected(context, graph.operand(attention, operand)?)?;
        let square = context.signal().square(source)?;
        let crosses = context.streams().root(query) != context.streams().root(source);
        // A context that starts at zero comes in later.
        let silent = context.liveness().starts_zero(source);
        (crosses && !silent && !USUAL.contains(&square)).then_some(OddContext { source, square, keys })
    };
    odd(1, true).or_else(|| odd(2, false))
}

/// What keys or values are projected from, if there is no norm on the way.
fn projected(context: &Context<'_>, made: NodeId) -> Option<NodeId> {
    let mut at = made;
    for _ in 0..MAX_STEPS {
        let operand = context.streams().main_operand(at)?;
        match passage(context.graph, at)? {
            Passage::Project => return Some(operand),
            Passage::Keep | Passage::Cut | Passage::Scale => at = operand,
            Passage::Source
            | Passage::Gate
            | Passage::Normalize
            | Passage::Resample
            | Passage::Transform
            | Passage::Add
            | Passage::Join => return None,
        }
    }
    None
}
