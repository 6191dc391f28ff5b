//! `init/missing-zero`

use crate::analysis::stacks::Stack;
use crate::analysis::streams::{Merge, MergeKind};
use crate::ir::{Graph, NodeId, Parameter};
use crate::lint::{Call, Context, Report};
use crate::ops::{Op, Passage};
use archc_grammar::{Fix, Safety, Span};
use rustc_hash::FxHashMap;

/// Residual sums in a row from which on their starts matter.
const DEEP: u32 = 12;
/// A start this much smaller than usual silences a branch as well as zero does.
const SMALL: f64 = 0.1;
/// Allowed growth of the stream's variance over all of the stack, in units of one branch.
const GROWTH: f64 = 2.0;
/// What so many branches add together before it counts, in units of the stream's mean square in front of its stack: the
/// framework's default start lets an MLP behind a norm add 0.04.
const ADDED: f64 = 0.5;

rule! {
    /// ## What it does
    ///
    /// Finds branches of a deep residual stack (12 sums or more) that start neither at zero, nor gated by a zero, nor
    /// scaled with depth, and are predicted to add more than half of the mean square that the stream has in front of its
    /// stack, if all are alike.
    ///
    /// ## Why is this bad
    ///
    /// Every branch adds its variance to the stream. With branches that are normalised first, L of them take the
    /// variance from 1 to about 1 + L: 101 after 100 blocks, measured and predicted. Without a norm in front the
    /// growth is geometric: 2^100, or 1.5^100 = 4e17 with a factor of 1/√2 on each branch. The last layers then see
    /// a stream in which no single branch counts. A branch whose last layer starts at zero makes the block an
    /// identity: signal and gradient pass unchanged, and depth costs nothing at the start.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Deep(x: tokens[16, 64]) -> tokens[16, 64] {
    ///     let h = x
    ///     for i in 0..16 {
    ///         h = h -> residual { layer_norm() @norm.{i} -> linear(256) @fc1.{i} -> gelu() -> linear(64) @fc2.{i} }
    ///     }
    ///     h -> layer_norm() @norm_out
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Deep(x: tokens[16, 64]) -> tokens[16, 64] {
    ///     let h = x
    ///     for i in 0..16 {
    ///         h = h -> residual {
    ///             layer_norm() @norm.{i} -> linear(256) @fc1.{i} -> gelu() -> linear(64, init: zero) @fc2.{i}
    ///         }
    ///     }
    ///     h -> layer_norm() @norm_out
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Starts the last layer of the branch at zero (unsafe: the network starts differently, weights still load).
    ///
    /// ## References
    ///
    /// * Goyal et al., *Accurate, Large Minibatch SGD*, 2017: zero γ in the last norm of each branch.
    /// * Zhang et al., *Fixup Initialization*, ICLR 2019; De & Smith, *Batch Normalization Biases Residual Blocks
    ///   Towards the Identity Function in Deep Networks*, NeurIPS 2020.
    ///
    /// ## Threads
    ///
    /// * huggingface/diffusers#639: `proj_out` does not start at zero as it does in latent diffusion; the maintainer
    ///   wants to follow that.
    /// * huggingface/diffusers#3917: the same question; users answer that both starts work.
    /// * openai/guided-diffusion#21: what `zero_module` is for; an author answers that it is an initialisation, which
    ///   DDPM has too.
    /// * affjljoo3581/GPT2#10: why GPT-2 divides by the root of the depth; the answer: pre-norm leaves the stream as it
    ///   is, and more layers make it larger.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC` prints the mean square in front of and behind each block, `archc probe SPEC --format json`
    /// measures it: it grows with every block where it could stay as it is.
    "init/missing-zero", Warning
    pub struct MissingZero {
        branch: Span,
        /// The layer that ends it.
        layer: Option<Span>,
        parameter: String,
        start: String,
        depth: u32,
    }

    check(context) {
        if context.streams().max_depth() < DEEP {
            return vec![];
        }
        let starts = starts(context);
        let sums = context.streams().merges.iter().filter(|merge| merge.kind == MergeKind::Residual);
        let found = sums.filter_map(|merge| {
            let depth = context.streams().stack_depth(merge.node);
            let loud = (depth >= DEEP).then(|| loud_branch(context, merge, depth))??;
            let branch = context.signal().square(merge.branch);
            let little = starts.get(&merge.node).zip(branch).is_some_and(|(start, branch)| f64::from(depth) * branch <= ADDED * start);
            (!little).then_some((merge.node, loud))
        });
        found.collect()
    }

    report(finding, _context) {
        Report {
            message: format!("a branch of a stack of {} residual sums starts at full strength", finding.depth),
            labels: vec![(finding.branch, format!("its last layer starts as {}", finding.start))],
            notes: vec![format!(
                "`{}`: with branches of unit variance the stream's variance grows from 1 to {}",
                finding.parameter,
                finding.depth + 1
            )],
            help: Some(
                "start the last layer of the branch at zero (`init: zero`), gate the branch by something that starts \
                 at zero, or scale it by 1/sqrt(depth)"
                    .to_owned(),
            ),
        }
    }

    fixes(finding, context) {
        let layer = finding.layer.and_then(|layer| context.call(layer)).filter(Call::is_operator);
        let title = format!("start `{}` at zero", finding.parameter);
        layer.map(|call| Fix::new(title, Safety::Unsafe, vec![call.set("init", "zero")])).into_iter().collect()
    }
}

/// The mean square of the stream in front of its stack, for the sums of all stacks.
fn starts(context: &Context<'_>) -> FxHashMap<NodeId, f64> {
    let stacks = context.stacks().0.iter();
    let of = |stack: &Stack| {
        let start = stack.blocks.first().and_then(|first| context.signal().square(first.fork));
        let sums: Vec<NodeId> = stack.blocks.iter().map(|block| block.sum).collect();
        sums.into_iter().filter_map(move |sum| Some((sum, start?)))
    };
    stacks.flat_map(of).collect()
}

/// The finding, if a branch is neither silent nor scaled with depth.
fn loud_branch(context: &Context<'_>, merge: &Merge, depth: u32) -> Option<MissingZero> {
    let graph = context.graph;
    if graph.node(merge.node).op().map(|op| op.as_operator().passage()) != Some(Passage::Add)
        || is_rescaled(graph, merge.node)
    {
        return None;
    }
    let mut at = merge.branch;
    let mut scale = 1.0;
    loop {
        let node = graph.node(at);
        let op = node.op()?;
        if context.liveness().starts_zero(at) {
            return None;
        }
        match op.as_operator().passage() {
            Passage::Keep | Passage::Resample => {}
            Passage::Scale => {
                if let Op::Affine(affine) = op {
                    scale *= affine.scale.abs();
                }
            }
            // A gate that starts small; one that starts at zero has been seen above.
            Passage::Gate => {
                if graph.operands(at).into_iter().any(|operand| starts_small(context, operand)) {
                    return None;
                }
            }
            Passage::Source
            | Passage::Normalize
            | Passage::Project
            | Passage::Transform
            | Passage::Add
            | Passage::Join
            | Passage::Cut => break,
        }
        at = context.streams().main_operand(at)?;
    }
    if scale * scale * f64::from(depth) <= GROWTH || keeps_variance(graph, merge, scale) {
        return None;
    }
    let last = graph.node(at).parameters.iter().map(|id| graph.parameter(*id)).find(|p| p.name != "bias");
    // A start that falls with depth, as in GPT-2, or that is next to zero.
    let falls = |last: &Parameter| scale * scale * gain(last) * f64::from(depth) <= GROWTH;
    if last.is_some_and(|last| falls(last) || gain(last) <= SMALL * SMALL) {
        return None;
    }
    let branch = context.place(at);
    Some(match last {
        Some(parameter) => MissingZero {
            branch,
            layer: Some(graph.node(at).span),
            parameter: parameter.path.to_string(),
            start: parameter.start(),
            depth,
        },
        None => {
            let name = graph.node(at).op().map_or("input", Op::name);
            MissingZero { branch, layer: None, parameter: name.to_owned(), start: format!("`{name}`"), depth }
        }
    })
}

/// Whether the factors of carry, branch and sum keep the variance of the stream, as in a magnitude-preserving sum:
/// `((1 - t) x + t f(x)) / sqrt((1 - t)^2 + t^2)`.
fn keeps_variance(graph: &Graph, merge: &Merge, branch: f64) -> bool {
    let factor = |node: NodeId| match graph.node(node).op() {
        Some(Op::Affine(affine)) if affine.shift == 0.0 => affine.scale.abs(),
        _ => 1.0,
    };
    let carry: f64 = merge.bypass.iter().map(|node| factor(*node)).product();
    let after = graph.users(merge.node).map(|(user, _)| factor(user)).fold(0.0, f64::max);
    // Three digits, as constants are written in specs.
    (carry * carry + branch * branch) * after * after < 1.001
}

/// Whether every use of a sum divides or normalises it: `(x + f(x)) / sqrt(2)`, and a norm behind the sum.
fn is_rescaled(graph: &Graph, sum: NodeId) -> bool {
    let mut users = graph.users(sum).peekable();
    let rescales = |user: NodeId| match graph.node(user).op() {
        Some(Op::Affine(affine)) => affine.scale.abs() < 1.0 && affine.shift == 0.0,
        Some(op) => op.as_operator().passage() == Passage::Normalize,
        None => false,
    };
    users.peek().is_some() && users.all(|(user, _)| rescales(user))
}

/// Whether a factor starts near zero: LayerScale, a gate from a small linear map.
fn starts_small(context: &Context<'_>, node: NodeId) -> bool {
    context.signal().square(node).is_some_and(|square| square <= SMALL * SMALL)
}

/// What a layer makes of the mean square of independent inputs, at its start; a norm has one input.
fn gain(parameter: &Parameter) -> f64 {
    let (mean, std) = parameter.init.mean_and_std(parameter.fans);
    (mean * mean + std * std) * parameter.fans.fan_in.max(1) as f64
}
