//! `condition/does-not-arrive`

use super::dead_product::DeadProduct;
use super::single_element_norm::SingleElementNorm;
use super::softmax_singleton::SoftmaxSingleton;
use crate::dim::Dim;
use crate::ir::NodeId;
use crate::lint::{Context, Report, Rule};
use crate::types::Kind;
use archc_grammar::Span;
use rustc_hash::FxHashSet;
use std::collections::BTreeSet;

/// Places that are shown, at most.
const PLACES: usize = 3;

rule! {
    /// ## What it does
    ///
    /// Finds inputs that are read, and that outputs still cannot depend on, however long the model trains: every way from
    /// them goes through something that stays zero, or that takes away what they bring. (Where there is no way at all,
    /// that is `structure/unused-input`; where a dead product, a norm or a softmax of a single element is in the way, that is
    /// reported and not its consequence.)
    ///
    /// ## Why is this bad
    ///
    /// The graph looks right, the loss falls, and the condition changes nothing: guidance of 7.5 adds 7.5 times a
    /// difference that is 0. A text that comes in behind a projection at zero with a gate at zero stays out; a number
    /// that is added to all channels alike is removed by the norm behind it; keys that say the same to every query
    /// leave the weights of a softmax as they are.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Deaf(x: tokens[16, 32], level: vector[1]) -> tokens[16, 32] {
    ///     (x + level) -> layer_norm() @norm -> linear(32) @out
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Listens(x: tokens[16, 32], level: vector[1]) -> tokens[16, 32] {
    ///     (x + level -> linear(32) @level) -> layer_norm() @norm -> linear(32) @out
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// None: where the input should arrive instead, only the author can say.
    ///
    /// ## References
    ///
    /// * Ho & Salimans, *Classifier-Free Diffusion Guidance*, 2022: the two predictions have to differ.
    ///
    /// ## Threads
    ///
    /// * junyanz/pytorch-CycleGAN-and-pix2pix#782: with an instance norm as the first layer the colour of the input is
    ///   normalised and ignored, as an author explains; a user who had added the norm got worse results.
    ///
    /// ## To confirm
    ///
    /// `archc run SPEC --inputs FILE` with two values of the input prints the same statistics of the output, and with
    /// `--weights` of a trained model it still does.
    "condition/does-not-arrive", Error
    pub struct DoesNotArrive {
        input: Span,
        name: String,
        /// Where the last traces of it end.
        lost: Vec<Span>,
    }

    check(context) {
        let graph = context.graph;
        let found = graph.inputs.iter().filter_map(|input| {
            let node = input.node;
            let is_empty = graph.node(node).ty.dims.contains(&Dim::Known(0));
            let is_read = context.reached().contains(&node);
            let arrives = first(context, node, |at| !is_index(context, at)).into_iter().any(|at| hears(context, at));
            (!is_empty && is_read && !arrives).then(|| {
                let lost = first(context, node, |at| hears(context, at));
                let lost = lost.into_iter().take(PLACES).map(|at| context.place(at)).collect();
                let (input, name) = (context.place(node), input.name.to_string());
                (node, DoesNotArrive { input, name, lost })
            })
        });
        let found: Vec<(NodeId, Self)> = found.collect();
        if found.is_empty() || has_other_cause(context) { vec![] } else { found }
    }

    report(finding, _context) {
        let ends = finding.lost.iter().map(|place| (*place, "nothing of it gets any further than this".to_owned()));
        Report {
            message: format!("no output can depend on `{}`, though it is read", finding.name),
            labels: std::iter::once((finding.input, "does not arrive".to_owned())).chain(ends).collect(),
            notes: vec![],
            help: Some(
                "a norm removes what is the same for all that it is taken over, a softmax what is added to all scores, \
                 and zero times anything is zero"
                    .to_owned(),
            ),
        }
    }
}

/// Whether another rule names what may be in the way.
fn has_other_cause(context: &Context<'_>) -> bool {
    !DeadProduct::check(context).is_empty()
        || !SingleElementNorm::check(context).is_empty()
        || !SoftmaxSingleton::check(context).is_empty()
}

/// Whether a gradient arrives at a value.
fn hears(context: &Context<'_>, node: NodeId) -> bool {
    context.liveness().receives_gradient(node)
}

/// Whether a value counts or masks, so that no gradient goes through it; what is looked up with it has one.
fn is_index(context: &Context<'_>, node: NodeId) -> bool {
    matches!(context.graph.node(node).ty.kind, Kind::Label | Kind::Ids | Kind::Mask)
}

/// The first values on all ways from an input of which something is true.
fn first(context: &Context<'_>, input: NodeId, is_end: impl Fn(NodeId) -> bool) -> BTreeSet<NodeId> {
    let graph = context.graph;
    let (mut seen, mut ends, mut open) = (FxHashSet::default(), BTreeSet::new(), vec![input]);
    while let Some(at) = open.pop() {
        if is_end(at) {
            ends.insert(at);
        } else if seen.insert(at) {
            open.extend(graph.users(at).map(|(user, _)| user).filter(|user| context.reached().contains(user)));
        }
    }
    ends
}
