//! `skip/assumes-independence`

use crate::analysis::balance::Balance;
use crate::analysis::stacks::{factor, is_normalized_next};
use crate::analysis::streams::{Merge, MergeKind};
use crate::ir::{Graph, NodeId};
use crate::lint::{Context, Report};
use crate::ops::activation::Function;
use crate::ops::Op;
use crate::words::figure;
use archc_grammar::ast::Operator;
use archc_grammar::{Edit, Fix, Safety, Span};

/// Correlation from which on two sides are not independent: with 0.2 and a margin, each fusion grows by a quarter.
const CORRELATED: f64 = 0.25;
/// Mean square of a result, in units of what independent sides would have left: the tolerance of the prediction lies below.
const GROWN: f64 = 1.2;
/// How far a constant may be from the root that independence asks for: `0.7` is written for `1 / sqrt(2)`.
const ROUNDED: f64 = 0.05;

rule! {
    /// ## What it does
    ///
    /// Finds long skips whose sum is divided by a constant, `sqrt(2)` or `sqrt(1 + scale²)`, as if decoder and saved
    /// feature were independent, where they are predicted to be correlated and the result to be larger than one.
    ///
    /// ## Why is this bad
    ///
    /// `Var(d + a s)` is `Var(d) + a² Var(s) + 2 a Cov(d, s)`. The decoder descends from what was saved, so that the
    /// covariance is not zero. With unit variances and correlation ρ, a division by √2 leaves `1 + ρ`: at 0.5 twelve
    /// fusions multiply the variance by 130, at 0.9 by 2213. On a smooth image, as at low noise, correlation is close to
    /// one.
    ///
    /// ## Example
    ///
    /// ```arch
    /// use std.transformer.{Mlp}
    ///
    /// model Divided(x: tokens[16, 32]) -> tokens[16, 8] {
    ///     skip long(fuse: add, renorm: true)
    ///     long <- x
    ///     let h = x
    ///     for i in 0..4 @blocks.{i} { h = h -> residual { layer_norm() @norm -> Mlp(64) @mlp } }
    ///     h -> join(long) -> linear(8) @head
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// use std.transformer.{Mlp}
    ///
    /// model Divided(x: tokens[16, 32]) -> tokens[16, 8] {
    ///     skip long(fuse: add, renorm: expected(correlation: 0.9))
    ///     long <- x
    ///     let h = x
    ///     for i in 0..4 @blocks.{i} { h = h -> residual { layer_norm() @norm -> Mlp(64) @mlp } }
    ///     h -> join(long) -> linear(8) @head
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Divides by the root of the variance that is predicted: `expected(..)` where a `skip` declares the sum, another number
    /// where the sum is written out (unsafe: the network computes something else; weights still load).
    ///
    /// ## References
    ///
    /// * Huang et al., *ScaleLong*, NeurIPS 2023: bounds of the features of a network with long skips.
    /// * Karras et al., *Analyzing and Improving the Training Dynamics of Diffusion Models*, CVPR 2024, appendix B: sums
    ///   that keep magnitudes if their terms are uncorrelated.
    ///
    /// ## Threads
    ///
    /// * clovaai/stargan-v2#6: asked for the division by √2, the authors derive it for summands that are independent
    ///   and of equal variance.
    /// * udlbook/udlbook#182: why branch and stream are taken to be uncorrelated; the author names the random weights
    ///   of the branch.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC --format lines` prints the mean square behind each division: with correlated sides it lies
    /// above 1, and grows from fusion to fusion. `archc probe SPEC --format json` has it as measured.
    "skip/assumes-independence", Warning
    pub struct AssumesIndependence {
        sum: Span,
        saved: Span,
        balance: Balance,
        /// Mean square of the result.
        result: f64,
        /// Where it is divided, and by what factor it is multiplied, if that is a constant.
        divided: Span,
        factor: Option<f64>,
        /// What `expected` is told: mean squares of both sides in front of their factors, and the correlation.
        expected: Option<(f64, f64, f64)>,
    }

    check(context) {
        let graph = context.graph;
        let long = context.streams().merges.iter().filter(|merge| merge.kind == MergeKind::LongSkip);
        let found = long.filter_map(|merge| {
            let divided = divided(context, merge)?;
            if is_normalized_next(graph, divided) {
                return None;
            }
            let balance = Balance::of_sum(graph, context.signal(), merge.node)?;
            let result = context.signal().square(divided)?;
            let finding = AssumesIndependence {
                sum: context.place(merge.node),
                saved: context.place(merge.fork),
                balance,
                result,
                divided: context.place(divided),
                factor: constant(graph, divided),
                expected: sides(context, merge, &balance),
            };
            let independent = result * (balance.a + balance.b) / balance.sum;
            (balance.correlation > CORRELATED && result > GROWN * independent).then_some((merge.node, finding))
        });
        found.collect()
    }

    report(finding, _context) {
        let AssumesIndependence { sum, saved, balance, result, .. } = finding;
        Report {
            message: "this sum is divided as if what it adds were independent".to_owned(),
            labels: vec![
                (*sum, "added to what descends from it, and divided by a constant".to_owned()),
                (*saved, "saved here".to_owned()),
            ],
            notes: vec![format!(
                "at initialisation the correlation is {}, and the result has mean square {}",
                figure(balance.correlation),
                figure(*result)
            )],
            help: Some(format!(
                "divide by what is expected, `renorm: expected(correlation: {})`, or measure it, `renorm: pixel_norm()`",
                short_correlation(balance.correlation)
            )),
        }
    }

    fixes(finding, context) {
        let title = "divide by the deviation that is predicted";
        let fix = |edit| Fix::new(title, Safety::Unsafe, vec![edit]);
        let edit = match context.call(finding.sum).filter(|call| *call.name == *"join") {
            Some(join) => join.positional(0).and_then(|name| {
                let (decoder, saved, correlation) = finding.expected?;
                let (decoder, saved) = (figure(decoder), figure(saved));
                let expected = format!("expected(decoder: {decoder}, saved: {saved}, correlation: {correlation})");
                Some(context.skip(name, finding.sum)?.set("renorm", &expected))
            }),
            None => finding.constant(context),
        };
        edit.map(fix).into_iter().collect()
    }
}

