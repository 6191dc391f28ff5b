//! Reading the reference, and comparing with it.
#![allow(dead_code, reason = "each test reads its own part")]
#![expect(clippy::panic, clippy::unwrap_used, reason = "a damaged reference has to stop a test")]

use archc_process::{Chain, Curve, Expected, Level, Schedule};
use serde_json::Value;
use std::path::Path;

/// Unit noise that all trajectories start from.
pub const START: [f64; 4] = [-1.7, -0.4, 0.25, 1.3];

pub fn read(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/process").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn rows(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

pub fn number(value: &Value) -> f64 {
    if value == "inf" { f64::INFINITY } else { value.as_f64().unwrap_or_else(|| panic!("no number: {value}")) }
}

pub fn numbers(value: &Value) -> Vec<f64> {
    rows(value).iter().map(number).collect()
}

pub fn whole(value: &Value) -> Vec<usize> {
    numbers(value).iter().map(|number| *number as usize).collect()
}

/// Compares relative to the largest magnitude of the reference.
pub fn close(what: &str, ours: &[f64], reference: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), reference.len(), "{what}: how many");
    let largest = reference.iter().fold(f64::MIN_POSITIVE, |largest, x| largest.max(x.abs()));
    for (index, (a, b)) in ours.iter().zip(reference).enumerate() {
        assert!((a - b).abs() <= tolerance * largest, "{what}: {index} is {a}, not {b}");
    }
}

/// Compares every number relative to itself.
pub fn each_close(what: &str, ours: &[f64], reference: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), reference.len(), "{what}: how many");
    for (index, (a, b)) in ours.iter().zip(reference).enumerate() {
        assert!((a - b).abs() <= tolerance * b.abs(), "{what}: {index} is {a}, not {b}");
    }
}

/// The chain of a scheduler's configuration.
pub fn chain(config: &Value) -> Chain {
    let curve = match config["beta_schedule"].as_str().unwrap() {
        "linear" => Curve::Linear { start: number(&config["beta_start"]), end: number(&config["beta_end"]) },
        "scaled_linear" => {
            Curve::ScaledLinear { start: number(&config["beta_start"]), end: number(&config["beta_end"]) }
        }
        "squaredcos_cap_v2" => Curve::COSINE,
        other => panic!("no schedule {other}"),
    };
    let zero_terminal_snr = config["rescale_betas_zero_snr"] == true;
    Schedule::Steps { curve, steps: 1000, zero_terminal_snr }.chain().unwrap()
}

/// The expected data of a toy in closed form.
pub fn expected(toy: &Value) -> fn(f64, Level) -> f64 {
    match toy.as_str().unwrap() {
        "gauss" => |x, at| {
            let (a, b) = (at.signal, at.noise);
            0.3 + a * 0.25 / (a * a * 0.25 + b * b) * (x - 0.3 * a)
        },
        "two_point" => |x, at| (at.signal * x / (at.noise * at.noise)).tanh(),
        other => panic!("no toy {other}"),
    }
}

/// A denoiser for vectors of a toy.
pub fn denoiser(toy: &Value) -> Expected<impl FnMut(&Vec<f64>, Level) -> Vec<f64>> {
    let expected = expected(toy);
    Expected(move |x: &Vec<f64>, at: Level| x.iter().map(|x| expected(*x, at)).collect())
}

pub fn start(scale: f64) -> Vec<f64> {
    START.iter().map(|x| x * scale).collect()
}
