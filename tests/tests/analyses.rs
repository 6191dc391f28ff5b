//! Streams, liveness and preconditioning, against what can be derived by hand.

use archc_compiler::analysis::liveness::{Dead, Liveness, Wake};
use archc_compiler::analysis::preconditioning::{Identities, identities};
use archc_compiler::analysis::streams::{MergeKind, Streams};
use archc_compiler::ir::{Graph, NodeId, NodeKind};
use archc_compiler::{Options, compile};
use archc_tests::corpus;

/// The graph of a source, which may have findings but no errors of the language.
fn graph(source: &str, target: Option<&str>, settings: &[(&str, &str)]) -> Graph {
    let settings: Vec<_> = settings
        .iter()
        .map(|(name, value)| {
            let value = archc_grammar::parse_expression(value, archc_compiler::FileId(u32::MAX));
            ((*name).into(), value.expect("a setting is an expression"))
        })
        .collect();
    let compiled = compile("main.arch", target, &settings, &[("main.arch", source)], &Options::default());
    let compiled = compiled.expect("the source is given");
    let said = compiled.diagnostics;
    assert!(compiled.graph.is_some(), "{source}\n{said:#?}");
    compiled.graph.expect("it is there")
}

/// The body of a model as a graph.
fn body(parameters: &str, source: &str) -> Graph {
    graph(&format!("model M({parameters}) {{\n{source}\n}}\n"), None, &[])
}

/// What a reader would call a value.
fn name(graph: &Graph, id: NodeId) -> String {
    let node = graph.node(id);
    match &node.kind {
        NodeKind::Input(at) => graph.inputs.get(*at as usize).map_or(String::new(), |input| input.name.to_string()),
        NodeKind::Op(op) => {
            let known = node.path.as_deref().or(node.name.as_deref());
            known.unwrap_or(op.name()).to_owned()
        }
    }
}

/// `residual x + proj`: one line for each merge that closes a loop, carry before branch, with what lies on the bypass.
fn merges(graph: &Graph) -> Vec<String> {
    let streams = Streams::of(graph);
    let lines = streams.merges.iter().map(|merge| {
        let kind = match merge.kind {
            MergeKind::Residual => "residual",
            MergeKind::LongSkip => "long skip",
        };
        let (fork, branch) = (name(graph, merge.fork), name(graph, merge.branch));
        let way: Vec<String> = merge.bypass.iter().rev().map(|node| name(graph, *node)).collect();
        let way = if way.is_empty() { String::new() } else { format!(" by {}", way.join(", ")) };
        format!("{kind} {fork}{way} + {branch}")
    });
    lines.collect()
}

/// `gate.weight 1`: the step at which each parameter first moves, in checkpoint order.
fn wakes(graph: &Graph) -> Vec<String> {
    let liveness = Liveness::of(graph);
    let lines = graph.parameter_ids().map(|id| {
        let when = match liveness.wake(id) {
            Wake::Step(step) => step.to_string(),
            Wake::Frozen => "frozen".to_owned(),
            Wake::Never(Dead::Unreachable) => "never, unreachable".to_owned(),
            Wake::Never(Dead::ZeroProduct) => "never, zero product".to_owned(),
            Wake::Never(Dead::Invariant) => "never, invariant".to_owned(),
        };
        format!("{} {when}", graph.parameter(id).path)
    });
    lines.collect()
}

fn wake_of(graph: &Graph, path: &str) -> Wake {
    let liveness = Liveness::of(graph);
    let id = graph.parameter_ids().find(|id| *graph.parameter(*id).path == *path);
    assert!(id.is_some(), "there is no {path}");
    liveness.wake(id.expect("it is there"))
}

mod streams {
    use super::*;

    #[test]
    fn words_and_signs_make_the_same_residual() {
        let branch = "layer_norm() @norm -> linear(32) @proj";
        for source in [
            format!("x -> residual {{ {branch} }}"),
            format!("x + (x -> {branch})"),
            format!("(x -> {branch}) + x"),
            format!("let f = x -> {branch}\nf + x"),
        ] {
            let found = merges(&body("x: tokens[16, 32]", &source));
            assert_eq!(found.len(), 1, "{source}");
            assert!(found.iter().all(|line| line.starts_with("residual x + ")), "{source}: {found:?}");
        }
    }

