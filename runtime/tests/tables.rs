//! Activations, time embeddings and position tables against those of the public implementations.

#![expect(clippy::indexing_slicing, reason = "an index out of range is a failure of the test")]

#[allow(dead_code, reason = "other tests need the rest of it")]
mod common;

use archc_runtime::HostTensor;
use common::{floats, run};
use serde_json::Value;
use std::path::Path;

fn read(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/process").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).expect("the reference")).expect("JSON")
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number")).collect()
}

fn rows(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().flat_map(numbers).collect()
}

fn f32s(numbers: &[f64]) -> Vec<f32> {
    numbers.iter().map(|number| *number as f32).collect()
}

fn close(what: &str, found: &HostTensor, expected: &[f64], tolerance: f64) {
    let found = floats(found);
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= tolerance, "{what}: {at} is {found}, not {expected}");
    }
}

#[test]
fn activations() {
    let file = read("activations.json");
    let x = numbers(&file["x"]);
    let words = [
        ("silu", "silu()"),
        ("gelu_erf", "gelu()"),
        ("gelu_tanh", "gelu_tanh()"),
        ("quick_gelu", "quick_gelu()"),
        ("mp_silu", "mp_silu()"),
    ];
    for (name, word) in words {
        let source = format!("use std.magnitude.{{mp_silu}}\nmodel A(x: vector[{}]) {{ x -> {word} }}", x.len());
        let found = run(&source, vec![HostTensor::f32(vec![1, x.len()], f32s(&x))], &[]);
        close(name, &found, &numbers(&file["functions"][name]["exact_f64"]), 5e-6);
    }
}

/// Of times near 1000 an f32 sinusoid is uncertain by the rounding of the product of time and frequency.
#[test]
fn time_embeddings() {
    let file = read("timestep_embedding.json");
    let times = numbers(&file["times"]);
    let kinds = [
        ("diffusers_ddpm", "order: \"sin_first\", shift: 1"),
        ("diffusers_sd", "shift: 0"),
        ("guided_diffusion", "shift: 0"),
        ("dit", "shift: 0"),
        ("edm_positional_endpoint_raw", "shift: 1"),
        ("edm_songunet_swapped", "order: \"sin_first\", shift: 1"),
        ("edm_dhariwal", "shift: 0"),
    ];
    for (name, options) in kinds {
        let source = format!("model A(t: timestep) {{ t -> sinusoid(10, {options}) }}");
        let found = run(&source, vec![HostTensor::f32(vec![times.len()], f32s(&times))], &[]);
        close(name, &found, &rows(&file["tables"][name]["exact_f64"]), 6e-5);
    }
}

#[test]
fn position_tables() {
    let file = read("position_embedding.json");
    let tables = [
        ("dit_4x4", "sincos_2d(4, 16)", 16),
        ("sd3_table_6_base_4", "cropped_sincos_2d(6, 6, 6, 16, base: 4)", 36),
        ("sd3_crop_4x2", "cropped_sincos_2d(6, 4, 2, 16, base: 4)", 8),
        ("pixart_4x2_base_3_scale_2", "sincos_grid(4, 2, 16, base: 3, scale: 2)", 8),
    ];
    for (name, positions, count) in tables {
        let source = format!(
            "use std.embed.{{sincos_2d, cropped_sincos_2d}}\nmodel A(x: tokens[{count}, 16]) {{ x + {positions} }}"
        );
        let found = run(&source, vec![HostTensor::f32(vec![1, count, 16], vec![0.0; count * 16])], &[]);
        close(name, &found, &rows(&file["tables"][name]["exact_f64"]), 1e-6);
    }
}
