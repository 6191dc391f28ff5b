//! `residual/token-collapse`

use crate::analysis::moments::Moments;
use crate::analysis::stacks::Block;
use crate::ir::NodeId;
use crate::lint::{Context, Report};
use crate::ops::Op;
use crate::types::Kind;
use crate::words::figure;
use archc_grammar::Span;

/// Correlation of two tokens from which on they say the same: 0.95 with a margin.
const COLLAPSED: f64 = 0.96;
/// Tokens that go into the stack have to differ: a stack over nearly constant tokens has not made them so.
const DISTINCT: f64 = 0.9;
/// Blocks of a stack that is looked at, at least.
const BLOCKS: usize = 8;
/// Operations of a branch along its main operands, at most.
const MAX_BRANCH: usize = 32;

rule! {
    /// ## What it does
    ///
    /// Finds transformer stacks in which the tokens are predicted to be the same, up to 4 %, before two thirds of the
    /// blocks are passed.
    ///
    /// ## Why is this bad
    ///
    /// Each attention adds a mean over tokens to every one of them. If nothing keeps them apart, correlation between tokens
    /// tends to one with depth: queries and keys then have no gradient, since the softmax over equal scores does not
    /// move, and later blocks see one token. No loss spikes and no norm explodes: diffusion transformers of 400 layers fail
    /// this way with figures that look healthy. Post-norm reached 0.94 at block 8 and 1.00 at 16 of 32, pre-norm 0.85 at the
    /// end.
    ///
    /// ## Example
    ///
    /// ```arch
    /// use std.residual.{PostNorm}
    /// use std.transformer.{Attention}
    ///
    /// model Collapses(x: tokens[64, 64]) -> tokens[64, 64] {
    ///     init linear = kaiming_normal
    ///     let h = x
    ///     for i in 0..24 { h = h -> PostNorm(Attention(4) @attn) @blocks.{i} }
    ///     h
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// use std.residual.{PreNorm}
    /// use std.transformer.{MultiHeadAttention}
    ///
    /// model Differs(x: tokens[64, 64]) -> tokens[64, 64] {
    ///     let h = x
    ///     for i in 0..24 { h = h -> PreNorm(MultiHeadAttention(heads: 4, init: zero) @attn) @blocks.{i} }
    ///     h -> layer_norm() @norm
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// None: smaller branches, another norm and fewer blocks all answer it, and mean different networks.
    ///
    /// ## References
    ///
    /// * *Mean Mode Screaming*, arXiv 2605.06169: 400-layer diffusion transformers whose branches become dominated by the
    ///   token mean.
    /// * *Two failure modes of deep transformers*, arXiv 2505.24333: rank collapse and entropy collapse.
    /// * Noci et al., *Signal Propagation in Transformers*, NeurIPS 2022: residuals scaled by `1 / sqrt(L)` keep tokens apart.
    ///
    /// ## Threads
    ///
    /// * zhoudaquan/dvit_repo#2: an author of DeepViT explains its figure of deep blocks, whose attention is nearly the
    ///   same for all tokens.
    /// * xxxnell/how-do-vits-work#41: the last attentions of deep ViTs hardly matter; the author names attention
    ///   collapse, where maps no longer depend on the query.
    ///
    /// ## To confirm
    ///
    /// `archc probe SPEC --format json` measures for each value also `shared`, the mean square of its mean over
    /// positions: where it comes close to `value`, tokens are alike.
    "residual/token-collapse", Warning
    pub struct TokenCollapse {
        first: Span,
        /// Blocks until tokens are alike, and of the stack.
        passed: usize,
        blocks: usize,
        correlation: f64,
    }

    check(context) {
        let found = context.stacks().0.iter().filter_map(|stack| {
            let (first, blocks) = (stack.blocks.first()?, stack.blocks.len());
            let attends = stack.blocks.iter().any(|block| attends(context, block));
            if blocks < BLOCKS || !attends || correlation(context, first.fork)? > DISTINCT {
                return None;
            }
            let alike = |at: &usize| {
                let sum = stack.blocks.get(*at).map(|block| block.sum);
                sum.and_then(|sum| correlation(context, sum)).is_some_and(|own| own > COLLAPSED)
            };
            let passed = (0..blocks).find(alike)? + 1;
            let sum = stack.blocks.get(passed - 1)?.sum;
            let correlation = correlation(context, sum)?;
            let finding = TokenCollapse { first: context.place(first.sum), passed, blocks, correlation };
            (3 * passed <= 2 * blocks).then_some((first.sum, finding))
        });
        found.collect()
    }

    report(finding, _context) {
        let TokenCollapse { first, passed, blocks, correlation } = finding;
        Report {
            message: "the tokens of this stack become the same".to_owned(),
            labels: vec![(*first, format!("{passed} of {blocks} blocks later all tokens agree"))],
            notes: vec![format!("there the correlation of two tokens is predicted to be {}", figure(*correlation))],
            help: Some(
                "scale the branches, `residual(scale: 1 / sqrt(depth))`, start them at zero, or normalise in front of them \
                 instead of behind"
                    .to_owned(),
            ),
        }
    }
}

/// Whether a branch has tokens look at each other.
fn attends(context: &Context<'_>, block: &Block) -> bool {
    let mut at = block.branch;
    for _ in 0..MAX_BRANCH {
        if matches!(context.graph.node(at).op(), Some(Op::Attention(_))) {
            return true;
        }
        match context.streams().main_operand(at) {
            Some(operand) if at > block.fork => at = operand,
            _ => return false,
        }
    }
    false
}

/// Correlation of two tokens that are far apart.
fn correlation(context: &Context<'_>, node: NodeId) -> Option<f64> {
    if context.graph.node(node).ty.kind != Kind::Tokens {
        return None;
    }
    let moments: &Moments = context.signal().at(node).as_ref().ok()?;
    let variance = moments.variance();
    (variance > 0.0).then(|| (moments.far() - moments.mean * moments.mean) / variance)
}