    #[test]
    fn factors_and_gates_of_a_branch_leave_it_a_branch() {
        let parameters = "x: tokens[16, 32], c: vector[8]";
        for factor in ["0.5 *", "parameter(vector[32]) @gamma *", "(c -> linear(32) @gate) *", "-1 *"] {
            let found = merges(&body(parameters, &format!("x + {factor} (x -> linear(32) @proj)")));
            assert_eq!(found.len(), 1, "{factor}");
            assert!(found.iter().all(|line| line.starts_with("residual x + ")), "{factor}: {found:?}");
        }
    }

    #[test]
    fn a_shortcut_is_a_bypass() {
        let source = "x -> residual(shortcut: conv2d(16, kernel: 1) @short) { conv2d(16, kernel: 3) @conv }";
        assert_eq!(merges(&body("x: image[8, 16, 16]", source)), ["residual x by short + conv"]);
        let by_hand = "(x -> conv2d(16, kernel: 1) @short) + (x -> conv2d(16, kernel: 3) @conv)";
        assert_eq!(merges(&body("x: image[8, 16, 16]", by_hand)), ["residual x by short + conv"]);
    }

    #[test]
    fn a_detour_through_another_resolution_is_a_long_skip() {
        let detour = "let h = x -> conv2d(8, kernel: 3, stride: 2) @down -> silu() -> upsample(2) @up\n";
        for (merge, expected) in [
            ("x + h", "long skip x + up"),
            ("h + x", "long skip x + up"),
            ("concat(h, x)", "long skip x + up"),
            ("h + (x -> group_norm(4) @norm)", "long skip x by norm + up"),
            ("h + 0.7 * (x -> group_norm(4) @norm)", "long skip x by norm, affine + up"),
            ("h + (x -> conv2d(8, kernel: 1) @proj)", "long skip x by proj + up"),
        ] {
            assert_eq!(merges(&body("x: image[8, 16, 16]", &format!("{detour}{merge}"))), [expected], "{merge}");
        }
    }

    #[test]
    fn a_policy_of_a_skip_is_its_bypass() {
        let source = "skip long(fuse: add, norm: group_norm(4) @norm, scale: 0.7, renorm: true)
            long <- x
            x -> conv2d(8, kernel: 3, stride: 2) @down -> silu() -> upsample(2) @up -> join(long)";
        assert_eq!(merges(&body("x: image[8, 16, 16]", source)), ["long skip x by norm, affine + up"]);
    }

    #[test]
    fn concatenation_of_a_value_with_what_descends_from_it_is_a_long_skip() {
        let source = "skip long\nlong <- x\nx -> linear(32) @fc -> gelu() -> join(long)";
        assert_eq!(merges(&body("x: tokens[16, 32]", source)), ["long skip x + gelu"]);
    }

    #[test]
    fn the_sum_over_a_whole_stack_is_a_long_skip() {
        let source = "let h = x
            for i in 0..2 { h = h -> residual { layer_norm() @norm.{i} -> linear(32) @proj.{i} } }
            h + x";
        let expected = ["residual x + proj.0", "residual h + proj.1", "long skip x + h"];
        assert_eq!(merges(&body("x: tokens[16, 32]", source)), expected);
    }

    #[test]
    fn a_map_behind_the_stack_makes_it_a_branch() {
        let source = "let h = x
            for i in 0..2 { h = h -> residual { layer_norm() @norm.{i} -> linear(32) @proj.{i} } }
            x + (h -> linear(32) @out)";
        let expected = ["residual x + proj.0", "residual h + proj.1", "residual x + out"];
        assert_eq!(merges(&body("x: tokens[16, 32]", source)), expected);
    }

