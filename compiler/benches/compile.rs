//! From text to lints: what an author waits for, stage by stage, and how it grows with the graph.
//!
//! `cargo bench -p archc-compiler --bench compile`; `-- scale` for the growth alone.

use archc_compiler::analysis::signal::Signal;
use archc_compiler::analysis::signal::backward::cotangents;
use archc_compiler::analysis::signal::blocks::covering;
use archc_compiler::elaborate::{Budget, elaborate};
use archc_compiler::lint;
use archc_compiler::program::Program;
use archc_compiler::settings::Settings;
use archc_compiler::source::{Files, Sources};
use archc_compiler::{FileId, Options, compile};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The specs of the repository.
fn specs() -> Files {
    Files::under(Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs"))
}

/// Spec and preset of the largest networks of each kind.
const NETWORKS: [(&str, &str); 3] =
    [("dit.arch", "dit_xl_2"), ("ddpm.arch", "ddpm_cifar10"), ("stable_diffusion.arch", "sdxl_base_unet")];

fn stages(criterion: &mut Criterion) {
    let specs = specs();
    for (spec, preset) in NETWORKS {
        let mut group = criterion.benchmark_group(preset);
        let text = specs.read(spec).expect("a spec");
        group.bench_function("parse", |bench| bench.iter(|| archc_grammar::parse(black_box(&text), FileId(0))));
        group.bench_function("load", |bench| bench.iter(|| Program::load(black_box(spec), &specs)));
        let (program, _) = Program::load(spec, &specs).expect("a program");
        let target = program.target(Some(preset)).expect("a preset");
        group.bench_function("elaborate", |bench| {
            bench.iter(|| elaborate(black_box(&program), &target, &[], Budget::default()));
        });
        let graph = elaborate(&program, &target, &[], Budget::default()).graph.expect("a graph");
        group.bench_function("lint", |bench| {
            bench.iter(|| lint::lint(black_box(&graph), &program.sources, &Settings::default()));
        });
        group.bench_function("predict", |bench| {
            bench.iter(|| {
                let signal = Signal::of(black_box(&graph));
                let cut = covering(&graph);
                cotangents(&graph, &signal, |scope| cut.contains(scope)).len()
            });
        });
        group.bench_function("text to lints", |bench| {
            bench.iter(|| compile(black_box(spec), Some(preset), &[], &specs, &Options::default()));
        });
        group.finish();
    }
}

/// A published network made deeper by a hyperparameter until its graph has a given number of nodes.
fn scale(criterion: &mut Criterion) {
    let specs = specs();
    for (spec, preset, depth) in [("dit.arch", "dit_xl_2", "depth"), ("ddpm.arch", "ddpm_cifar10", "layers")] {
        let mut group = criterion.benchmark_group(format!("scale/{preset}"));
        group.sample_size(10).measurement_time(Duration::from_secs(10));
        let with = |depth_of: usize| {
            let value = archc_grammar::parse_expression(&depth_of.to_string(), FileId(0)).expect("a number");
            let settings = [(Arc::from(depth), value)];
            compile(spec, Some(preset), &settings, &specs, &Options::default())
                .expect("a model")
                .graph
                .expect("a graph")
        };
        let (small, large) = (with(100).node_count(), with(200).node_count());
        for nodes in [10_000_usize, 100_000, 1_000_000] {
            let depth_of = nodes.saturating_sub(2 * small - large) * 100 / (large - small);
            group.throughput(Throughput::Elements(nodes as u64));
            // Dropping a graph is not part of what an author waits for.
            group.bench_with_input(BenchmarkId::from_parameter(nodes), &depth_of, |bench, depth_of| {
                bench.iter_batched(|| (), |()| with(*depth_of), BatchSize::PerIteration);
            });
        }
        group.finish();
    }
}

criterion_group!(benches, stages, scale);
criterion_main!(benches);
