//! `init/dead-product`

use super::single_element_norm::SingleElementNorm;
use super::zero_in_name_only::promises_zero;
use crate::analysis::liveness::{Dead, Wake};
use crate::ir::{NodeId, ParameterId};
use crate::lint::{Context, Report};
use crate::ops::{Op, Passage};
use archc_grammar::{Fix, Safety, Span};
use rustc_hash::FxHashSet;

/// Zero factors that are named in a message, at most.
const SHOWN: usize = 3;

rule! {
    /// ## What it does
    ///
    /// Finds products whose factors all start at zero: no parameter in them ever moves. Products are written with `*`
    /// or `gate:`, and they are everywhere else as well: a layer multiplies its weight with what it is fed, attention
    /// its queries with its keys, and the gradient behind a ReLU is multiplied by a slope that is zero at zero.
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
    /// ## Fix
    ///
    /// Initialises one of the factors as usual (unsafe: the network starts differently, weights still load): of a gate and
    /// what it gates the latter, otherwise the layer that comes first.
    ///
    /// ## References
    ///
    /// * Hu et al., *LoRA*, ICLR 2022, section 4.1: of two factors one starts at random, the other at zero.
    /// * facebookresearch/DiT `models.py`: zero are the modulation and the head, and no projection of a branch.
    ///
    /// ## Threads
    ///
    /// * yz93/LAVT-RIS#25: a gate of two zero layers with ReLU between; in a user's script its gradient is always zero.
    ///   The author confirms that `init_weights` overwrites the zeros of the code: the released gate starts at random.
    /// * KU-VGI/LFS-GAN#2: both low-rank factors start at zero; the author confirms the mistake and advises
    ///   `randn * eps`.
    /// * lucidrains/deep-cross-attention#2: a zero layer in front of a ReLU never gets a gradient; the author lets it
    ///   start small.
    /// * ostris/ai-toolkit#724: a LoRA that is extended from rank 16 to 64 by zeros in both factors keeps an effective
    ///   rank of 10.5.
    ///
    /// ## To confirm
    ///
    /// `archc probe SPEC --wake-up` trains for seven steps: the parameters that are predicted to move *never* have no
    /// gradient in any of them. `archc params SPEC --format table` names them.
    "init/dead-product", Error
    pub struct DeadProduct {
        product: Span,
        kind: Product,
        factors: Vec<Factor>,
        /// How many parameters it keeps from moving, and the first of them.
        dead: usize,
        example: String,
    }

    check(context) {
        let graph = context.graph;
        if !graph.parameter_ids().any(|id| is_dead(context, id)) {
            return vec![];
        }
        let mut known = FxHashSet::default();
        // What is zero because it is normalised by itself is reported as that.
        let norms: FxHashSet<NodeId> = SingleElementNorm::check(context).into_iter().map(|(node, _)| node).collect();
        let found = graph.node_ids().filter_map(|id| {
            let kind = dead_product(context, id)?;
            let victims = victims(context, id);
            // One report of what never moves is enough, as of the scale of a skip that its renormalisation squares.
            let count = known.len();
            known.extend(victims.iter().copied());
            if known.len() == count {
                return None;
            }
            let zeros = starts(context, id);
            if zeros.iter().any(|zero| norms.contains(&graph.parameter(*zero).node)) {
                return None;
            }
            let first = zeros.iter().find(|zero| victims.contains(zero)).or(victims.first())?;
            let example = graph.parameter(*first).path.to_string();
            let mut factors: Vec<Factor> = vec![];
            for zero in zeros {
                let parameter = graph.parameter(zero);
                let span = graph.node(parameter.node).span;
                if factors.iter().all(|known| known.span != span) {
                    factors.push(Factor { span, path: parameter.path.to_string(), node: parameter.node });
                }
            }
            Some((id, DeadProduct { product: context.place(id), kind, factors, dead: victims.len(), example }))
        });
        found.collect()
    }

    report(finding, _context) {
        let (message, label, help) = finding.kind.wording();
        let mut labels = vec![(finding.product, label.to_owned())];
        for factor in finding.factors.iter().take(SHOWN) {
            labels.push((factor.span, format!("`{}` starts at zero", factor.path)));
        }
        let others = match finding.dead {
            1 => format!("`{}` never moves", finding.example),
            count => format!("{count} parameters never move, `{}` among them", finding.example),
        };
        Report { message: message.to_owned(), labels, notes: vec![others], help: Some(help.to_owned()) }
    }

    fixes(finding, context) {
        // What is named for its zero keeps it.
        let named = |factor: &&Factor| factor.path.split('.').any(promises_zero);
        let mut factors: Vec<&Factor> = finding.factors.iter().filter(|factor| !named(factor)).collect();
        factors.sort_by_key(|factor| factor.node);
        match finding.kind {
            Product::Values => factors.reverse(),
            // Only the first one helps where an activation without slope stands between them.
            Product::Layer | Product::Scores | Product::Slope => factors.truncate(1),
        }
        let revived = factors.into_iter().filter_map(|factor| {
            let call = context.call(factor.span).filter(|call| call.argument("init") == Some("zero"))?;
            let title = format!("let `{}` start at random", factor.path);
            // A parameter by itself has no other start of its own.
            let edit = if *call.name == *"parameter" { call.set("init", "normal(0.02)") } else { call.without("init")? };
            Some(Fix::new(title, Safety::Unsafe, vec![edit]))
        });
        revived.collect()
    }
}