    #[test]
    fn other_sums_close_no_loop() {
        for (parameters, source) in [
            ("x: tokens[16, 32]", "x + parameter(tokens[16, 32]) @positions"),
            ("x: tokens[16, 32], c: vector[8]", "x + c -> linear(32) @cond"),
            ("x: tokens[16, 32], y: tokens[16, 32]", "(x -> linear(32) @x) + y"),
            ("x: tokens[16, 32]", "(x -> linear(32) @a -> gelu()) + (x -> linear(32) @b -> gelu())"),
            ("x: tokens[16, 32], y: tokens[4, 32]", "concat(x, y, along: tokens)"),
            ("t: timestep, y: label[10]", "t -> sinusoid(32) -> linear(32) @t + y -> embedding(32) @y"),
        ] {
            assert_eq!(merges(&body(parameters, source)), [""; 0], "{source}");
        }
    }

    /// Two streams in one sequence, as in SD 3: each sum closes a loop of its own stream.
    #[test]
    fn streams_that_meet_in_one_attention_keep_their_residuals() {
        let source = "let q = concat(x -> linear(32) @xq, y -> linear(32) @yq, along: tokens)
            let a = attention(q, q, q, heads: 2)
            let xo = x + (a -> slice(0, 16, along: tokens) -> linear(32) @xo)
            let yo = y + (a -> slice(16, 4, along: tokens) -> linear(32) @yo)
            concat(xo, yo, along: tokens)";
        let expected = ["residual x + xo", "residual y + yo"];
        assert_eq!(merges(&body("x: tokens[16, 32], y: tokens[4, 32]", source)), expected);
    }

    #[test]
    fn depth_is_counted_along_a_stream() {
        let source = "let c = y
            for i in 0..2 { c = c -> residual { linear(32) @text.{i} } }
            let h = x
            for i in 0..5 { h = h -> residual { linear(32) @image.{i} } }
            attention(h, c, c, heads: 1)";
        let graph = body("x: tokens[16, 32], y: tokens[4, 32]", source);
        let streams = Streams::of(&graph);
        assert_eq!(streams.max_depth(), 5);
        let depths: Vec<(u32, u32)> =
            streams.merges.iter().map(|merge| (merge.depth, streams.stack_depth(merge.node))).collect();
        assert_eq!(depths, [(1, 2), (2, 2), (1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]);
    }

    #[test]
    fn published_networks_have_the_sums_of_their_figures() {
        let count = |graph: &Graph, kind| Streams::of(graph).merges.iter().filter(|merge| merge.kind == kind).count();
        // Two residuals in each of four blocks.
        let dit = graph(&corpus::read("specs/dit.arch"), Some("dit_s_2"), &[("depth", "4")]);
        assert_eq!((count(&dit, MergeKind::Residual), count(&dit, MergeKind::LongSkip)), (8, 0));
        // 2 * 4 + 2 + 3 * 4 residual blocks, attention after 2 + 1 + 3 of them; a skip for each of 1 + 2 * 4 + 3 saved.
        let ddpm = graph(&corpus::read("specs/ddpm.arch"), None, &[]);
        assert_eq!((count(&ddpm, MergeKind::Residual), count(&ddpm, MergeKind::LongSkip)), (22 + 6, 12));
    }
}

mod liveness {
    use super::*;

    #[test]
    fn without_zeros_everything_moves_at_once() {
        let graph = body("x: tokens[16, 32]", "x -> linear(64) @fc1 -> gelu() -> linear(8) @fc2");
        assert_eq!(wakes(&graph), ["fc1.weight 1", "fc1.bias 1", "fc2.weight 1", "fc2.bias 1"]);
    }

    #[test]
    fn behind_a_zero_head_everything_waits_one_step() {
        let graph = body("x: tokens[16, 32]", "x -> linear(64) @body -> gelu() -> linear(8, init: zero) @head");
        assert_eq!(wakes(&graph), ["body.weight 2", "body.bias 2", "head.weight 1", "head.bias 1"]);
    }

    #[test]
    fn each_zero_in_a_chain_costs_a_step() {
        // The gradient of `a` carries the gate and the head, both zero: order 2, step 3.
        let source = "let gate = c -> linear(32, init: zero) @gate
            (x + gate * (x -> linear(32) @a)) -> linear(8, init: zero) @head";
        let graph = body("x: tokens[16, 32], c: vector[8]", source);
        assert_eq!(
            wakes(&graph),
            ["gate.weight 2", "gate.bias 2", "a.weight 3", "a.bias 3", "head.weight 1", "head.bias 1"]
        );
    }

