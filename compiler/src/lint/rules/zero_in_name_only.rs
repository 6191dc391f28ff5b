//! `init/zero-in-name-only`

use crate::ir::{NodeId, Parameter, ScopeKind};
use crate::lint::Report;
use archc_grammar::{Fix, Safety, Span};
use std::collections::BTreeMap;

rule! {
    /// ## What it does
    ///
    /// Finds a block or a layer that is named for its zero initialisation and does not have it.
    ///
    /// ## Why is this bad
    ///
    /// The name is not evidence. None of the six `*Zero*` norm classes of diffusers zero-initialises anything: an
    /// untrained `DiTTransformer2DModel` gives an output of rms 0.57 where the official DiT gives exactly 0. Code that
    /// was copied from there trained without the zero for the same reason. What a branch starts as is decided by its
    /// initialisers alone.
    ///
    /// ## Example
    ///
    /// ```arch
    /// block AdaLNZero(x: tokens[N, D], cond c: vector[E]) -> tokens[N, D] {
    ///     let [shift, scale] = c -> silu() -> linear(2 * D) @linear -> chunk(2)
    ///     x -> layer_norm(affine: false) -> modulate(shift, scale)
    /// }
    ///
    /// model Named(x: tokens[16, 32], c: vector[8]) -> tokens[16, 32] {
    ///     x -> AdaLNZero(c) @norm
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// block AdaLNZero(x: tokens[N, D], cond c: vector[E]) -> tokens[N, D] {
    ///     let [shift, scale] = c -> silu() -> linear(2 * D, init: zero) @linear -> chunk(2)
    ///     x -> layer_norm(affine: false) -> modulate(shift, scale)
    /// }
    ///
    /// model Named(x: tokens[16, 32], c: vector[8]) -> tokens[16, 32] {
    ///     x -> AdaLNZero(c) @norm
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Starts the last layer at zero (unsafe: the network starts differently, weights still load).
    ///
    /// ## References
    ///
    /// * Peebles & Xie, *Scalable Diffusion Models with Transformers*, ICCV 2023, section 3.2.
    ///
    /// ## Threads
    ///
    /// * SWivid/F5-TTS#793: blocks called adaLN-Zero do not start at zero; the author had borrowed them from diffusers'
    ///   SD3, and confirms it. To the user training went about as well.
    /// * ParamThakkar123/torchwm#134: the AdaLN of a DiT is not called a true AdaLN-Zero, since its scales do not start
    ///   at zero.
    ///
    /// ## To confirm
    ///
    /// `archc params SPEC --format table` prints the initialiser of each parameter: none of the block's is `zero`.
    /// `archc run SPEC` shows that its output is not zero either.
    "init/zero-in-name-only", Error
    pub struct ZeroInNameOnly {
        name: String,
        call: Span,
        parameter: String,
        start: String,
        made: Span,
        /// Whether what the layer is fed starts at zero: it would never move if the layer did too.
        fed_by_zero: bool,
    }

    check(context) {
        let graph = context.graph;
        // The parameters of each scope that carries the name, and of each layer that does.
        let mut owned: BTreeMap<u32, (Vec<NodeId>, String)> = BTreeMap::new();
        let mut found = vec![];
        for id in graph.node_ids() {
            let node = graph.node(id);
            if node.parameters.is_empty() {
                continue;
            }
            let label = label(node.path.as_deref().unwrap_or(""));
            if promises_zero(label) {
                found.extend(broken_promise(context, label, &[id], context.place(id)));
            }
            for scope in graph.enclosing(node.scope) {
                let own = graph.scope(scope);
                let names = [&*own.name, self::label(&own.path)];
                let promise = names.into_iter().find(|name| own.kind == ScopeKind::Block && promises_zero(name));
                if let Some(name) = promise {
                    owned.entry(scope.0).or_insert_with(|| (vec![], name.to_owned())).0.push(id);
                }
            }
        }
        for (scope, (nodes, name)) in owned {
            let call = graph.scope(crate::ir::ScopeId(scope)).call;
            found.extend(broken_promise(context, &name, &nodes, call));
        }
        found
    }

    report(finding, _context) {
        Report {
            message: format!("nothing in `{}` starts at zero", finding.name),
            labels: vec![
                (finding.call, "named for its zero initialisation".to_owned()),
                (finding.made, format!("`{}` starts as {}", finding.parameter, finding.start)),
            ],
            notes: vec![],
            help: Some("give its last layer `init: zero`, or the block another name".to_owned()),
        }
    }

    fixes(finding, context) {
        let layer = context.call(finding.made).filter(|call| call.is_operator() && !finding.fed_by_zero);
        let title = format!("start `{}` at zero", finding.parameter);
        layer.map(|call| Fix::new(title, Safety::Unsafe, vec![call.set("init", "zero")])).into_iter().collect()
    }
}