impl AssumesIndependence {
    /// The edit that makes a constant beside a sum one that brings the sum to one.
    fn constant(&self, context: &Context<'_>) -> Option<Edit> {
        let fitting = self.factor? / libm::sqrt(self.result);
        match context.two(self.divided)? {
            (_, Operator::Divide, divisor) => context.replace(divisor, figure(1.0 / fitting)),
            (sum, Operator::Multiply, other) => {
                // The sum is the longer of the two: what it adds has names.
                let number = if context.number(other).is_some() { other } else { sum };
                context.number(number)?;
                context.replace(number, figure(fitting))
            }
            _ => None,
        }
    }
}

fn constant(graph: &Graph, node: NodeId) -> Option<f64> {
    match graph.node(node).op() {
        Some(Op::Affine(affine)) => Some(affine.scale),
        _ => None,
    }
}

/// Mean squares of the decoder and of what was saved, without the factors they are given before they are added, and the
/// correlation, which a factor does not change.
fn sides(context: &Context<'_>, merge: &Merge, balance: &Balance) -> Option<(f64, f64, f64)> {
    let square = |node: NodeId| {
        let factor = factor(context.graph, context.streams(), node).0;
        context.signal().square(node).map(|square| square / (factor * factor))
    };
    let correlation = libm::round(balance.correlation.min(0.99) * 100.0) / 100.0;
    Some((square(merge.branch)?, square(merge.carry)?, correlation))
}

/// One decimal, below one.
fn short_correlation(correlation: f64) -> f64 {
    (libm::floor(correlation * 10.0) / 10.0).min(0.9)
}

/// A sum `a d + b s` behind `1 / sqrt(a² + b²)`, where that is all that reads it.
fn divided(context: &Context<'_>, merge: &Merge) -> Option<NodeId> {
    let graph = context.graph;
    if !matches!(graph.node(merge.node).op(), Some(Op::Add(_))) {
        return None;
    }
    let mut users = graph.users(merge.node);
    let (user, slot) = users.next()?;
    if users.next().is_some() {
        return None;
    }
    let side = |node| factor(graph, context.streams(), node).0;
    let independent = side(merge.branch) * side(merge.branch) + side(merge.carry) * side(merge.carry);
    match graph.node(user).op() {
        Some(Op::Affine(affine)) if affine.shift == 0.0 => {
            let meant = affine.scale * affine.scale * independent;
            ((meant - 1.0).abs() < ROUNDED).then_some(user)
        }
        Some(Op::Multiply(_)) => assumes_unit(graph, graph.operand(user, 1 - slot.min(1))?).then_some(user),
        _ => None,
    }
}

/// Whether a factor is `1 / sqrt(1 + a²)`.
fn assumes_unit(graph: &Graph, factor: NodeId) -> bool {
    let is_root = matches!(graph.node(factor).op(), Some(Op::Activation(own)) if own.function == Function::Rsqrt);
    let Some(inner) = graph.operand(factor, 0).filter(|_| is_root) else { return false };
    let is_one = matches!(graph.node(inner).op(), Some(Op::Affine(own)) if own.shift == 1.0 && own.scale == 1.0);
    let Some(square) = graph.operand(inner, 0).filter(|_| is_one) else { return false };
    matches!(graph.node(square).op(), Some(Op::Multiply(_))) && graph.operand(square, 0) == graph.operand(square, 1)
}