    #[test]
    fn two_zero_factors_never_move() {
        let source = "let gate = c -> linear(32, init: zero) @gate
            x + gate * (x -> layer_norm() @norm -> linear(32, init: zero) @proj)";
        let graph = body("x: tokens[16, 32], c: vector[8]", source);
        assert!(wakes(&graph).iter().all(|line| line.ends_with("never, zero product")), "{:?}", wakes(&graph));
    }

    #[test]
    fn rezero_moves_its_scale_first() {
        let graph = body("x: tokens[16, 32]", "x -> residual(scale: learned(0) @alpha) { linear(32) @proj }");
        assert_eq!(wakes(&graph), ["alpha 1", "proj.weight 2", "proj.bias 2"]);
    }

    #[test]
    fn layer_scale_near_zero_is_no_zero() {
        let source = "x -> residual(scale: learned(1e-6, per: channel) @gamma) { linear(32) @proj }";
        assert_eq!(wakes(&body("x: tokens[16, 32]", source)), ["gamma 1", "proj.weight 1", "proj.bias 1"]);
    }

    #[test]
    fn a_zero_factor_of_three_is_enough_to_stop_two_others_at_zero() {
        let source =
            "x + parameter(vector[32], init: zero) @a * parameter(vector[32], init: one) @b * (x -> linear(32) @w)";
        assert_eq!(wakes(&body("x: tokens[16, 32]", source)), ["a 1", "b 2", "w.weight 2", "w.bias 2"]);
    }

    #[test]
    fn low_rank_factors_start_with_one_zero() {
        let source = |first: &str, second: &str| {
            let text = format!("x + (x -> linear(4, bias: false{first}) @a -> linear(32, bias: false{second}) @b)");
            wakes(&body("x: tokens[16, 32]", &text))
        };
        let zero = ", init: zero";
        assert_eq!(source("", zero), ["a.weight 2", "b.weight 1"]);
        assert_eq!(source(zero, ""), ["a.weight 1", "b.weight 2"]);
        assert_eq!(source(zero, zero), ["a.weight never, zero product", "b.weight never, zero product"]);
    }

    #[test]
    fn a_gate_with_a_sigmoid_is_half_open() {
        let source = "x + (c -> linear(32, init: zero) @gate -> sigmoid()) * (x -> linear(32, init: zero) @proj)";
        let graph = body("x: tokens[16, 32], c: vector[8]", source);
        assert_eq!(wakes(&graph), ["gate.weight 2", "gate.bias 2", "proj.weight 1", "proj.bias 1"]);
    }

    #[test]
    fn nothing_passes_a_relu_at_zero() {
        let chain = |act: &str| {
            let source = format!("x + (x -> linear(64, init: zero) @a -> {act}() -> linear(32) @b)");
            wakes(&body("x: tokens[16, 32]", &source))
        };
        // GELU has slope 1/2 at zero. Behind it `a` moves, then `b` sees something else than zeros.
        assert_eq!(chain("gelu"), ["a.weight 1", "a.bias 1", "b.weight 2", "b.bias 1"]);
        let dead = chain("relu");
        assert!(dead.iter().take(2).all(|line| line.contains("never")), "{dead:?}");
    }

    /// Two layers at zero in a row: the bias of the second moves alone.
    #[test]
    fn a_zero_fed_by_a_zero_stays() {
        let source = "x + (x -> linear(64, init: zero) @a -> gelu() -> linear(32, init: zero) @b)";
        let expected =
            ["a.weight never, zero product", "a.bias never, zero product", "b.weight never, zero product", "b.bias 1"];
        assert_eq!(wakes(&body("x: tokens[16, 32]", source)), expected);
    }

    #[test]
    fn keys_have_no_use_for_a_bias() {
        // What is added to all scores of a query cancels in the softmax; a bias of the keys adds just that.
        let source = "let q = x -> linear(32) @q
            let k = x -> linear(32) @k
            attention(q, k, x -> linear(32) @v, heads: 2)";
        let expected = ["q.weight 1", "q.bias 1", "k.weight 1", "k.bias never, invariant", "v.weight 1", "v.bias 1"];
        assert_eq!(wakes(&body("x: tokens[16, 32]", source)), expected);
    }

