//! `structure/dead-node`

use crate::analysis::liveness::{Dead, Wake};
use crate::ir::{NodeId, ParameterId};
use crate::lint::Report;
use archc_grammar::Span;
use rustc_hash::FxHashSet;

rule! {
    /// ## What it does
    ///
    /// Finds layers with parameters from which nothing reaches an output of the model.
    ///
    /// ## Why is this bad
    ///
    /// They are computed, stored, given to the optimiser and never trained: no output depends on them, so no gradient
    /// arrives. A forgotten MLP of width 1024 has 8.4 million parameters, 34 MB in f32, and 67 MB more for AdamW. It is
    /// what is left of a branch whose result was forgotten in the sum, and looks like a trained layer in every list of
    /// parameters; distributed training stops at it ("expected to have finished reduction"). Liveness finds it exactly.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Forgets(x: tokens[16, 32]) -> tokens[16, 32] {
    ///     let a = x -> linear(32) @a
    ///     let b = x -> linear(32) @b -> gelu()
    ///     a + x
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Uses(x: tokens[16, 32]) -> tokens[16, 32] {
    ///     let a = x -> linear(32) @a
    ///     let b = x -> linear(32) @b -> gelu()
    ///     a + b
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// None: it may be left over, or what should have read it may be missing; only the author knows which.
    ///
    /// ## References
    ///
    /// * pytorch/pytorch, `DistributedDataParallel`: unused parameters are an error unless `find_unused_parameters` is set.
    /// * Li et al., *PyTorch Distributed: Experiences on Accelerating Data Parallel Training*, VLDB 2020.
    ///
    /// ## Threads
    ///
    /// * ImprintLab/MedSegDiff#27: a diffusion model that segments stops with "Expected to have finished reduction in
    ///   the prior iteration"; the answer suspects a layer that is made and not used.
    /// * pytorch/pytorch#43259: the same error; a feature pyramid made five outputs, of which four were used.
    /// * speechbrain/speechbrain#2340: the same error with WavLM, and a list of the parameters that received no
    ///   gradient.
    ///
    /// ## To confirm
    ///
    /// `archc probe SPEC --wake-up` trains for seven steps and counts the parameters that never move, as predicted;
    /// `archc params SPEC --format table` names them.
    "structure/dead-node", Warning
    pub struct DeadNode {
        last: Span,
        layer: Span,
        parameters: usize,
        example: String,
    }

    check(context) {
        let graph = context.graph;
        let dead = |id: &ParameterId| context.liveness().wake(*id) == Wake::Never(Dead::Unreachable);
        if !graph.parameter_ids().any(|id| dead(&id)) {
            return vec![];
        }
        let reached = context.reached();
        let mut known: FxHashSet<NodeId> = FxHashSet::default();
        let mut found = vec![];
        // Ends of what is dead, the last first; what one of them explains another one need not.
        for end in graph.node_ids().rev() {
            let is_end = !reached.contains(&end) && graph.users(end).next().is_none();
            if !is_end {
                continue;
            }
            let mut parameters: Vec<ParameterId> = vec![];
            let mut open = vec![end];
            while let Some(at) = open.pop() {
                if reached.contains(&at) || !known.insert(at) {
                    continue;
                }
                parameters.extend(graph.node(at).parameters.iter().copied().filter(dead));
                open.extend(graph.operands(at));
            }
            let Some(first) = parameters.iter().min() else { continue };
            let finding = DeadNode {
                last: context.place(end),
                layer: context.place(graph.parameter(*first).node),
                parameters: parameters.len(),
                example: graph.parameter(*first).path.to_string(),
            };
            found.push((end, finding));
        }
        found.reverse();
        found
    }

    report(finding, _context) {
        let DeadNode { last, layer, parameters, example } = finding;
        let count = if *parameters == 1 { "a parameter".to_owned() } else { format!("{parameters} parameters") };
        let mut labels = vec![(*last, "what is computed here goes nowhere".to_owned())];
        if layer != last {
            labels.push((*layer, format!("`{example}` belongs to it")));
        }
        Report {
            message: "nothing here reaches an output".to_owned(),
            labels,
            notes: vec![format!("{count} never move, `{example}` among them")],
            help: Some("use the result, or remove the layers".to_owned()),
        }
    }
}
