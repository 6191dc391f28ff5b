//! Predictions of published networks, at reduced width, against measurements: every figure keeps its promise, and all
//! together are as close as the closed forms are known to be.

use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Specs with hyperparameters that make them small enough to measure in seconds.
const NETWORKS: [(&str, &[&str]); 12] = [
    ("ddpm.arch", &["widths=[128,128,256]", "attention=[false,true,false]", "H=16", "W=16"]),
    ("dit.arch#dit_s_2", &["depth=3", "dim=192", "heads=4", "size=16"]),
    ("uvit.arch", &["depth=4", "dim=128", "heads=4"]),
    ("pixart.arch#pixart_alpha", &["depth=3", "heads=4", "head_dim=32", "size=16", "text_dim=128"]),
    (
        "sd3.arch#sd35_medium",
        &[
            "depth=3",
            "heads=4",
            "dual_layers=[1]",
            "H=16",
            "W=16",
            "table=24",
            "text_dim=128",
            "pooled_dim=128",
            "M=20",
        ],
    ),
    ("adm.arch#adm_imagenet64", &["H=16", "W=16", "width=64", "mult=[1,2]", "attention=[false,true]", "layers=2"]),
    ("edm.arch#edm_ddpmpp_cifar10", &["size=16", "mult=[1,1]", "attention=[false,true]", "layers=2"]),
    ("edm2.arch#edm2_xs", &["size=16", "mult=[1,2]", "attention=[false,true]", "layers=2"]),
    ("point_e.arch#point_e_uncond", &["layers=3", "width=128", "heads=4", "N=128"]),
    (
        "stable_diffusion.arch#sdxl_base_unet",
        &[
            "widths=[64,128]",
            "depth=[0,2]",
            "mid_depth=1",
            "heads=[2,4]",
            "layers=1",
            "text_width=64",
            "pooled=32",
            "H=16",
            "W=16",
            "L=12",
        ],
    ),
    (
        "svd.arch#svd_unet",
        &["widths=[64,64]", "depth=[1,0]", "heads=[2,2]", "layers=1", "context_width=16", "T=4", "H=8", "W=8", "L=3"],
    ),
    ("clip_text.arch#clip_vit_l_text", &["layers=3", "dim=128", "heads=4", "vocabulary=1000"]),
];

fn probe(spec: &str, settings: &[&str], arguments: &[&str]) -> (i32, Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new(env!("CARGO_BIN_EXE_archc"));
    command.current_dir(folder).args(["probe", &format!("specs/{spec}"), "--batch", "2", "--format", "json"]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    let output = command.args(arguments).output().expect("a run");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.is_empty(), "{spec}: {}", String::from_utf8_lossy(&output.stderr));
    let report = serde_json::from_str(&text).expect("a report");
    (output.status.code().expect("an exit code"), report)
}

fn broken(report: &Value) -> String {
    report.get("broken").map(|broken| format!("{broken:#}")).unwrap_or_default()
}

fn number(report: &Value, path: &str) -> f64 {
    report.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

#[test]
fn predictions_keep_their_promises() {
    for (spec, settings) in NETWORKS {
        let (code, report) = probe(spec, settings, &[]);
        assert_eq!(code, 0, "{spec}: {}", broken(&report));
        assert!(number(&report, "/forward/compared") > 40.0, "{spec}");
        assert!(number(&report, "/forward/median_error") <= 0.03, "{spec}: {report:#}");
        // Causal attention promises a factor of two.
        let backward = if spec.starts_with("clip_text") { 0.25 } else { 0.08 };
        assert!(number(&report, "/backward/median_error") <= backward, "{spec}: {report:#}");
        let unknown = number(&report, "/forward/unknown") + number(&report, "/backward/unknown");
        assert!(unknown <= 0.02 * number(&report, "/forward/compared"), "{spec}: {unknown} unknown");
    }
}

#[test]
fn predictions_follow_the_noise_level() {
    let (spec, settings) = NETWORKS[0];
    for sigma in ["0.1", "2"] {
        let (code, report) = probe(spec, settings, &["--sigma", sigma]);
        assert_eq!(code, 0, "sigma {sigma}: {}", broken(&report));
    }
}