/// A layer that starts at zero.
#[derive(Debug)]
struct Factor {
    span: Span,
    path: String,
    node: NodeId,
}

/// What multiplies what.
#[derive(Clone, Copy, Debug)]
enum Product {
    /// Two values.
    Values,
    /// A weight and what the layer is fed.
    Layer,
    /// Queries and keys.
    Scores,
    /// The gradient and the slope of an activation at zero.
    Slope,
}

impl Product {
    /// Message, primary label and help.
    fn wording(self) -> (&'static str, &'static str, &'static str) {
        const MESSAGE: &str = "the factors of this product keep each other at zero for ever";
        match self {
            Product::Values => (
                MESSAGE,
                "every factor of this product starts at zero",
                "let exactly one factor start at zero: keep the gate at zero and initialise the projection",
            ),
            Product::Layer => (
                "a layer that starts at zero is fed by zeros, and neither ever moves",
                "this layer starts at zero, and so does what it is fed",
                "let exactly one of the two start at zero: the last one",
            ),
            Product::Scores => (
                "queries and keys keep each other at zero for ever",
                "both start at zero, so that every score is zero",
                "let queries or keys start at zero, or neither",
            ),
            Product::Slope => (
                "a zero in front of this activation stays zero for ever",
                "its slope at zero is zero: no gradient passes",
                "let the layer in front start at random, or use an activation with a slope, such as `silu()`",
            ),
        }
    }
}

fn is_dead(context: &Context<'_>, id: ParameterId) -> bool {
    matches!(context.liveness().wake(id), Wake::Never(Dead::ZeroProduct | Dead::Invariant))
}

/// Whether a gradient arrives at a node and stops there, since all that it multiplies stays zero.
fn dead_product(context: &Context<'_>, id: NodeId) -> Option<Product> {
    let (graph, liveness) = (context.graph, context.liveness());
    let node = graph.node(id);
    let op = node.op()?;
    if !liveness.receives_gradient(id) {
        return None;
    }
    let operands = graph.operands(id);
    let zeros = |count: usize| operands.iter().take(count).all(|operand| liveness.stays_zero(*operand));
    if let Op::Attention(_) = op {
        return zeros(2).then_some(Product::Scores);
    }
    if let Op::Activation(activation) = op {
        let flat = activation.function.slope_at_zero() == 0.0 && activation.function.value(0.0) == 0.0;
        return (flat && zeros(1)).then_some(Product::Slope);
    }
    if op.as_operator().passage() == Passage::Gate {
        return zeros(operands.len()).then_some(Product::Values);
    }
    if operands.is_empty() || node.parameters.is_empty() {
        return None;
    }
    let mut weights = node.parameters.iter().filter(|own| graph.parameter(**own).name != "bias");
    (zeros(1) && weights.all(|own| liveness.parameter_stays_zero(*own))).then_some(Product::Layer)
}

/// The nearest parameters that make the factors of a node start at zero.
fn starts(context: &Context<'_>, id: NodeId) -> Vec<ParameterId> {
    let graph = context.graph;
    let mut open = vec![id];
    let mut seen = FxHashSet::default();
    let mut found = vec![];
    while let Some(at) = open.pop() {
        if !seen.insert(at) {
            continue;
        }
        let own = graph.node(at).parameters.iter().copied().filter(|own| graph.parameter(*own).init.is_zero());
        let known = found.len();
        found.extend(own);
        if at == id || known == found.len() {
            open.extend(graph.operands(at).into_iter().filter(|operand| context.liveness().starts_zero(*operand)));
        }
    }
    found.sort_unstable();
    found
}

/// Parameters that never move because no gradient gets past a node.
fn victims(context: &Context<'_>, id: NodeId) -> Vec<ParameterId> {
    let graph = context.graph;
    let mut open = vec![id];
    let mut seen = FxHashSet::default();
    let mut found = vec![];
    while let Some(at) = open.pop() {
        if at != id && context.liveness().receives_gradient(at) || !seen.insert(at) {
            continue;
        }
        found.extend(graph.node(at).parameters.iter().copied().filter(|own| is_dead(context, *own)));
        open.extend(graph.operands(at));
    }
    found.sort_unstable();
    found
}
