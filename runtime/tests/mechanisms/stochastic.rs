//! Branches and skips that are left out of a sample in training.

use archc_compiler::types::Kind;
use archc_compiler::{Options, compile};
use archc_runtime::execute::{Mode, Unobserved, execute};
use archc_runtime::plan::{Bindings, Plan};
use archc_runtime::{GraphModule, HostTensor, Value, init};
use burn::backend::Flex;
use std::sync::Arc;

const SAMPLES: usize = 400;

/// How much of the branch is in each sample, where the input is `x` and the result `x + share * x`.
fn shares(source: &str, mode: Mode) -> Vec<f32> {
    let compiled = compile("a.arch", None, &[], &[("a.arch", source)], &Options::default()).expect("it exists");
    let graph = Arc::new(compiled.graph.expect("nothing is wrong with it"));
    let device = Default::default();
    let (plan, module) = (Plan::new(graph.clone()), GraphModule::<Flex>::init(&graph, 1, &device));
    let x = init::input(Kind::Tokens, None, vec![SAMPLES, 3, 2], 1, "x");
    let bindings = Bindings { batch: SAMPLES, sizes: graph.typical.clone() };
    let inputs = vec![Value::from_host(&x, &device)];
    let outputs = execute(&plan, &module, inputs, &bindings, mode, &device, Unobserved);
    let y: HostTensor = outputs.first().expect("an output").to_host();
    let (x, y) = (x.to_f32(), y.to_f32());
    let samples = x.chunks(6).zip(y.chunks(6)).map(|(x, y)| {
        let shares: Vec<f32> = x.iter().zip(y).map(|(x, y)| (y - x) / x).collect();
        let first = shares[0];
        assert!(shares.iter().all(|share| (share - first).abs() < 1e-3), "a sample is dropped as a whole");
        first
    });
    samples.collect()
}

#[test]
fn branches_and_skips_are_dropped_by_sample_and_scaled_up_otherwise() {
    let rate = 0.25;
    let branch = format!("model A(x: tokens[3, 2]) {{ x -> residual(drop: {rate}) {{ affine(scale: 1) }} }}");
    let skip = format!(
        "model A(x: tokens[3, 2]) {{
            skip long(fuse: add, drop: {rate})
            long <- x
            x -> affine(scale: 1) -> join(long)
        }}"
    );
    for source in [branch, skip] {
        assert!(shares(&source, Mode::Evaluation).iter().all(|share| (share - 1.0).abs() < 1e-5));
        let shares = shares(&source, Mode::Training { seed: 1, step: 1 });
        let kept = 1.0 / (1.0 - rate as f32);
        assert!(shares.iter().all(|share| share.abs() < 1e-5 || (share - kept).abs() < 1e-4), "all or nothing");
        let dropped = shares.iter().filter(|share| share.abs() < 1e-5).count() as f64 / SAMPLES as f64;
        // Four deviations of a binomial variable.
        assert!((dropped - rate).abs() < 4.0 * (rate * (1.0 - rate) / SAMPLES as f64).sqrt(), "{dropped} are dropped");
    }
}
