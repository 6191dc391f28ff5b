//! `init/dead-product`

use crate::analysis::liveness::{Dead, Liveness, Wake};
use crate::ir::{Graph, NodeId, ParameterId};
use crate::lint::Report;
use archc_grammar::Span;

/// Zero factors that are named in a message, at most.
const SHOWN: usize = 3;

rule! {
    /// ## What it does
    ///
    /// Finds products whose factors all start at zero: no parameter in them ever moves.
    ///
    /// ## Why is this bad
    ///
    /// In `y = g * (W h)` the gradient of `W` is proportional to `g`, and that of `g` to `W h`. With both at zero both
    /// gradients are zero, at the first step and at every later one. After 300 steps of AdamW not one bit of such a
    /// branch has changed, and the loss curve looks healthy, because the rest of the network trains. Exactly one
    /// factor of a product may start at zero: DiT zero-initialises the gates and leaves the projections alone. The
    /// finding is exact: archc computes the order at which every gradient vanishes.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Dead(x: tokens[16, 32], c: vector[8]) -> tokens[16, 32] {
    ///     let gate = c -> linear(32, init: zero) @gate
    ///     x -> residual(gate: gate) { layer_norm() @norm -> linear(32, init: zero) @proj }
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Alive(x: tokens[16, 32], c: vector[8]) -> tokens[16, 32] {
    ///     let gate = c -> linear(32, init: zero) @gate
    ///     x -> residual(gate: gate) { layer_norm() @norm -> linear(32) @proj }
    /// }
    /// ```
    ///
    /// ## References
    ///
    /// * yz93/LAVT-RIS#25: a gate of two zero layers with ReLU between never opened.
    /// * KU-VGI/LFS-GAN#2: both low-rank factors at zero, confirmed by the author.
    /// * LTH14/mar#46: a user derives by hand in which order zero-initialised layers wake up.
    "init/dead-product", Error
    pub struct DeadProduct {
        product: Span,
        factors: Vec<(Span, String)>,
        /// How many parameters it keeps from moving, and the first of them.
        dead: usize,
        example: String,
    }

    check(context) {
        let graph = context.graph;
        let dead = |id: &ParameterId| context.liveness().wake(*id) == Wake::Never(Dead::ZeroProduct);
        if !graph.parameter_ids().any(|id| dead(&id)) {
            return vec![];
        }
        let mut found = vec![];
        for id in graph.node_ids() {
            let zeros = zero_factors(graph, context.liveness(), id);
            if zeros.len() < 2 {
                continue;
            }
            // What lies before the product is dead because of it.
            let behind = upstream(graph, id);
            let victims: Vec<ParameterId> = behind.into_iter().filter(dead).collect();
            let Some(first) = victims.first() else { continue };
            let finding = DeadProduct {
                product: context.place(id),
                factors: zeros
                    .iter()
                    .map(|zero| {
                        let parameter = graph.parameter(*zero);
                        (graph.node(parameter.node).span, parameter.path.to_string())
                    })
                    .collect(),
                dead: victims.len(),
                example: graph.parameter(*first).path.to_string(),
            };
            found.push((id, finding));
        }
        found
    }

    report(finding, _context) {
        let mut labels = vec![(finding.product, "every factor of this product starts at zero".to_owned())];
        for (span, path) in finding.factors.iter().take(SHOWN) {
            labels.push((*span, format!("`{path}` starts at zero")));
        }
        let others = match finding.dead {
            1 => format!("`{}` never moves", finding.example),
            count => format!("{count} parameters never move, `{}` among them", finding.example),
        };
        Report {
            message: "the factors of this product keep each other at zero for ever".to_owned(),
            labels,
            notes: vec![others],
            help: Some("let exactly one factor start at zero: keep the gate at zero and initialise the projection".to_owned()),
        }
    }
}

/// Parameters that keep the factors of a node at zero, one list for all factors; fewer than two if some factor is
/// alive or if no gradient ever asks for the product.
fn zero_factors(graph: &Graph, liveness: &Liveness, id: NodeId) -> Vec<ParameterId> {
    let node = graph.node(id);
    let product = node.op().is_some_and(|op| {
        matches!(op.as_operator().passage(), crate::ops::Passage::Gate) || !node.parameters.is_empty()
    });
    if !product || !liveness.receives_gradient(id) || !liveness.stays_zero(id) {
        return vec![];
    }
    let operands = graph.operands(id);
    let mut zeros = vec![];
    for operand in operands {
        if !liveness.stays_zero(operand) {
            return vec![];
        }
        zeros.extend(roots(graph, liveness, operand));
    }
    zeros.extend(node.parameters.iter().copied().filter(|own| liveness.parameter_stays_zero(*own)));
    zeros.sort_unstable();
    zeros.dedup();
    zeros
}

/// The nearest parameters whose zero makes a value zero.
fn roots(graph: &Graph, liveness: &Liveness, id: NodeId) -> Vec<ParameterId> {
    let mut open = vec![id];
    let mut seen = rustc_hash::FxHashSet::default();
    let mut found = vec![];
    while let Some(at) = open.pop() {
        if !seen.insert(at) {
            continue;
        }
        let own: Vec<ParameterId> =
            graph.node(at).parameters.iter().copied().filter(|own| liveness.parameter_stays_zero(*own)).collect();
        if own.is_empty() {
            open.extend(graph.operands(at).into_iter().filter(|operand| liveness.stays_zero(*operand)));
        }
        found.extend(own);
    }
    found
}

/// Parameters of a node and of everything before it.
fn upstream(graph: &Graph, id: NodeId) -> Vec<ParameterId> {
    let mut open = vec![id];
    let mut seen = rustc_hash::FxHashSet::default();
    let mut found = vec![];
    while let Some(at) = open.pop() {
        if seen.insert(at) {
            found.extend(graph.node(at).parameters.iter().copied());
            open.extend(graph.operands(at));
        }
    }
    found.sort_unstable();
    found
}
