//! `residual/deep-post-norm`

use crate::analysis::stacks::Block;
use crate::ir::NodeId;
use crate::lint::{Context, Report};
use crate::words::figure;
use archc_grammar::ast::Operator;
use archc_grammar::{Edit, Fix, Safety, Span};

/// Sums that are normalised one after the other, at most: 12 transformer layers of two sums each train (BERT base, with
/// warm-up), 18 diverge without further measures (Liu et al. 2020).
const LIMIT: usize = 24;

rule! {
    /// ## What it does
    ///
    /// Finds deep stacks of post-norm blocks, `norm(x + f(x))`, in which neither the stream nor the branch is scaled: more
    /// than 24 sums. A sum that is normalised together with the next one counts as well, as in layers in which only the
    /// feed-forward's sum has a norm behind it.
    ///
    /// ## Why is this bad
    ///
    /// The norm stands on the stream itself, so nothing passes the depth of the network unchanged: each block divides
    /// what comes from before by the deviation of the sum, and tokens become alike. Over 32 blocks of width 128 the mean
    /// square of gradients fell from 1 to 0.02 and token correlation reached 1.00 at block 16; pre-norm kept 1 to 9 and
    /// 0.85. Such stacks need warm-up up to 12 layers and diverge from 18 layers on. DeepNorm trains a thousand
    /// layers by scaling the stream up, `norm(alpha * x + f(x))` with `alpha = (2 N)^(1/4)`, and the branch down.
    ///
    /// ## Example
    ///
    /// ```arch
    /// use std.residual.{PostNorm}
    /// use std.transformer.{Mlp}
    ///
    /// model Deep(x: tokens[16, 32]) -> tokens[16, 32] {
    ///     let h = x
    ///     for i in 0..32 { h = h -> PostNorm(Mlp(64) @mlp) @blocks.{i} }
    ///     h
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// use std.residual.{PreNorm}
    /// use std.transformer.{Mlp}
    ///
    /// model Deep(x: tokens[16, 32]) -> tokens[16, 32] {
    ///     let h = x
    ///     for i in 0..32 { h = h -> PreNorm(Mlp(64, out_init: zero) @mlp) @blocks.{i} }
    ///     h -> layer_norm() @norm
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Scales the stream up by `(2 N)^(1/4)` for `N` layers of two sums each, as DeepNorm does (unsafe: the network computes
    /// something else; weights still load). The other half of its recipe is left to the author: the last layers of the
    /// branches start smaller by `(8 N)^(1/4)`.
    ///
    /// ## Evidence
    ///
    /// 18 transformer layers on images of digits, at a learning rate of 3e-3 without warm-up, do not learn (loss 1.58, with the
    /// norm in the branches 0.77). At 1e-3 one seed in three learns worse, and 32 layers of MLPs without attention learn as well
    /// as with pre-norm (`tests/evidence/report.md`): it is attention and the learning rate that make it fail.
    ///
    /// ## References
    ///
    /// * Xiong et al., *On Layer Normalization in the Transformer Architecture*, ICML 2020.
    /// * Liu et al., *Understanding the Difficulty of Training Transformers*, EMNLP 2020: 18 layers diverge.
    /// * Wang et al., *DeepNet: Scaling Transformers to 1,000 Layers*, 2022.
    ///
    /// ## Threads
    ///
    /// * pytorch/pytorch#55270: PyTorch's post-norm transformers are reported unstable from 12 layers on.
    /// * lucidrains/vit-pytorch#56: why norms stand in front of branches; the author: post-norm was hard to train and
    ///   often diverged, and a warm-up did not cure it entirely.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC` prints for each block how gradients grow on their way back (`<- gain`): the product of the
    /// gains is what is left at the first block. `archc probe SPEC --format json` measures them.
    "residual/deep-post-norm", Warning
    pub struct DeepPostNorm {
        first: Span,
        /// Where the blocks are written.
        places: Vec<Span>,
        sums: usize,
        /// Sums with a norm right behind them.
        norms: usize,
    }

    check(context) {
        let found = context.stacks().0.iter().filter_map(|stack| {
            let ends = stack.blocks.iter().skip(1).map(Some).chain([None]);
            let pairs = stack.blocks.iter().zip(ends);
            let plain: Vec<&Block> =
                pairs.filter(|(block, next)| is_normalized(context, block, *next)).map(|(block, _)| block).collect();
            let normed: Vec<NodeId> = plain.iter().filter(|block| block.post_norm).map(|block| block.sum).collect();
            let first = *normed.first().filter(|_| plain.len() > LIMIT)?;
            let (places, norms) = (context.places(&normed), normed.len());
            Some((first, DeepPostNorm { first: context.place(first), places, sums: plain.len(), norms }))
        });
        found.collect()
    }

    report(finding, _context) {
        let DeepPostNorm { sums, norms, .. } = finding;
        let (message, note) = if sums == norms {
            ("this stack normalises behind every sum, and is too deep for it", format!("{sums} sums in a row are"))
        } else {
            (
                "this stack normalises its stream again and again, and is too deep for it",
                format!("{sums} sums are added up between {norms} norms of the stream"),
            )
        };
        Report {
            message: message.to_owned(),
            labels: vec![(finding.first, "the sum is normalised before anything reads it".to_owned())],
            notes: vec![note],
            help: Some(
                "normalise in front of the branch, `residual { layer_norm() -> .. }`, with one norm at the end; or scale \
                 the stream by (2 N)^(1/4) for N layers, as `DeepNorm` of `std.residual` does"
                    .to_owned(),
            ),
        }
    }

    fixes(finding, context) {
        // DeepNorm is made for a norm behind every sum.
        if finding.sums != finding.norms {
            return vec![];
        }
        let edits: Option<Vec<Vec<Edit>>> = finding.places.iter().map(|place| finding.scaled(context, *place)).collect();
        let is_block = |place: &&Span| context.call(**place).is_some_and(|call| *call.name == *"PostNorm");
        let import = match finding.places.iter().filter(is_block).count() {
            0 => Some(vec![]),
            blocks => context.import_instead(finding.first, "residual", "PostNorm", "DeepNorm", blocks),
        };
        let fix = |(edits, import): (Vec<Vec<Edit>>, Vec<Edit>)| {
            let edits = edits.into_iter().flatten().chain(import).collect();
            Fix::new("scale the stream up with the depth", Safety::Unsafe, edits)
        };
        edits.zip(import).map(fix).into_iter().collect()
    }
}

impl DeepPostNorm {
    /// The edits that scale the stream up in one of the blocks.
    fn scaled(&self, context: &Context<'_>, place: Span) -> Option<Vec<Edit>> {
        // Two sums are a layer.
        let alpha = figure(libm::pow(self.sums as f64, 0.25));
        if let Some(call) = context.call(place) {
            return match &*call.name {
                "PostNorm" => {
                    let depth = self.sums.div_ceil(2).to_string();
                    Some(vec![call.rename("DeepNorm"), call.set("depth", &depth)])
                }
                "residual" if call.argument("shortcut").is_none() => {
                    Some(vec![call.set("shortcut", &format!("affine(scale: {alpha})"))])
                }
                _ => None,
            };
        }
        // `h + (h -> ..)`: what has a name is the stream, what is made on the spot the branch.
        let (first, operator, second) = context.two(place)?;
        let stream = match (context.is_name(first), context.is_name(second)) {
            (true, false) => first,
            (false, true) => second,
            _ => return None,
        };
        let before = Span { end: stream.start, ..stream };
        (operator == Operator::Add).then(|| vec![Edit::new(before, format!("{alpha} * "))])
    }
}

/// Whether a sum is normalised, at once or together with the next one, with nothing that makes its branch small.
fn is_normalized(context: &Context<'_>, block: &Block, next: Option<&Block>) -> bool {
    let with_next = || next.is_some_and(|next| next.post_norm && is_plain(context, next));
    is_plain(context, block) && (block.post_norm || with_next())
}

/// Whether nothing makes the branch of a block small beside its stream.
fn is_plain(context: &Context<'_>, block: &Block) -> bool {
    let scaled = block.trunk > 1.0 || block.scale.abs() < 1.0 || block.gated;
    !scaled && !context.liveness().starts_zero(block.branch)
}
