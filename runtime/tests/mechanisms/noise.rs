//! Gates that follow the noise, and the levels of noise that they follow.

use crate::common::{floats, normal, run};
use archc_runtime::HostTensor;

/// Minus the logarithm of `exp(x) - 1` for `exp(-x)` kept.
fn log_snr(kept: f64) -> f64 {
    kept.ln() - (1.0 - kept).ln()
}

/// What chains of steps keep, step by step, multiplied up as training does.
fn kept(betas: impl Iterator<Item = f64>) -> Vec<f64> {
    let products = betas.scan(1.0, |kept, beta| {
        *kept *= 1.0 - beta;
        Some(*kept)
    });
    products.collect()
}

#[test]
fn log_snr_is_that_of_the_schedule() {
    let steps: Vec<f64> = (0..1000).map(f64::from).collect();
    let line = |start: f64, end: f64| steps.iter().map(move |step| start + (end - start) * step / 999.0);
    let cosine = |u: f64| ((u + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos().powi(2);
    let chains = [
        ("log_snr_linear", kept(line(1e-4, 0.02))),
        ("log_snr_scaled_linear", kept(line(0.000_85_f64.sqrt(), 0.012_f64.sqrt()).map(|root| root * root))),
        (
            "log_snr_cosine",
            kept(steps.iter().map(|at| (1.0 - cosine((at + 1.0) / 1000.0) / cosine(at / 1000.0)).min(0.999))),
        ),
    ];
    let times = || HostTensor::f32(vec![1000], (0..1000).map(|step| step as f32).collect());
    for (name, kept) in chains {
        let source = format!("use std.noise.{{{name}}}\nmodel A(t: timestep) {{ t -> {name}() }}");
        let found = floats(&run(&source, vec![times()], &[]));
        for (step, (found, kept)) in found.iter().zip(&kept).enumerate() {
            assert!((found - log_snr(*kept)).abs() < 4e-3, "{name} at {step}: {found} instead of {}", log_snr(*kept));
        }
    }
    let sigmas = HostTensor::f32(vec![3], vec![0.002, 1.0, 80.0]);
    let found = run("use std.noise.{log_snr_ve}\nmodel A(s: sigma) { s -> log_snr_ve(0.5) }", vec![sigmas], &[]);
    for (found, sigma) in floats(&found).iter().zip([0.002_f64, 1.0, 80.0]) {
        assert!((found - 2.0 * (0.5 / sigma).ln()).abs() < 1e-5);
    }
    let found = run("use std.noise.{log_snr_flow}\nmodel A(t: timestep) { t -> log_snr_flow() }", vec![times()], &[]);
    for (step, found) in floats(&found).iter().enumerate().skip(1) {
        let u = step as f64 / 1000.0;
        assert!((found - 2.0 * ((1.0 - u) / u).ln()).abs() < 3e-4, "{step}");
    }
}

/// Whatever its parameters are, a gate rises with the SNR, or falls with it.
#[test]
fn noise_gates_are_monotone_whatever_they_have_learned() {
    let levels: Vec<f32> = (0..200).map(|at| (at as f32 - 100.0) / 8.0).collect();
    for (opens, sign) in [("with_snr", 1.0), ("with_noise", -1.0)] {
        let source = format!(
            "use std.gate.{{snr_gate}}\nmodel A(level: scalar) {{ level -> snr_gate(5, opens: \"{opens}\") @gate }}"
        );
        for draw in 0..5 {
            let drawn = |name: &str| {
                let values = floats(&normal(&format!("{name}.{draw}"), &[5]));
                HostTensor::f32(vec![5], values.into_iter().map(|x| 3.0 * x as f32).collect())
            };
            let input = HostTensor::f32(vec![200], levels.clone());
            let weights = [("gate.slope", drawn("slope")), ("gate.bias", drawn("bias"))];
            let (slope, bias) = (floats(&weights[0].1), floats(&weights[1].1));
            let gates = floats(&run(&source, vec![input], &weights));
            for channel in 0..5 {
                let opening = |at: usize| gates[at * 5 + channel];
                for (at, level) in levels.iter().enumerate() {
                    let x = sign * slope[channel].exp().ln_1p() * f64::from(*level) + bias[channel];
                    assert!((opening(at) - 1.0 / (1.0 + (-x).exp())).abs() < 1e-6);
                    assert!(at == 0 || sign * (opening(at) - opening(at - 1)) >= -1e-7, "{opens}, channel {channel}");
                }
            }
        }
    }
    // Half open where it is told.
    let source = "use std.gate.{snr_gate}\nmodel A(level: scalar) { level -> snr_gate(slope: 2, centre: 3) }";
    let found = floats(&run(source, vec![HostTensor::f32(vec![2], vec![3.0, 4.0])], &[]));
    assert!((found[0] - 0.5).abs() < 1e-6 && (found[1] - 1.0 / (1.0 + (-2.0_f64).exp())).abs() < 1e-6);
}
