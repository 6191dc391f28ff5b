//! `gate/unbounded`

use crate::analysis::ranges::Interval;
use crate::analysis::streams::MergeKind;
use crate::ir::{Graph, NodeId};
use crate::lint::{Context, Report, Stage};
use crate::ops::{Op, Passage};
use crate::words::short;
use archc_grammar::{Edit, Fix, Safety, Span};

rule! {
    /// ## What it does
    ///
    /// Finds features that stand where a gate is meant: what attention gives multiplied with the features it attends to,
    /// or a map of features, without a sigmoid, multiplied on a long skip. And values that are claimed to lie in an
    /// interval (`claim(within: [0, 1])`) and need not.
    ///
    /// ## Why is this bad
    ///
    /// A gate says how much of a feature passes: between 0, nothing, and 1, all of it. What attention gives is a feature
    /// itself, of any size and sign. Multiplied with another one it makes a product of degree two (twice the input, four
    /// times the output, sixteen times its energy), whose variance has no bound. Behind a projection and a sigmoid it is
    /// a gate.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Gated(x: tokens[64, 32]) -> tokens[64, 32] {
    ///     let [q, k, v] = x -> linear(3 * 32) @qkv -> chunk(3)
    ///     let gate = attention(q, k, v, heads: 1)
    ///     (gate * x) -> linear(32) @out
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Gated(x: tokens[64, 32]) -> tokens[64, 32] {
    ///     let [q, k, v] = x -> linear(3 * 32) @qkv -> chunk(3)
    ///     let gate = attention(q, k, v, heads: 1) -> linear(32) @gate -> sigmoid()
    ///     (gate * x) -> linear(32) @out
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Puts a sigmoid between the gate and the product; behind a value that is claimed to lie in an interval, `sigmoid()`,
    /// `tanh()` or a `clip` to it (unsafe: the network computes something else; weights still load).
    ///
    /// ## References
    ///
    /// * Oktay et al., *Attention U-Net*, 2018, equation 1: the attention of a gate ends in a projection and a sigmoid.
    ///
    /// ## Threads
    ///
    /// * Visual-Attention-Network/VAN-Segmentation#2: a user asks whether attention that multiplies features should not
    ///   lie in [0, 1]; the authors say that it does not, and have not tried.
    /// * Shuaizhang7/AttentionGAN-for-Cloud-removal#6: the paper has an attention map in [0, 1], the code ends it with
    ///   tanh; the author advises to map it.
    ///
    /// ## To confirm
    ///
    /// `archc run SPEC --mid PATH --output out.safetensors`, with PATH the label of the gate: the least and the largest
    /// number in `mid.PATH` lie outside of 0 and 1.
    "gate/unbounded", Error
    pub struct UnboundedGate {
        place: Span,
        what: What,
    }

    check(context) {
        let graph = context.graph;
        let claims = graph.claims.iter().filter_map(|claim| {
            let (low, high) = claim.within?;
            let range = context.ranges().at(claim.node);
            let what = What::Claim { low, high, range };
            (!range.is_within(low, high)).then_some((claim.node, UnboundedGate { place: claim.span, what }))
        });
        let mut on_skips: Vec<NodeId> = vec![];
        for merge in context.streams().merges.iter().filter(|merge| merge.kind == MergeKind::LongSkip) {
            on_skips.extend(&merge.bypass);
        }
        on_skips.sort_unstable();
        let products = graph.node_ids().filter_map(|id| {
            let Some(Op::Multiply(_)) = graph.node(id).op() else { return None };
            let (a, b) = (graph.operand(id, 0)?, graph.operand(id, 1)?);
            let on_skip = on_skips.binary_search(&id).is_ok();
            let found = [(a, b, 0), (b, a, 1)].into_iter().find_map(|(gate, features, slot)| {
                feature(context, gate, features, on_skip).map(|(made, attention)| (made, attention, slot))
            });
            let (made, attention, slot) = found?;
            let what = What::Feature { made: context.place(made), attention, slot };
            Some((id, UnboundedGate { place: context.place(id), what }))
        });
        claims.chain(products).collect()
    }

    report(finding, _context) {
        match finding.what {
            What::Claim { low, high, range } => Report {
                message: format!("nothing keeps this value within {} .. {}", short(low), short(high)),
                labels: vec![(finding.place, format!("it may be anything in {}", shown(range)))],
                notes: vec![],
                help: Some("bound it: `sigmoid()` is in 0 .. 1, `tanh()` in -1 .. 1, `clip(low, high)` in what it says".to_owned()),
            },
            What::Feature { made, attention, .. } => {
                let source = if attention { "what attention gives" } else { "a feature without a bound" };
                Report {
                    message: "a feature stands where a gate is meant".to_owned(),
                    labels: vec![
                        (finding.place, "multiplied here".to_owned()),
                        (made, format!("{source}: of any size and sign")),
                    ],
                    notes: vec!["the product is of degree two: twice the input, sixteen times the energy".to_owned()],
                    help: Some("make a gate of it: a projection, then `sigmoid()`; or fuse it: add it, or join and project".to_owned()),
                }
            }
        }
    }

    fixes(finding, context) {
        match finding.what {
            What::Claim { low, high, .. } => {
                let bound = match (low, high) {
                    (0.0, 1.0) => "sigmoid()".to_owned(),
                    (-1.0, 1.0) => "tanh()".to_owned(),
                    _ => format!("clip({}, {})", short(low), short(high)),
                };
                let title = "bound it to what is claimed";
                let fix = |stage: Stage| Fix::new(title, Safety::Unsafe, vec![stage.before(&bound)]);
                context.stage(finding.place).map(fix).into_iter().collect()
            }
            What::Feature { slot, .. } => {
                let edits = finding.squashed(context, slot);
                edits.map(|edits| Fix::new("take a sigmoid", Safety::Unsafe, edits)).into_iter().collect()
            }
        }
    }
}

/// What is wrong.
#[derive(Clone, Copy, Debug)]
enum What {
    Claim { low: f64, high: f64, range: Interval },
    Feature {
        made: Span,
        attention: bool,
        /// Of the factor that stands where the gate is meant.
        slot: u32,
    },
}

impl UnboundedGate {
    /// The edits that put a sigmoid between the gate and the product, where both are written in one place.
    fn squashed(&self, context: &Context<'_>, slot: u32) -> Option<Vec<Edit>> {
        if let Some(join) = context.call(self.place).filter(|call| *call.name == *"join") {
            let skip = context.skip(join.positional(0)?, self.place)?;
            let gate = skip.argument("gate")?;
            return Some(vec![skip.set("gate", &format!("{{ {gate} -> sigmoid() }}"))]);
        }
        let (first, second) = context.factors(self.place)?;
        let gate = if slot == 0 { first } else { second };
        context.is_name(gate).then(|| {
            let before = Span { end: gate.start, ..gate };
            vec![Edit::new(before, "("), Edit::new(gate.after(), " -> sigmoid())")]
        })
    }
}

fn shown(range: Interval) -> String {
    let end = |value: f64| if value == f64::INFINITY { "inf".to_owned() } else if value == f64::NEG_INFINITY { "-inf".to_owned() } else { short(value) };
    format!("{} .. {}", end(range.low), end(range.high))
}

/// Operations between an attention and the product, at most.
const STEPS: usize = 12;

/// Where the gate was made as a feature, and whether by attention; none where it may be a gate.
fn feature(context: &Context<'_>, gate: NodeId, features: NodeId, on_skip: bool) -> Option<(NodeId, bool)> {
    let graph = context.graph;
    // One bounded factor is the gate, and the other one may be any feature.
    let bounded = |node| context.ranges().at(node).is_bounded();
    if !graph.node(gate).ty.kind.has_positions() || bounded(gate) || bounded(features) {
        return None;
    }
    let mut at = gate;
    let mut last_map = None;
    for _ in 0..STEPS {
        let op = graph.node(at).op()?;
        if let Op::Attention(_) = op {
            return attends_to(graph, at, features).then_some((at, true));
        }
        match op.as_operator().passage() {
            Passage::Project => last_map = last_map.or(Some(at)),
            Passage::Keep | Passage::Resample | Passage::Scale => {}
            Passage::Transform if matches!(op, Op::Conv1d(_) | Op::Conv2d(_) | Op::Conv3d(_)) => {
                last_map = last_map.or(Some(at));
                break;
            }
            Passage::Source
            | Passage::Gate
            | Passage::Normalize
            | Passage::Transform
            | Passage::Add
            | Passage::Join
            | Passage::Cut => break,
        }
        at = graph.operand(at, 0)?;
    }
    // A gate on a skip; one plus a map, or a map and a shift behind the product, is a modulation.
    last_map.filter(|_| on_skip).map(|map| (map, false))
}

/// Whether the queries, keys or values of an attention are made of these features, up to norms and order.
fn attends_to(graph: &Graph, attention: NodeId, features: NodeId) -> bool {
    let origin = |mut at: NodeId, through_maps: bool| {
        for _ in 0..STEPS {
            let Some(op) = graph.node(at).op() else { return at };
            match op.as_operator().passage() {
                Passage::Keep | Passage::Scale | Passage::Normalize => {}
                Passage::Project | Passage::Cut if through_maps => {}
                Passage::Project
                | Passage::Cut
                | Passage::Source
                | Passage::Gate
                | Passage::Resample
                | Passage::Transform
                | Passage::Add
                | Passage::Join => return at,
            }
            match graph.operand(at, 0) {
                Some(operand) => at = operand,
                None => return at,
            }
        }
        at
    };
    let source = origin(features, false);
    graph.operands(attention).into_iter().take(3).any(|operand| origin(operand, true) == source)
}
