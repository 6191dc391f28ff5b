//! `condition/modulation-without-one`

use crate::words::short;
use crate::ir::{Graph, NodeId};
use crate::lint::{Context, Report};
use crate::ops::{Op, Passage};
use crate::types::Kind;
use archc_grammar::{Edit, Fix, Safety, Span};

rule! {
    /// ## What it does
    ///
    /// Finds normalised features that are multiplied by a scale with mean zero: `scale * norm(x)` where
    /// `(1 + scale) * norm(x)` is meant. Also features that nothing has normalised and that are multiplied by a scale which
    /// starts at zero, as by a learned gain, in front of an activation and a layer with weights: EDM2's
    /// `gain * linear(emb) + 1` without the one. A gate at the end of a branch, whose product is added to a stream or goes
    /// through one last map, starts at zero by design and is not reported.
    ///
    /// ## Why is this bad
    ///
    /// A scale that comes from a condition by a linear map has mean zero at initialisation. Multiplied by it, features
    /// of unit variance keep the variance of the scale: 0.236 at the default initialisation, 0 where the map starts at
    /// zero, instead of 1.236 and 1. The papers write γ(c) ⊙ norm(x) + β(c); the code of every one of them has the one.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Silenced(x: tokens[16, 32], c: vector[8]) -> tokens[16, 32] {
    ///     let [shift, scale] = c -> silu() -> linear(64) @modulation -> chunk(2)
    ///     (x -> layer_norm(affine: false)) * scale + shift
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Modulated(x: tokens[16, 32], c: vector[8]) -> tokens[16, 32] {
    ///     let [shift, scale] = c -> silu() -> linear(64) @modulation -> chunk(2)
    ///     (x -> layer_norm(affine: false)) * (1 + scale) + shift
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Writes `1 +` in front of the scale (unsafe: the network computes something else; weights still load, but were trained
    /// for the product as it was).
    ///
    /// ## References
    ///
    /// * Perez et al., *FiLM*, AAAI 2018, section 7.2: predict Δγ with γ = 1 + Δγ, "since initially zero-centred γ can
    ///   zero out feature map activations".
    /// * openai/guided-diffusion `unet.py`, facebookresearch/DiT `models.py`: `x * (1 + scale) + shift`.
    ///
    /// ## Threads
    ///
    /// * Svito-zar/gesticulator#5: why `alpha + 1`; the author: so that features start unchanged "instead of
    ///   multiplying them by zero".
    /// * cwmok/Conditional_LapIRN#5: the paper has γ and the code 1 + γ, which preserves features and stabilises
    ///   training, says the author.
    /// * lucidrains/denoising-diffusion-pytorch#120: the same question about the time embedding of a U-Net.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC --format lines` prints the mean square of the product: 0.24 at the usual start, or 0, where
    /// it should be 1.24, or 1. `archc probe SPEC --format json` measures it.
    "condition/modulation-without-one", Error
    pub struct ModulationWithoutOne {
        product: Span,
        scale: Span,
        /// Which of the two factors it is.
        slot: usize,
        /// Mean square of the scale at initialisation, where it is known.
        square: Option<f64>,
        /// Whether the features come from a norm.
        normalized: bool,
    }

    check(context) {
        let graph = context.graph;
        let found = graph.node_ids().filter_map(|id| {
            let Some(Op::Multiply(_)) = graph.node(id).op() else { return None };
            let (a, b) = (graph.operand(id, 0)?, graph.operand(id, 1)?);
            let (features, scale) = if is_normalized(graph, a) || is_scale(graph, b) { (a, b) } else { (b, a) };
            if !is_scale(graph, scale) {
                return None;
            }
            let normalized = is_normalized(graph, features);
            let source = match normalized {
                true if joins_a_stream(context, id) => return None,
                true => centred_source(context, scale)?,
                false => silencing_source(context, id, features, scale)?,
            };
            // A unit that gates itself is no modulation.
            if context.streams().root(source) == context.streams().root(features) {
                return None;
            }
            let finding = ModulationWithoutOne {
                product: context.place(id),
                scale: context.place(source),
                slot: usize::from(scale == b),
                square: context.signal().square(scale),
                normalized,
            };
            Some((id, finding))
        });
        found.collect()
    }

    report(finding, _context) {
        if !finding.normalized {
            return Report {
                message: "features inside of a branch are multiplied by a scale that starts at zero".to_owned(),
                labels: vec![
                    (finding.product, "silences the features at the start".to_owned()),
                    (finding.scale, "zero at the start".to_owned()),
                ],
                notes: vec!["what the layers behind it see has mean square 0 until the scale has moved".to_owned()],
                help: Some("write `(1 + scale) * x`; a gate belongs at the end of the branch".to_owned()),
            };
        }
        let notes = finding.square.map(|square| {
            format!(
                "at initialisation the product has mean square {}, with the one it would be {}",
                short((square * 1e3).round() / 1e3),
                short(((1.0 + square) * 1e3).round() / 1e3)
            )
        });
        Report {
            message: "normalised features are multiplied by a scale with mean zero".to_owned(),
            labels: vec![
                (finding.product, "silences the features at the start".to_owned()),
                (finding.scale, "the scale comes from here, centred at zero".to_owned()),
            ],
            notes: notes.into_iter().collect(),
            help: Some("write `(1 + scale) * x`, or `x -> modulate(shift, scale)`".to_owned()),
        }
    }

    fixes(finding, context) {
        let Some((first, second)) = context.factors(finding.product) else { return vec![] };
        let scale = if finding.slot == 0 { first } else { second };
        let before = Span { end: scale.start, ..scale };
        let edits = vec![Edit::new(before, "(1 + "), Edit::new(scale.after(), ")")];
        vec![Fix::new("multiply by one and the scale", Safety::Unsafe, edits)]
    }
}

/// Whether a value comes straight from a normalisation.
fn is_normalized(graph: &Graph, mut at: NodeId) -> bool {
    loop {
        let Some(op) = graph.node(at).op() else { return false };
        match op.as_operator().passage() {
            Passage::Normalize => return true,
            Passage::Keep => match graph.operand(at, 0) {
                Some(operand) => at = operand,
                None => return false,
            },
            Passage::Source
            | Passage::Scale
            | Passage::Gate
            | Passage::Resample
            | Passage::Project
            | Passage::Transform
            | Passage::Add
            | Passage::Join
            | Passage::Cut => return false,
        }
    }
}

/// Whether a product is a summand of a residual sum or of a skip: the features pass by, and what is multiplied is a gate
/// of what joins them. Also `n + scale * n`, which is another way to write the one.
fn joins_a_stream(context: &Context<'_>, product: NodeId) -> bool {
    let graph = context.graph;
    let mut open = vec![product];
    let mut uses = 0;
    while let Some(at) = open.pop() {
        for (user, _) in graph.users(at) {
            uses += 1;
            let Some(op) = graph.node(user).op() else { return false };
            match op.as_operator().passage() {
                Passage::Keep | Passage::Scale => open.push(user),
                Passage::Add | Passage::Join if context.streams().at(user).is_some() => {}
                Passage::Add
                | Passage::Join
                | Passage::Source
                | Passage::Gate
                | Passage::Normalize
                | Passage::Resample
                | Passage::Project
                | Passage::Transform
                | Passage::Cut => return false,
            }
        }
    }
    uses > 0
}

/// What makes a scale that starts at zero, if it silences features that were there, in front of an activation and a layer
/// with weights.
fn silencing_source(context: &Context<'_>, product: NodeId, features: NodeId, scale: NodeId) -> Option<NodeId> {
    let graph = context.graph;
    let liveness = context.liveness();
    let condition = graph.node(features).ty.kind == Kind::Vector;
    let silences = liveness.starts_zero(scale) && !liveness.starts_zero(features) && !condition;
    (silences && leads_into_layers(graph, product)).then_some(scale)
}

/// Whether a product is all that an activation and a layer with weights behind it see. A shift may be added on the way.
fn leads_into_layers(graph: &Graph, product: NodeId) -> bool {
    let (mut at, mut activated) = (product, false);
    loop {
        let users: Vec<NodeId> = graph.users(at).map(|(user, _)| user).collect();
        let [user] = users.as_slice() else { return false };
        let Some(op) = graph.node(*user).op() else { return false };
        match op.as_operator().passage() {
            Passage::Project | Passage::Transform if !graph.node(*user).parameters.is_empty() => return activated,
            Passage::Transform if matches!(op, Op::Activation(_)) => activated = true,
            Passage::Keep | Passage::Scale | Passage::Resample | Passage::Project => {}
            Passage::Add => {
                let is_shift = |operand: &NodeId| *operand == at || graph.node(*operand).ty.kind == Kind::Vector;
                if !graph.operands(*user).iter().all(is_shift) {
                    return false;
                }
            }
            Passage::Source
            | Passage::Gate
            | Passage::Normalize
            | Passage::Transform
            | Passage::Join
            | Passage::Cut => return false,
        }
        at = *user;
    }
}

/// Whether a value is one factor for each channel of a sample.
fn is_scale(graph: &Graph, node: NodeId) -> bool {
    let ty = &graph.node(node).ty;
    ty.kind == Kind::Vector && ty.batch.samples
}

/// The linear map that a scale comes from, if nothing on the way moves its mean away from zero.
fn centred_source(context: &Context<'_>, mut at: NodeId) -> Option<NodeId> {
    let graph = context.graph;
    loop {
        let node = graph.node(at);
        let op = node.op()?;
        match op.as_operator().passage() {
            Passage::Project | Passage::Source if !node.parameters.is_empty() => {
                let centred = node.parameters.iter().all(|id| {
                    let parameter = graph.parameter(*id);
                    parameter.init.mean_and_std(parameter.fans).0 == 0.0
                });
                return centred.then_some(at);
            }
            Passage::Keep | Passage::Cut | Passage::Scale => at = graph.operand(at, 0)?,
            // A sum is centred if all its summands are.
            Passage::Add => {
                let operands = graph.operands(at);
                let sources = operands.iter().map(|operand| centred_source(context, *operand));
                return sources.collect::<Option<Vec<NodeId>>>()?.last().copied();
            }
            Passage::Source
            | Passage::Gate
            | Passage::Normalize
            | Passage::Resample
            | Passage::Project
            | Passage::Transform
            | Passage::Join => return None,
        }
    }
}
