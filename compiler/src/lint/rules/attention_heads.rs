//! `attention/heads`

use crate::lint::Report;
use crate::ops::Op;
use archc_grammar::{Fix, Safety, Span};

/// Heads narrower than this hardly tell keys apart; published networks use 32 to 160.
const NARROW: u64 = 16;
/// The narrowest heads of published networks.
const USUAL: u64 = 32;
/// Published networks have at most 64 heads.
const MANY: u64 = 64;

rule! {
    /// ## What it does
    ///
    /// Finds attention whose heads are narrower than 16 channels, or more than 64.
    ///
    /// ## Why is this bad
    ///
    /// The number of heads and their width are easily swapped: diffusers' `attention_head_dim` means the number of
    /// heads in its 2-D U-Nets and the width in others. The channels divide either way, so nothing fails, but 64 heads
    /// of 5 channels compare keys by five numbers each, where 5 heads of 64 were meant. Checkpoints load as well,
    /// because the shapes of the weights are the same; only the output is wrong.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Swapped(x: tokens[64, 320]) -> tokens[64, 320] {
    ///     let [q, k, v] = x -> linear(3 * 320) @qkv -> chunk(3)
    ///     attention(q, k, v, heads: 64) -> linear(320) @proj
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Meant(x: tokens[64, 320]) -> tokens[64, 320] {
    ///     let [q, k, v] = x -> linear(3 * 320) @qkv -> chunk(3)
    ///     attention(q, k, v, heads: 5) -> linear(320) @proj
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Exchanges the number of heads and their width, or takes heads of at least 32 channels (unsafe: the network computes
    /// something else; weights still load).
    ///
    /// ## References
    ///
    /// * Vaswani et al., *Attention Is All You Need*, NeurIPS 2017, section 3.2.2: 8 heads of 64 channels.
    ///
    /// ## Threads
    ///
    /// * huggingface/diffusers#2011: `attention_head_dim = 16` makes 16 heads in one kind of block, and heads of 16
    ///   channels in another.
    /// * huggingface/diffusers#3797: the correction keeps the old name, and `num_attention_heads` defaults to
    ///   `attention_head_dim`.
    ///
    /// ## To confirm
    ///
    /// `archc ir SPEC` prints each `attention` with its `heads` and the type of its result: channels divided by heads
    /// are the width of a head. `archc run SPEC --weights FILE` loads the same weights with either number.
    "attention/heads", Warning
    pub struct AttentionHeads {
        call: Span,
        operation: Span,
        heads: u64,
        width: u64,
    }

    check(context) {
        let graph = context.graph;
        let found = graph.node_ids().filter_map(|id| {
            let Some(Op::Attention(attention)) = graph.node(id).op() else { return None };
            let query = graph.operand(id, 0)?;
            let (heads, channels) = (attention.heads, graph.node(query).ty.channels()?);
            let width = channels / heads.max(1);
            // A single head cannot be wider than the features are.
            let odd = heads > 1 && width < NARROW || heads > MANY;
            let (call, operation) = (context.place(id), graph.node(id).span);
            odd.then_some((id, AttentionHeads { call, operation, heads, width }))
        });
        found.collect()
    }

    report(finding, _context) {
        let AttentionHeads { heads, width, call, operation } = finding;
        let mut labels = vec![(*call, format!("{heads} heads of {width} channels"))];
        if call != operation {
            labels.push((*operation, "in this attention".to_owned()));
        }
        // Swapped, they would be the usual way round.
        let swapped = width < heads && *heads >= NARROW;
        Report {
            message: format!("{heads} heads of {width} channels each"),
            labels,
            notes: vec![],
            help: Some(if swapped {
                format!("was the number of heads swapped with their width? {width} heads of {heads} channels fit too")
            } else {
                format!("published networks use heads of 32 to 160 channels, and at most {MANY} of them")
            }),
        }
    }

    fixes(finding, context) {
        let AttentionHeads { heads, width, .. } = finding;
        let Some(better) = usual(*heads, *width) else { return vec![] };
        let places = [finding.operation, finding.call];
        let calls = places.into_iter().filter_map(|place| context.call(place));
        let edit = calls.filter_map(|call| call.change_number("heads", *heads, better)).next();
        let title = format!("take {better} heads of {} channels", heads * width / better);
        edit.map(|edit| Fix::new(title, Safety::Unsafe, vec![edit])).into_iter().collect()
    }
}

/// Usual heads for the same channels: those that were swapped, or the most with 32 channels or more.
fn usual(heads: u64, width: u64) -> Option<u64> {
    let channels = heads * width;
    if width < heads && heads >= NARROW && width > 0 {
        return Some(width);
    }
    let fits = |count: &u64| channels.is_multiple_of(*count) && channels / count >= USUAL;
    (1..=MANY.min(channels / USUAL)).rev().find(fits)
}