    #[test]
    fn a_single_key_needs_neither_queries_nor_keys() {
        let source = "let q = x -> linear(32) @q
            let k = y -> linear(32) @k
            attention(q, k, y -> linear(32) @v, heads: 2)";
        let graph = body("x: tokens[16, 32], y: tokens[1, 8]", source);
        let expected = [
            "q.weight never, invariant",
            "q.bias never, invariant",
            "k.weight never, invariant",
            "k.bias never, invariant",
            "v.weight 1",
            "v.bias 1",
        ];
        assert_eq!(wakes(&graph), expected);
    }

    #[test]
    fn a_softmax_of_one_channel_stops_the_gradient() {
        let source = "(x * (x -> conv2d(1, kernel: 1) @mask -> softmax())) -> conv2d(8, kernel: 1) @out";
        let graph = body("x: image[8, 4, 4]", source);
        let expected = ["mask.weight never, invariant", "mask.bias never, invariant", "out.weight 1", "out.bias 1"];
        assert_eq!(wakes(&graph), expected);
    }

    #[test]
    fn queries_and_keys_at_zero_wait_for_each_other() {
        let source = |q: &str, k: &str| {
            let text = format!(
                "let q = x -> linear(32, bias: false{q}) @q
                let k = x -> linear(32, bias: false{k}) @k
                attention(q, k, x, heads: 2)"
            );
            wakes(&body("x: tokens[16, 32]", &text))
        };
        let zero = ", init: zero";
        assert_eq!(source(zero, ""), ["q.weight 1", "k.weight 2"]);
        assert_eq!(source("", zero), ["q.weight 2", "k.weight 1"]);
        assert_eq!(source(zero, zero), ["q.weight never, zero product", "k.weight never, zero product"]);
    }

    #[test]
    fn what_reaches_no_output_never_moves() {
        let graph = body("x: tokens[16, 32]", "let unused = x -> linear(8) @unused\nx -> linear(4) @out");
        assert_eq!(
            wakes(&graph),
            ["unused.weight never, unreachable", "unused.bias never, unreachable", "out.weight 1", "out.bias 1"]
        );
    }

    #[test]
    fn tables_that_are_not_trained_are_frozen() {
        let source = "x + parameter(tokens[16, 32], frozen: true, init: sincos_table(4, 4)) @positions";
        assert_eq!(wakes(&body("x: tokens[16, 32]", source)), ["positions frozen"]);
    }

    /// A norm subtracts the mean over channels and divides by the deviation. A bias in front of it still moves, since
    /// a bias differs from channel to channel; a number that is added to all of them does not.
    #[test]
    fn a_norm_ignores_what_is_the_same_in_all_channels() {
        let source = "(x + parameter(scalar) @shift) -> layer_norm(affine: false)";
        let graph = body("x: tokens[16, 32]", source);
        assert_eq!(wakes(&graph), ["shift never, invariant"]);
        let graph = body("x: tokens[16, 32]", "x -> linear(32) @proj -> layer_norm(affine: false)");
        assert_eq!(wakes(&graph), ["proj.weight 1", "proj.bias 1"]);
    }

    /// Head at step 1, modulation of the head at step 2 with everything in front of it that is not gated, gates at step
    /// 2, what is behind the gates at step 3.
    #[test]
    fn dit_wakes_from_the_head_down() {
        let settings = [("depth", "2"), ("dim", "64"), ("heads", "2"), ("size", "8")];
        let dit = graph(&corpus::read("specs/dit.arch"), Some("dit_s_2"), &settings);
        for (path, step) in [
            ("final_layer.linear.weight", 1),
            ("final_layer.linear.bias", 1),
            ("final_layer.adaLN_modulation.1.weight", 2),
            ("final_layer.adaLN_modulation.1.bias", 2),
            ("x_embedder.proj.weight", 2),
            ("blocks.0.adaLN_modulation.1.weight", 2),
            ("blocks.1.adaLN_modulation.1.bias", 2),
            ("blocks.0.attn.proj.weight", 3),
            ("blocks.1.attn.qkv.weight", 3),
            ("blocks.0.mlp.fc1.weight", 3),
            ("blocks.1.mlp.fc2.bias", 3),
            // Conditions reach the output through modulations alone, which are zero at the first step.
            ("t_embedder.mlp.0.weight", 3),
            ("y_embedder.embedding_table.weight", 3),
        ] {
            assert_eq!(wake_of(&dit, path), Wake::Step(step), "{path}");
        }
        assert_eq!(wake_of(&dit, "pos_embed"), Wake::Frozen);
    }