/// The finding, unless one of the layers does start at zero.
fn broken_promise(
    context: &crate::lint::Context<'_>,
    name: &str,
    nodes: &[NodeId],
    call: Span,
) -> Option<(NodeId, ZeroInNameOnly)> {
    let graph = context.graph;
    let weights = nodes.iter().flat_map(|node| &graph.node(*node).parameters).map(|id| graph.parameter(*id));
    let mut trainable = weights.filter(|parameter| parameter.is_trained() && parameter.name != "bias").peekable();
    trainable.peek()?;
    let all: Vec<_> = trainable.collect();
    if all.iter().any(|parameter| is_silent(parameter)) {
        return None;
    }
    let last = all.last()?;
    let finding = ZeroInNameOnly {
        name: name.to_owned(),
        call,
        parameter: last.path.to_string(),
        start: last.start(),
        made: graph.node(last.node).span,
        fed_by_zero: graph.operand(last.node, 0).is_some_and(|operand| context.liveness().starts_zero(operand)),
    };
    Some((last.node, finding))
}

/// The last part of a path that is a word: `zero_convs` of `input.zero_convs.3`.
fn label(path: &str) -> &str {
    let is_word = |part: &&str| !part.chars().all(|c| c.is_ascii_digit());
    path.rsplit('.').find(is_word).unwrap_or("")
}

/// Whether a parameter starts at zero, or so near that it makes no difference: DDPM's scale of 1e-5.
fn is_silent(parameter: &Parameter) -> bool {
    const NEAR: f64 = 1e-3;
    let (mean, std) = parameter.init.mean_and_std(parameter.fans);
    let fan_in = libm::sqrt(parameter.fans.fan_in.max(1) as f64);
    libm::sqrt(mean * mean + std * std) * fan_in <= NEAR
}

/// Whether a name has the word *zero* as in `AdaLNZero`, `zero_conv`, and not as in `zero_pad`, `NonZero`, `level_zero`.
pub(super) fn promises_zero(name: &str) -> bool {
    const BEHIND: [&str; 8] = ["pad", "padding", "shot", "mean", "snr", "crossing", "point", "based"];
    const BEFORE: [&str; 9] = ["non", "not", "no", "level", "stage", "step", "time", "x", "index"];
    let words = words(name);
    let other = |at: usize, list: &[&str]| words.get(at).is_some_and(|word| list.contains(&word.as_str()));
    let at = words.iter().position(|word| word == "zero");
    at.is_some_and(|at| !other(at + 1, &BEHIND) && !at.checked_sub(1).is_some_and(|before| other(before, &BEFORE)))
}

/// The words of a name in camel case or snake case, in small letters.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![];
    let mut previous_small = false;
    for c in name.chars() {
        if !c.is_ascii_alphabetic() {
            words.push(String::new());
            previous_small = false;
            continue;
        }
        let starts = c.is_ascii_uppercase() && previous_small;
        // The last capital of a run starts the next word: `LNZero` is `ln`, `zero`.
        if starts || words.is_empty() {
            words.push(String::new());
        }
        previous_small = c.is_ascii_lowercase();
        if let Some(word) = words.last_mut() {
            word.push(c.to_ascii_lowercase());
        }
    }
    words.into_iter().flat_map(split_capitals).filter(|word| !word.is_empty()).collect()
}

/// `adalnzero` cannot be told apart by case alone; the word looked for ends or starts such runs.
fn split_capitals(word: String) -> Vec<String> {
    match word.strip_suffix("zero") {
        Some(head) if !head.is_empty() => vec![head.to_owned(), "zero".to_owned()],
        _ => vec![word],
    }
}

#[cfg(test)]
mod tests {
    use super::promises_zero;

    #[test]
    fn the_word_counts_not_the_letters() {
        for name in ["AdaLNZero", "AdaLayerNormZeroSingle", "zero_conv", "ZeroConv2d", "zero_module", "adaln_zero"] {
            assert!(promises_zero(name), "{name}");
        }
        for name in ["zero_pad", "ZeroPad2d", "ZeroShotHead", "Zeroth", "horizon", "zero_snr", "linear", "nonzero", "level_zero"] {
            assert!(!promises_zero(name), "{name}");
        }
    }
}