    /// DDPM starts its last layers at 1e-5, not at zero: all but the biases of the keys move at once.
    #[test]
    fn ddpm_moves_at_once() {
        let ddpm = graph(&corpus::read("specs/ddpm.arch"), None, &[]);
        let late: Vec<String> = wakes(&ddpm).into_iter().filter(|line| !line.ends_with(" 1")).collect();
        assert!(late.iter().all(|line| line.ends_with("to_k.bias never, invariant")), "{late:?}");
        assert_eq!(late.len(), 6, "one for each attention");
    }

    #[test]
    fn a_dead_branch_leaves_its_neighbour_alive() {
        let source = "let [gate1, gate2] = c -> linear(64, init: zero) @modulation -> chunk(2)
            x -> residual(gate: gate1) { linear(32, init: zero) @dead } -> residual(gate: gate2) { linear(32) @alive }";
        let graph = body("x: tokens[16, 32], c: vector[8]", source);
        let expected = [
            "modulation.weight 1",
            "modulation.bias 1",
            "dead.weight never, zero product",
            "dead.bias never, zero product",
            "alive.weight 2",
            "alive.bias 2",
        ];
        assert_eq!(wakes(&graph), expected);
    }
}

/// Of a network that is preconditioned by the formulas that are given, for a deviation of 0.3.
fn preconditioned(skip: &str, out: &str, input: &str) -> Identities {
    let graph = graph(
        &format!(
            "model M(x: image[2, 8, 8], sigma: sigma) -> image[2, 8, 8] {{
                process {{ schedule: edm; prediction: x0; weighting: edm(sigma_data: 0.3); data_std: 0.3 }}
                let root = rsqrt(sigma * sigma + 0.3 * 0.3)
                let raw = ({input} * x) -> conv2d(2, kernel: 3) @conv
                {skip} * x + {out} * raw
            }}"
        ),
        None,
        &[],
    );
    identities(&graph).expect("it is preconditioned")
}

#[test]
fn identities_of_preconditioning_are_proved_as_functions_of_sigma() {
    let edm = preconditioned("(0.09 * root * root)", "(0.3 * sigma * root)", "root");
    let weight = edm.weight.expect("EDM's own");
    assert!(edm.input.proved && edm.target.proved && weight.proved, "{edm:?}");
    for claim in [edm.input, edm.target, weight] {
        assert!(claim.factor() < 1.0 + 1e-12, "{edm:?}");
    }
}

#[test]
fn wrong_preconditioning_is_not_proved() {
    // Off by 2 %, by the square root of two, and with a skip that only small noise forgives.
    let near = preconditioned("(0.09 * root * root)", "(0.306 * sigma * root)", "root");
    assert!(near.input.proved && !near.target.proved, "{near:?}");
    assert!((near.target.value * 1.02 * 1.02 - 1.0).abs() < 1e-9, "{near:?}");
    let double = preconditioned("(0.09 * root * root)", "(0.3 * sigma * root)", "(1.4142135623730951 * root)");
    assert!(!double.input.proved && (double.input.value - 2.0).abs() < 1e-9, "{double:?}");
    let plain = preconditioned("(root * root)", "(0.3 * sigma * root)", "root");
    assert!(!plain.target.proved && plain.target.factor() > 3.0, "{plain:?}");
    // No quotient of polynomials: followed over the levels only.
    let unknown = preconditioned("exp(0 - sigma * sigma / 0.18)", "(0.3 * sigma * root)", "root");
    assert!(!unknown.input.proved, "one coefficient of unknown form leaves all to the levels: {unknown:?}");
    assert!((unknown.input.value - 1.0).abs() < 1e-12, "{unknown:?}");
}
